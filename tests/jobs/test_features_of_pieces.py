"""`vqw2v features --layer bert --pieces`: the states of a BERT of pieces, a row a frame."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_runs import corpus

pytest.importorskip("sentencepiece")
from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, load_bert, save_bert
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.modules.bert.network import bert_features
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.pieces import Pieces, train_pieces


@pytest.fixture
def made(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> tuple[str, str]:
    """A model of codes and a manifest; in tmp_path pieces/ and bert.pt of these codes."""
    loaded = Loaded(tiny(quantizer="gumbel").eval(), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "m.pt", force=True)
    manifest = str(corpus(tmp_path, files=4))
    spoken = [symbols for symbols, _ in codes_of(str(tmp_path / "m.pt"), manifest)]
    names = sorted({symbol for symbols in spoken for symbol in symbols})
    pieces = train_pieces(spoken, names, len(names) + 20)
    (tmp_path / "pieces").mkdir()
    pieces.save(tmp_path / "pieces")
    torch.manual_seed(0)
    symbols = Symbols(tuple(pieces.symbols))
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_attention_heads": 2, "_name": "vq_bert"}
    save_bert(tmp_path / "bert.pt", build_bert(sizes, symbols))
    return str(tmp_path / "m.pt"), manifest


def codes_of(checkpoint: str, manifest: str) -> list[tuple[list[str], np.ndarray]]:
    """The symbols of each utterance's runs of equal codes, and the frames of each run."""
    tokenizer, found = Tokenizer.load(checkpoint), []
    for utterance in (Manifest(manifest)[i] for i in range(len(Manifest(manifest)))):
        codes = tokenizer.encode_file(utterance)
        kept, frames = torch.unique_consecutive(codes, dim=0, return_counts=True)
        found.append((["-".join(map(str, row)) for row in kept.tolist()], frames.numpy()))
    return found


def test_each_frame_has_the_state_of_its_piece(made: tuple[str, str], tmp_path: Path) -> None:
    checkpoint, manifest = made
    options = ["--layer", "bert", "--bert", str(tmp_path / "bert.pt"), "--pieces", str(tmp_path / "pieces")]
    assert main(["features", checkpoint, manifest, str(tmp_path / "out"), *options, "--store", "fp32"]) == 0
    store, bert = FeatureStore(tmp_path / "out", "train"), load_bert(tmp_path / "bert.pt")
    pieces, shorter = Pieces.load(tmp_path / "pieces"), 0
    for i, (symbols, frames) in enumerate(codes_of(checkpoint, manifest)):
        ids, counts = pieces(symbols)
        shorter += len(symbols) - len(ids)
        with torch.no_grad():
            states = bert_features(bert, [torch.from_numpy(ids)])[0].numpy()  # [M, D]
        expected = np.repeat(states, np.add.reduceat(frames, np.cumsum(counts) - counts), 0)
        assert store[i].shape == expected.shape and len(expected) == frames.sum()
        assert np.allclose(store[i], expected, atol=1e-5)
    assert shorter > 0


def test_pieces_of_another_bert_are_refused(
    made: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, manifest = made
    save_bert(tmp_path / "other.pt", build_bert({"_name": "vq_bert_tiny"}, Symbols(("7-7", "8-8"))))
    options = ["--layer", "bert", "--bert", str(tmp_path / "other.pt"), "--pieces", str(tmp_path / "pieces")]
    assert main(["features", checkpoint, manifest, str(tmp_path / "out"), *options]) != 0
    assert "expected the token folder that the BERT of `--bert` was trained on" in capsys.readouterr().err
