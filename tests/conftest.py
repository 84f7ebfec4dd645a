"""What tests of every room share: small networks, and where real speech lies."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sounds import Sound, noise

from vqw2v_plugin.checkpoints.wav2vec import build_network
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):  # each has its share of the cores
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))

TINY = {
    "conv_feature_layers": "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]",
    "conv_aggregator_layers": "[(16, 2, 1), (16, 3, 1)]",
    "prediction_steps": 3,
    "num_negatives": 4,
    "vq_vars": 8,
    "vq_groups": 2,
    "max_update": 100,
}


@pytest.fixture
def tiny() -> Callable[..., VqWav2Vec]:
    """Builds a network of a few thousand weights; keywords override its settings."""

    def build(**settings: object) -> VqWav2Vec:
        torch.manual_seed(0)
        return build_network({**TINY, **settings})

    return build


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("VQW2V_DATA")
    if not folder:
        pytest.skip("VQW2V_DATA names no folder of recorded speech")
    return Path(folder)


@pytest.fixture(scope="session")
def transformers() -> Any:
    """Without torchaudio, which beside a torch for CPUs cannot be imported."""
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]
    return pytest.importorskip("transformers")


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    """Writes a wave to a file of the given name and answers its path."""

    def write(name: str, wave: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Path:
        path = tmp_path / name
        soundfile.write(path, wave, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def wav(tmp_path: Path) -> Sound:
    """Writes zeros to an audio file under the corpus' folder `c`."""

    def write(name: str, samples: int = 1600, rate: int = 16_000) -> Path:
        path = tmp_path / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(samples), rate)
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
