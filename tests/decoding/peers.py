"""What peers publish with their tests; each test that needs it skips where it is not at hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest


def peer_folder() -> Path:
    folder = Path(os.environ.get("VQW2V_DATA", "nowhere")).parent / "golden" / "peer_vectors"
    if not folder.is_dir():
        pytest.skip("no vectors of peers beside VQW2V_DATA")
    return folder


def peer_vectors(name: str) -> dict:
    return json.loads((peer_folder() / "vectors.json").read_text())[name]


def read_matrix(name: str) -> np.ndarray:
    """[T, V] of a CSV whose last column is empty."""
    lines = (peer_folder() / name / "rnnOutput.csv").read_text().splitlines()
    return np.array([[float(x) for x in line.split(";") if x.strip()] for line in lines], np.float32)
