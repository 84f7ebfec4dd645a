"""`vqw2v features --layer bert --pieces`: the states of a BERT of pieces, a row a frame."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sentencepiece")
from bert_of_pieces import codes_of, make

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, load_bert, save_bert
from vqw2v_plugin.features.acoustic_front import make_front
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.modules.bert.network import bert_features
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.pieces import Pieces


@pytest.fixture
def made(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> tuple[str, str]:
    return make(tiny(quantizer="gumbel"), tmp_path)


def options(folder: Path, bert: str = "bert.pt") -> list[str]:
    return ["--layer", "bert", "--bert", str(folder / bert), "--pieces", str(folder / "pieces")]


def test_each_frame_has_the_state_of_its_piece(made: tuple[str, str], tmp_path: Path) -> None:
    checkpoint, manifest = made
    arguments = ["features", checkpoint, manifest, str(tmp_path / "out"), *options(tmp_path)]
    assert main([*arguments, "--store", "fp32"]) == 0
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
    about = json.loads((tmp_path / "out" / "features.json").read_text())
    assert about["pieces"].keys() == {"name", "sha256"} and about["pieces"]["name"] == "pieces.model"


def test_an_acoustic_model_may_make_them_on_the_fly(made: tuple[str, str], tmp_path: Path) -> None:
    checkpoint, manifest = made
    arguments = ["features", checkpoint, manifest, str(tmp_path / "out"), *options(tmp_path)]
    assert main([*arguments, "--store", "fp32"]) == 0
    store = FeatureStore(tmp_path / "out", "train")
    front = make_front(
        FeatureOptions("bert", checkpoint, str(tmp_path / "bert.pt"), str(tmp_path / "pieces"))
    )
    for made_front in (front, copy.deepcopy(front)):  # as fairseq's averaging of weights copies a model
        path = tmp_path / "audio-train" / "train0.flac"
        assert np.array_equal(made_front.features.of(path).numpy(), store[0])
    assert front.spec.pieces is not None and front.spec.pieces.path == str(
        tmp_path / "pieces" / "pieces.model"
    )


def test_pieces_and_bert_must_be_of_one_training(
    made: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, manifest = made
    save_bert(tmp_path / "other.pt", build_bert({"_name": "vq_bert_tiny"}, Symbols(("7-7", "8-8"))))
    out = str(tmp_path / "out")
    assert main(["features", checkpoint, manifest, out, *options(tmp_path, "other.pt")]) == 2
    assert "expected the token folder that the BERT of `--bert` was trained on" in capsys.readouterr().err
    assert main(["features", checkpoint, manifest, out, *options(tmp_path)[:4]]) == 2
    said = capsys.readouterr().err
    assert "bert.pt is of pieces, such as '" in said and "give `--pieces FOLDER`" in said
    assert main(["features", checkpoint, manifest, out, "--layer", "z", *options(tmp_path)[4:]]) == 2
    assert "`--pieces` goes with `--layer bert`" in capsys.readouterr().err
