"""Features by name: what is asked for reaches what makes them, and the spec says all that changes numbers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.files import checkpoint_hash
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.features.base import FeatureOptions, Layer, parse_layer
from vqw2v_plugin.features.bert import bert_layer_features
from vqw2v_plugin.features.coder import CoderFeatures, NetworkCoder
from vqw2v_plugin.features.network import NetworkFeatures
from vqw2v_plugin.features.registry import load_features, make_features
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.pieces import Pieces

LAYERS = ["z", "c", "q", "bert"]


@pytest.fixture
def vq(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> str:
    loaded = Loaded(tiny(quantizer="kmeans"), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "vq.pt")
    return str(tmp_path / "vq.pt")


@pytest.fixture
def bert(tmp_path: Path) -> str:
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2}
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(8)))
    save_bert(tmp_path / "bert.pt", build_bert(sizes, symbols))
    return str(tmp_path / "bert.pt")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 16_000)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_asked_for_reaches_the_network(vq: str, bert: str, speech: Path, layer: str) -> None:
    options = {"bert": bert} if layer == "bert" else {}
    features = load_features(layer, vq, dtype="bf16", memory=123, **options)
    assert not any(part.training for part in features.modules())
    held = features.coder if isinstance(features, CoderFeatures) else features
    assert isinstance(held, (NetworkCoder, NetworkFeatures))
    assert (held.clips.numbers, held.clips.memory) == ("bf16", 123)
    assert features.spec.dtype == "bf16" and features.spec.layer == layer
    made = features.of(speech)
    assert made.dtype == torch.float32 and not made.requires_grad and made.shape == (98, features.dim)
    part = torch.from_numpy(soundfile.read(speech, dtype="float32")[0][100:2100])
    with torch.no_grad():
        assert torch.equal(features.of(Clip(str(speech), 2000, 100)), features(part))


@pytest.mark.parametrize("layer", [*LAYERS, "logmel"])
def test_features_are_made_on_the_device_that_is_asked_for(vq: str, bert: str, layer: str) -> None:
    files = {} if layer == "logmel" else {"checkpoint": vq, **({"bert": bert} if layer == "bert" else {})}
    features = load_features(layer, device="meta", **files)
    kept = [*features.parameters(), *features.buffers()]
    assert features.device.type == "meta" and {x.device.type for x in kept} <= {"meta"}


def test_spectra_are_made_on_the_device_of_the_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    features, made = load_features("logmel"), []
    monkeypatch.setattr(features, "_make", lambda device: made.append(device.type) or (lambda wav: wav))
    for _ in range(2):
        features(torch.zeros(4000, device="meta"))
    assert made == ["meta"] and features(torch.zeros(4000)).shape == (23, 80)
    with pytest.raises(ValueError, match="device 'tpu9' cannot be used"):
        load_features("logmel", device="tpu9")


def test_pieces_of_the_network_are_made_anew_where_it_goes(vq: str) -> None:
    features = load_features("z", vq)
    assert isinstance(features, NetworkFeatures)
    before = features(torch.zeros(4000))
    with torch.no_grad():
        for p in features.parameters():
            p.neg_()
    assert torch.equal(features(torch.zeros(4000)), before)  # the pieces are copies
    features.to(torch.float32)
    assert not torch.equal(features(torch.ones(4000).cumsum(0).sin()), before)
    assert features.clips._pieces is not None
    features.to("cpu")
    assert features.clips._pieces is None


def test_files_are_named_by_their_hash_and_only_on_request_by_their_place(
    vq: str, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = FeatureOptions("bert:1", "vq.pt", "bert.pt")
    for places in (False, True):
        spec = make_features(options, places=places).spec
        for name, held in (("vq.pt", spec.checkpoint), ("bert.pt", spec.bert)):
            assert held is not None and (held.name, held.sha256) == (name, checkpoint_hash(Path(name)))
            assert held.path == (str(tmp_path / name) if places else None)
        assert spec.pieces is None and spec.layer == "bert:1"


def test_features_of_runs_say_so_and_those_of_frames_do_not(vq: str, bert: str) -> None:
    for run_length in (True, False):
        features = load_features("bert", vq, bert=bert, run_length=run_length)
        assert features.spec.run_length is run_length


def test_a_clip_without_a_frame_is_named(vq: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(104), 16_000)
    with pytest.raises(AudioError, match=r"short\.wav: 104 samples at 16000 Hz .* at least 105: leave"):
        load_features("z", vq).of(tmp_path / "short.wav")


def test_layers_are_read_with_their_numbers() -> None:
    known = ("z", "bert", "bert:-2", "bert:0", "mfcc", "mfcc:20")
    expected = [("z", None), ("bert", -1), ("bert", -2), ("bert", 0), ("mfcc", 13), ("mfcc", 20)]
    assert [parse_layer(name) for name in known] == [Layer(*each) for each in expected]
    for wrong in ("z:1", "bert:", "bert:x", "bert:1.5", "logmel:80", "", "BERT", "bert:--"):
        with pytest.raises(
            ValueError, match=r"`--layer` is .*; expected z, c, q, logmel, mfcc, .* bert:N for"
        ):
            parse_layer(wrong)
    with pytest.raises(ValueError, match="`--dtype` is 'fp16'; expected fp32, bf16 or tf32"):
        load_features("logmel", dtype="fp16")


def test_pieces_of_another_folder_are_refused_though_they_are_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = SimpleNamespace(bert=lambda: SimpleNamespace(symbols=SimpleNamespace(lines=("a", "b"))))
    monkeypatch.setattr(Pieces, "load", lambda folder: SimpleNamespace(symbols=["a", "c"]))
    with pytest.raises(ValueError, match="`--pieces` theirs: expected the token folder that the BERT"):
        bert_layer_features(Layer("bert"), FeatureOptions("bert", bert="b.pt", pieces="theirs"), parts)  # type: ignore[arg-type]
