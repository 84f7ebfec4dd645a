"""A model whose codes the jobs write, and what of the audio is encoded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_runs import saved

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


@pytest.fixture
def checkpoint(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> str:
    return saved(tiny(quantizer="gumbel"), tmp_path)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The audio files that are encoded from now on."""
    found: list[str] = []
    original = Tokenizer.encode_file

    def encode_file(self: Tokenizer, clip: object) -> object:
        found.append(clip.path)  # type: ignore[attr-defined]
        return original(self, clip)  # type: ignore[arg-type]

    monkeypatch.setattr(Tokenizer, "encode_file", encode_file)
    return found
