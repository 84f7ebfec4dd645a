"""Each pretraining yaml begins as benchmarks/reference_curves.md says, at the paper's size on real speech."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("fairseq")
ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "benchmarks/reference_curves.md"
SEED, UPDATES = 3, 40  # none of the reference's seeds
CHANCE = 1 / 11

Rows = dict[int, dict[str, list[float]]]  # by update and column, a number a seed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wav2vec", "gumbel", "kmeans", "fsq"])
def test_the_first_updates_are_those_of_other_seeds(name: str, real_data: Path, tmp_path: Path) -> None:
    """Loss and perplexity within bands about the seeds'; nothing is constant, and nothing has died."""
    usual = rows_of(REFERENCE.read_text(encoding="utf-8"), name)
    found = begun(name, real_data, tmp_path)
    for update in (20, UPDATES):
        now, then = found[update], usual[update]
        assert within(now, then, "loss", 1.05) and within(now, then, "accuracy", 1.35), (update, now, then)
        assert now["accuracy"][0] > 0.7 * CHANCE  # a constant c has 0: ties count as wrong
        if name != "wav2vec":
            for column in ("perplexity", "group 0", "group 1"):
                assert within(now, then, column, 2), (update, column, now, then)
            assert now["dead"][0] <= max(then["dead"]) + 100, (update, now, then)


def begun(name: str, data: Path, folder: Path) -> Rows:
    """As the reference is made, for fewer updates."""
    _, *lines = (data / "pretrain_en.tsv").read_text(encoding="utf-8").splitlines()
    manifest = "\n".join([str(data), "# path\tsamples\tspeaker\tlang", *lines]) + "\n"
    (folder / "train.tsv").write_text(manifest, encoding="utf-8")
    command = [sys.executable, str(ROOT / "benchmarks/reference_curves.py"), str(folder), "--only", name]
    command += ["--bf16", "--updates", str(UPDATES), "--seeds", str(SEED)]
    command += ["--threads", str(torch.get_num_threads()), "--runs", str(folder / "runs")]
    out = folder / "curves.md"
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    assert out.with_suffix(".png").stat().st_size > 1_000
    return rows_of(out.read_text(encoding="utf-8"), name)


def within(now: dict[str, list[float]], then: dict[str, list[float]], column: str, factor: float) -> bool:
    return min(then[column]) / factor <= now[column][0] <= max(then[column]) * factor


def rows_of(table: str, name: str) -> Rows:
    heads = re.findall(r"^\| yaml \| update \| (.*) \|$", table, re.MULTILINE)[0].split(" | ")
    found: Rows = {}
    for update, cells in re.findall(rf"^\| `{name}\.yaml` \| (\d+) \| (.*) \|$", table, re.MULTILINE):
        values = [
            [float(number) for number in cell.split(",") if number.strip()] for cell in cells.split("|")
        ]
        found[int(update)] = dict(zip(heads, values, strict=True))
    return found
