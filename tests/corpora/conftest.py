"""What tests of corpora share: the files of one, written by hand."""

import gzip
from pathlib import Path

import pytest
from source_files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a text file under the corpus' folder, with its folders."""

    def make(name: str, text: str = "") -> Path:
        path = tmp_path / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return make
