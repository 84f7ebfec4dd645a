"""Files of sound that the tests of audio read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import Sound, noise

from vqw2v_plugin.corpora.manifest import Manifest, write_manifest


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    """Writes a wave to a file of the given name and answers its path."""

    def write(name: str, wave: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Path:
        path = tmp_path / name
        soundfile.write(path, wave, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[[int], Manifest]:
    """Writes clips of noise of different lengths and answers their manifest."""

    def write(clips: int) -> Manifest:
        rows = []
        for i in range(clips):
            samples = 6_000 + 1_500 * (i % 4)
            soundfile.write(tmp_path / f"clip{i}.flac", noise(samples, seed=i), 16_000)
            rows.append({"path": f"clip{i}.flac", "samples": samples})
        write_manifest(tmp_path / "train.tsv", tmp_path, rows)
        return Manifest(tmp_path / "train.tsv")

    return write
