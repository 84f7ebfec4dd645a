"""Faster and slower copies of a corpus: as long as the factor says, and as high."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_files import scripts_of

from vqw2v_plugin.corpora.manifest import Manifest, write_manifest

COPIES = Path(__file__).resolve().parents[2] / "examples" / "bert" / "copies.py"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One second of 440 Hz, of which the middle half is the utterance."""
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) / 2
    soundfile.write(tmp_path / "tone.flac", tone, 16_000)
    row = {"path": "tone.flac", "samples": 8_000, "start": 4_000, "utt": "tone", "text": "la la"}
    write_manifest(tmp_path / "train.tsv", tmp_path, [row], tuple(row))
    return tmp_path / "train.tsv"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COPIES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_utterance_is_followed_by_its_copies(manifest: Path, tmp_path: Path) -> None:
    result = run(manifest, tmp_path / "out", "--speeds", "0.8", "1.25")
    assert result.returncode == 0, result.stderr
    listed = Manifest(tmp_path / "out" / "train.tsv")
    rows = [listed[i] for i in range(len(listed))]
    assert [row.utt for row in rows] == ["tone", "tone_0.8", "tone_1.25"]
    assert [row.samples for row in rows] == [8_000, 10_000, 6_400]
    assert listed.column("text") == ["la la"] * 3
    assert (rows[0].start, Path(rows[0].path)) == (4_000, manifest.parent / "tone.flac")
    for row, pitch in zip(rows[1:], (352, 550), strict=True):
        wav, rate = soundfile.read(row.path)
        assert (len(wav), rate) == (row.samples, 16_000)
        peak = np.abs(np.fft.rfft(wav * np.hanning(len(wav)))).argmax() * rate / len(wav)
        assert abs(peak - pitch) < 4


def test_factors_that_copy_nothing_are_named(manifest: Path, tmp_path: Path) -> None:
    result = run(manifest, tmp_path / "out", "--speeds", "0.9", "1")
    assert result.returncode == 2
    assert "`--speeds` has 1; expected factors from 0.25 to 4 other than 1" in result.stderr
    assert not (tmp_path / "out").exists()


def test_copies_have_the_rate_that_is_asked_for_and_originals_keep_theirs(
    manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "flac").mkdir(parents=True)  # a second run
    result = run(manifest, tmp_path / "out", "--speeds", "4", "0.25", "--rate", "8000")
    assert result.returncode == 0, result.stderr
    listed = Manifest(tmp_path / "out" / "train.tsv")
    rows = [listed[i] for i in range(len(listed))]
    assert [(row.rate, row.samples, row.start) for row in rows] == [
        *((16_000, 8_000, 4_000), (8_000, 1_000, 0), (8_000, 16_000, 0))
    ]
    assert [soundfile.info(row.path).samplerate for row in rows] == [16_000, 8_000, 8_000]
    hours = (0.5 + 0.125 + 2) / 3600
    assert result.stdout == f"{tmp_path / 'out' / 'train.tsv'}: {hours:.2f} hours, the copies among them\n"


def test_how_long_all_is_counts_each_at_its_own_rate(manifest: Path, tmp_path: Path) -> None:
    with scripts_of("bert", "copies") as (copies,):
        seconds = copies.copy(manifest, tmp_path / "out", (2.0, 0.5), 8_000)
    assert seconds == 0.5 + 0.25 + 1.0
