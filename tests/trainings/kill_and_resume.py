"""Trains in processes that are killed: run by test_resume.py, in an interpreter of its own with one thread.

    python kill_and_resume.py KILLS SEED OPTION…      the options are those of fairseq-train

What training needs is imported once; each attempt is a fork of this process, killed with SIGKILL at a random
moment or, every other time, while a checkpoint is being written. After KILLS kills it is left to finish.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import fairseq_cli.train
import torch

import vqw2v_plugin

vqw2v_plugin.register()
LONGEST = 3.0  # seconds until a kill at random
PATIENCE = 20.0  # seconds to wait for a checkpoint being written


def start(options: list[str], folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    log = os.open(folder / "log.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["fairseq-train", *options]
    status = 1
    try:
        fairseq_cli.train.cli_main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def is_writing(folder: Path, whole: int) -> bool:
    """A file beside its name, or a last checkpoint that is shorter than a whole one."""
    last = folder / "checkpoint_last.pt"
    return any(folder.glob("*.tmp")) or (last.is_file() and last.stat().st_size < whole)


def written(folder: Path) -> int:
    """When the last checkpoint was; 0 as long as there is none."""
    try:
        return (folder / "checkpoint_last.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill(child: int, folder: Path, at: float, whole: int, saves: int) -> str:
    """At a time, after so many checkpoints, or (a whole one's length is given) while one is being written."""
    how, seen = "", {written(folder)}
    while not how:
        seen.add(written(folder))
        if os.waitpid(child, os.WNOHANG)[0]:
            return "ended"
        if whole and is_writing(folder, whole):
            how = "writing"
        elif time.monotonic() > at + (PATIENCE if whole else 0) or len(seen) > saves:
            how = "random"
        else:
            time.sleep(0.0002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return how


def main() -> int:
    kills, rng, options = int(sys.argv[1]), random.Random(int(sys.argv[2])), sys.argv[3:]
    folder = Path(options[options.index("--save-dir") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "checkpoint_last.pt"
    whole, ways = 0, []
    every, updates = (int(options[options.index(n) + 1]) for n in ("--save-interval-updates", "--max-update"))
    saves = max(1, updates // every // (kills + 2))  # an attempt may not leave too little for the others
    for number in range(kills):
        at = time.monotonic() + rng.uniform(0, LONGEST)
        ways.append(kill(start(options, folder), folder, at, whole if number % 2 else 0, saves))
        if ways[-1] == "ended":
            print(f"ended after {number} kills", flush=True)
            return 1
        whole = whole or (last.stat().st_size if last.is_file() else 0)
    print(f"{kills} kills, {ways.count('writing')} of them while a checkpoint was being written", flush=True)
    return os.waitstatus_to_exitcode(os.waitpid(start(options, folder), 0)[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
