"""A training killed in its last update, its last validation or on its way out ends as one left alone."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from small_training import noise_corpus, options, start

from vqw2v_plugin.recipes.folder import TRAIN_LOG

LAST_UPDATE = 6
LOG = Path("ck", TRAIN_LOG)
MOMENTS = [  # what the log says last before the kill
    f"num_updates={LAST_UPDATE - 1},",
    f"num_updates={LAST_UPDATE},",
    "Stopping training due to",
    'begin validation on "valid" subset',
    "Preparing to save checkpoint",
    "Saving checkpoint to",
    "Finished saving checkpoint",
    "Saved checkpoint",
    "end of epoch",
    "done training in",
]


def ended_at(arguments: list[str], folder: Path, moment: str, wait: float) -> bool:
    """Starts a training and kills it so long after the log has said that; False: it had ended before."""
    child, said = start(arguments, folder), False
    deadline = time.monotonic() + 600
    while not said and time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        log = (folder / LOG).read_text() if (folder / LOG).exists() else ""
        last = log.rfind(f"num_updates={LAST_UPDATE - 1},")
        said = last >= 0 and moment in log[last:]
        time.sleep(0.001)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def same(a: object, b: object) -> bool:
    """To the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    return bool(a == b)


def outcome(save_dir: Path) -> dict[str, object]:
    """All that a checkpoint says, but for clocks and paths."""
    found: dict[str, object] = {}
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        state = torch.load(save_dir / name, weights_only=True)
        extra = state["extra_state"]
        found[name] = {
            **{key: state[key] for key in ("model", "last_optimizer_state")},
            "updates": state["optimizer_history"][-1],  # each start adds one
            **{key: extra[key] for key in ("best", "val_loss", "train_iterator")},
        }
    return found


def late_kills(folder: Path, count: int, seed: int = 1) -> tuple[int, list[str]]:
    """How many of so many kills met the training alive, and after which ones it ended differently."""
    data, rng, killed, different = noise_corpus(folder / "data"), random.Random(seed), 0, []
    more = ["--max-update", str(LAST_UPDATE), "--save-interval-updates", "2", "--quantizer-args"]
    more += ['{"ema_decay": 0.99, "revive_after": 3}']
    given = [*options(data, Path("ck"), more)]
    assert os.waitpid(start(given, folder / "alone"), 0)[1] == 0, (folder / "alone/.stderr").read_text()
    alone = outcome(folder / "alone/ck")
    for number in range(count):
        moment, wait = MOMENTS[number % len(MOMENTS)], rng.choice([0.0, 0.005, 0.05])
        run = folder / f"killed{number}"
        killed += ended_at(given, run, moment, wait)
        assert os.waitpid(start(given, run), 0)[1] == 0, (run / ".stderr").read_text()
        if not same(outcome(run / "ck"), alone):
            different.append(f"{wait} s after {moment!r}")
        shutil.rmtree(run)
    return killed, different


@pytest.mark.slow
def test_a_training_killed_late_ends_as_one_left_alone(tmp_path: Path) -> None:
    killed, different = late_kills(tmp_path, len(MOMENTS) // 2)
    assert killed >= 3 and not different, different
