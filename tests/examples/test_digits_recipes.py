"""The comparison and the sweep, a few updates each: their tables fill, what is finished is not made again."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
WORDS = "zero one two three four five six seven eight nine".split()


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, and six strings of them a split."""
    folder = tmp_path_factory.mktemp("fsdd")
    rng = np.random.default_rng(0)
    for digit in range(10):
        soundfile.write(folder / f"{digit}.wav", rng.normal(0, 0.1, 3000 + 100 * digit), 8000)
    for split in ("train", "dev", "test"):
        clips = ["utt\tpath", *(f"{digit}\t{digit}.wav" for digit in range(10))]
        (folder / f"{split}.tsv").write_text("\n".join(clips) + "\n")
        strings = ["utt\tspeaker\tclips\tgaps_ms\twords"]
        for n in range(6):
            drawn = rng.integers(0, 10, 3)
            said = " ".join(WORDS[d] for d in drawn)
            strings.append(f"{split}{n}\tann\t{' '.join(map(str, drawn))}\t50 50 50 50\t{said}")
        (folder / f"connected_{split}.tsv").write_text("\n".join(strings) + "\n")
    return folder


def table(script: str, *arguments: object) -> tuple[str, list[list[str]]]:
    """All it printed, and the rows of its table."""
    command = [sys.executable, str(DIGITS / script), *map(str, arguments), "--updates", "10"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    return result.stdout, [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


@pytest.mark.slow
def test_the_comparison_has_a_row_of_each_features(fsdd: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    features = ["--seeds", "1", "--fractions", "0.5", "--features"]
    _, rows = table("compare.py", fsdd, run, *features, "logmel", "kmeans_bert")
    assert [row[1:4] for row in rows] == [["log-mel", "50%", "1"], ["vq-wav2vec k-means + BERT", "50%", "1"]]
    assert all(float(rate) >= 0 for row in rows for rate in row[4:])
    said, again = table("compare.py", fsdd, run, *features, "logmel", "kmeans_bert")
    assert again == rows and "$ " not in said


@pytest.mark.slow
def test_the_sweep_says_what_each_size_takes(fsdd: Path, tmp_path: Path) -> None:
    _, rows = table("sweep.py", fsdd, tmp_path / "run", "--sizes", "1x4", "2x8")
    assert [row[:2] for row in rows] == [["1x4", "0.20"], ["2x8", "0.60"]]
    assert all(0 <= float(row[2]) <= float(row[1]) for row in rows)


def test_a_size_that_is_none_is_named(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(DIGITS / "sweep.py"),
        str(tmp_path),
        str(tmp_path / "run"),
        "--sizes",
        "2:8",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "'2:8'; expected GROUPSxVARIABLES" in result.stderr
