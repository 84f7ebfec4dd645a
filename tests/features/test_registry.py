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
from vqw2v_plugin.checkpoints.files import CheckpointError, checkpoint_hash
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.features.acoustic_front import make_front
from vqw2v_plugin.features.base import FeatureOptions, Layer, number_format, parse_layer
from vqw2v_plugin.features.bert import bert_layer_features
from vqw2v_plugin.features.coder import CoderFeatures, NetworkCoder
from vqw2v_plugin.features.codes import NoCodesError
from vqw2v_plugin.features.network import NetworkFeatures
from vqw2v_plugin.features.over import FeaturesOver
from vqw2v_plugin.features.registry import load_features, make_features
from vqw2v_plugin.features.spectral import SpectralFeatures
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


@pytest.mark.parametrize(
    ("layer", "files", "says"),
    [
        (
            "bert",
            {"checkpoint": "a.pt"},
            "`--layer` is 'bert:-1'; layer `bert` needs a BERT .* `--bert BERT.pt`",
        ),
        (
            "logmel",
            {"checkpoint": "a.pt"},
            "`CHECKPOINT` is 'a.pt' and `--layer` is 'logmel'; expected - for",
        ),
        ("z", {"checkpoint": "a.pt", "bert": "b.pt"}, "`--bert` is 'b.pt' and .* goes with `--layer bert`;"),
        ("c", {"checkpoint": "a.pt", "pieces": "p"}, "`--pieces` is 'p' and .* goes with `--layer bert`;"),
        ("mfcc:4", {"bert": "b.pt"}, "`--bert` is 'b.pt' and `--layer` is 'mfcc:4'; .*; leave out one"),
    ],
)
def test_files_that_a_layer_lacks_or_has_no_use_for_are_named(
    layer: str, files: dict[str, str], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        load_features(layer, **files)


@pytest.mark.parametrize("gone", ["front", "front_bert", "front_pieces", "front_pca"])
def test_a_front_s_file_that_is_gone_is_told_with_its_option(vq: str, bert: str, gone: str) -> None:
    files = {"front": vq, "front_bert": bert, gone: "gone.pt"}
    options = FeatureOptions(
        "bert" if gone != "front_pca" else "z",
        files["front"],
        files["front_bert"] if gone != "front_pca" else None,
        files.get("front_pieces"),
        pca=files.get("front_pca"),
    )
    says = rf"`{gone}` is gone\.pt, which is not there; .* `--model-overrides \"{{'{gone}': 'FILE'}}\"`"
    with pytest.raises(CheckpointError, match=says):
        make_front(options)


def test_numbers_are_known_by_name_or_by_torch_s_type() -> None:
    given = ("fp32", "bf16", "tf32", torch.float32, torch.bfloat16)
    assert [number_format(each) for each in given] == ["fp32", "bf16", "tf32", "fp32", "bf16"]
    with pytest.raises(ValueError, match=r"dtype is torch\.float16; expected fp32, bf16 or tf32"):
        number_format(torch.float16)


def test_what_stands_on_a_layer_asks_the_layer_for_all_that_it_does_not_know() -> None:
    asked: list[object] = []

    class Under(SpectralFeatures):
        varies = True  # type: ignore[assignment]

        def know(self, voices: object) -> None:
            asked.append(voices)

        def refresh(self) -> None:
            asked.append("refresh")

        def allow(self, memory: int) -> None:
            asked.append(memory)

        def take_notes(self) -> None:
            asked.append("take notes")

        def notes(self) -> list[str]:
            return ["a note"]

        def let_learn(self) -> list[torch.nn.Module]:
            return [self]

    layer = Under(Layer("logmel"), 8_000, 20)
    over = FeaturesOver(layer)
    over.know("who")  # type: ignore[arg-type]
    over.refresh(), over.allow(7), over.take_notes()
    assert asked == ["who", "refresh", 7, "take notes"]
    assert over.varies and over.notes() == ["a note"] and over.let_learn() == [layer]
    assert (over.sample_rate, over.dim, over.stride, over.frames(8_000)) == (
        8_000,
        20,
        80,
        layer.frames(8_000),
    )
    assert over.spec is layer.spec


@pytest.mark.parametrize("layer", ["q", "bert"])
def test_a_network_without_a_quantizer_has_no_layer_over_codes(
    tiny: Callable[..., VqWav2Vec], bert: str, tmp_path: Path, layer: str
) -> None:
    loaded = Loaded(tiny(quantizer="none"), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "none.pt")
    says = rf"no quantizer \(wav2vec 1\.0\), so it has no layer '{layer}'; take z or c"
    with pytest.raises(NoCodesError, match=says):
        load_features(layer, str(tmp_path / "none.pt"), bert=bert if layer == "bert" else None)
