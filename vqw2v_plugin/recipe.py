"""Whole pipelines: a recipe lists its stages, each the public command that a user would type.

A stage is printed as it runs, logged into its folder, and skipped when an earlier run finished it with the
same command; a killed recipe goes on where it stopped.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOG, DONE = "log.txt", "done"


@dataclass(frozen=True)
class Stage:
    """One command; `name` is its folder under the run."""

    name: str
    command: Sequence[str]
    says: str  # what the user reads before it runs
    minutes: float  # about how long, on 2 cores
    show: bool = False  # print what the command prints, not only its progress
    progress: str = ""  # of a logged stage, lines that hold this are shown


class StageError(RuntimeError):
    """A stage that failed; the message names its log."""


def run_recipe(run: Path, stages: Sequence[Stage]) -> None:
    """All stages in order; stops at the first that fails."""
    run.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(stages, 1):
        print(f"\n[{number}/{len(stages)}] {stage.says}", flush=True)
        _run_stage(run / stage.name, stage)


def _run_stage(folder: Path, stage: Stage) -> None:
    command = shlex.join(stage.command)
    done = folder / DONE
    if done.is_file() and done.read_text(encoding="utf-8") == command:
        print(f"    done before: {folder}")
        if stage.show:
            print((folder / LOG).read_text(encoding="utf-8"), end="")
        return
    done.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"    $ {command}\n    about {stage.minutes:g} min; log: {folder / LOG}", flush=True)
    began = time.monotonic()
    status = _logged(stage, folder / LOG)
    if status:
        tail = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        print("\n".join(tail), file=sys.stderr)
        raise StageError(f"stage {stage.name} failed (status {status}); all it said is in {folder / LOG}")
    _publish(done, command)
    print(f"    done in {time.monotonic() - began:.0f} s", flush=True)


def _logged(stage: Stage, log: Path) -> int:
    """Runs the command with its output in the log, showing what the stage wants shown."""
    with (
        open(log, "w", encoding="utf-8") as file,
        subprocess.Popen(
            list(stage.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if stage.show:
                print(line, end="", flush=True)
            elif stage.progress and stage.progress in line:
                print(f"    {_short(line)}", flush=True)
    return process.returncode


def _short(line: str) -> str:
    """fairseq's log line without its clock and the counters that a glance does not need."""
    wanted = ("loss=", "accuracy=", "code_perplexity=", "num_updates=")
    parts = [p.strip(" ,\n") for p in line.replace(", ", " ").split()]
    kept = [p for p in parts if p.startswith(wanted)]
    return "  ".join(kept) or line.strip()


def _publish(done: Path, text: str) -> None:
    part = done.with_name(f"{done.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(done)
