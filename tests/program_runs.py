"""Trainings by the programs that users call: whole, killed again and again, or on several ranks."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PITCHES = (300, 700, 1500, 3000)  # Hz


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def call(command: Sequence[object], folder: Path, seconds: int = 600) -> str:
    """All that a program says that stands in `folder` and ends well."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def pitches(split: str, count: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Clips of pitches that follow each other in a circle, 80 ms each, and which is heard at each sample."""
    for i in range(count):
        rng = np.random.default_rng([len(split), i])
        size = int(rng.integers(9_000, 24_000))
        number = (rng.integers(4) + np.arange(size) // 1_280) % 4
        wav = 0.3 * np.sin(np.cumsum(2 * np.pi * np.array(PITCHES)[number] / 16_000))
        yield wav + rng.normal(0, 0.01, size), number


def accuracies(log: str) -> list[float]:
    """Of each validation."""
    shown = [line for line in log.splitlines() if "| valid on 'valid'" in line]
    return [float(line.partition("accuracy ")[2].split(" ")[0]) for line in shown]


def check_killed_is_whole(data: Path, options: Sequence[str], folder: Path) -> None:
    """60 updates that are killed four times end with the weights of 60 that were left alone."""
    states = []
    for kills in (0, 4):
        script = Path(__file__).with_name("trainings") / "kill_and_resume.py"
        more = ["--max-update", "60", "--save-interval-updates", "3", "--save-dir", f"ck{kills}"]
        call([sys.executable, script, kills, 1, data, *options, *more], folder)
        states.append(torch.load(folder / f"ck{kills}" / "checkpoint_last.pt", weights_only=True))
    alone, killed = (state["model"] for state in states)
    assert states[1]["optimizer_history"][-1]["num_updates"] == 60
    assert not [name for name in alone if not torch.equal(alone[name], killed[name])]


def on_ranks(command: Sequence[str], ranks: int, save_dir: Path, seconds: int = 300) -> dict[str, Any]:
    """The last checkpoint of a training on so many processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = f"--distributed-backend gloo --distributed-init-method tcp://127.0.0.1:{port}"
    together += f" --distributed-world-size {ranks} --distributed-no-spawn --device-id 0"
    runs = [
        subprocess.Popen(
            [*command, *together.split(), "--distributed-rank", str(rank)] if ranks > 1 else command,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    said = [run.communicate(timeout=seconds)[0] for run in runs]
    assert all(run.returncode == 0 for run in runs), said[0][-3000:]
    state: dict[str, Any] = torch.load(save_dir / "checkpoint_last.pt", weights_only=True)
    return state


def checked_settings(path: Path, **configs: type) -> dict[str, Any]:
    """Of a yaml whose sections are fairseq's, and which names of each of these parts only what it knows."""
    from fairseq.dataclass.configs import FairseqConfig

    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(settings) <= {f.name for f in dataclasses.fields(FairseqConfig)}
    for part, config in configs.items():
        assert set(settings[part]) <= {"_name", *(f.name for f in dataclasses.fields(config))}
    return settings
