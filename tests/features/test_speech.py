"""Layers of a BERT over speech: features like any other, of one clip at a time."""

import contextlib
from pathlib import Path

import pytest
import torch
from corpus_runs import FEW, corpus
from speech_bert import restored, saved_speech_bert
from torch import Tensor

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.clusters import load_clusters
from vqw2v_plugin.features import speech
from vqw2v_plugin.features.base import Layer, parse_layer
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.speech import SpeechFeatures
from vqw2v_plugin.modules.bert.speech import SpeechInput
from vqw2v_plugin.stores.features import FeatureStore

LENGTHS = [4000, 1500, 2777]


def batch() -> tuple[Tensor, Tensor]:
    wav = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(4))
    for row, n in zip(wav, LENGTHS, strict=True):
        row[n:] = float("nan")
    return wav, torch.tensor(LENGTHS)


@pytest.mark.parametrize("layer", ["speech:0", "speech:1", "speech"])
def test_a_padded_batch_is_each_utterance_alone(layer: str) -> None:
    found = restored()
    front = AudioFront(SpeechFeatures(found, parse_layer(layer))).train()
    wav, lengths = batch()
    together, frames = front(wav, lengths)
    assert frames.tolist() == [front.frames(n) for n in LENGTHS] == [(n - 560) // 320 + 1 for n in LENGTHS]
    heard = SpeechInput(16_000, 10, 2)
    for i, n in enumerate(LENGTHS):
        x = heard(wav[i, :n])
        expected = found.network.states(x, [len(x)])[parse_layer(layer).number or 0]
        assert torch.equal(together[i, : frames[i]], expected)
    assert not together.requires_grad


def test_a_front_that_learns_passes_gradients_to_what_makes_its_layer() -> None:
    front = AudioFront(SpeechFeatures(restored(), Layer("speech", 1)), freeze_updates=2).train()
    front.set_num_updates(1)
    assert not front(*batch())[0].requires_grad
    front.set_num_updates(2)
    front(*batch())[0].square().sum().backward()
    moved = {name for name, p in front.named_parameters() if p.grad is not None and p.grad.any()}
    assert "features.network.projection.weight" in moved
    assert any("layers.0" in name for name in moved) and not any("layers.1" in name for name in moved)
    assert not any(part in name for name in moved for part in ("mask", "head", "output"))


def test_only_in_training_itself_is_it_as_the_user_has_set_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []

    def noted(device: torch.device, numbers: str, learns: bool) -> contextlib.nullcontext[None]:
        asked.append((device.type, numbers, learns))
        return contextlib.nullcontext()

    monkeypatch.setattr(speech, "precision", noted)
    features, wav = SpeechFeatures(restored(), Layer("speech", 1)), batch()[0][0]
    features(wav)
    assert features.let_learn() == [features.network]
    features(wav)
    assert asked == [("cpu", "fp32", False), ("cpu", "fp32", True)]


def test_in_bf16_the_states_are_nearly_those_of_fp32() -> None:
    wav = batch()[0][0]
    fp32, bf16 = (SpeechFeatures(restored(), Layer("speech", 2), dtype)(wav) for dtype in ("fp32", "bf16"))
    assert bf16.dtype == torch.float32 and not torch.equal(fp32, bf16)
    torch.testing.assert_close(bf16, fp32, atol=0.1, rtol=0.1)


def test_audio_that_was_normalized_in_training_is_so_here() -> None:
    wav = batch()[0][1, :1500]
    plain, normal = (restored(normalize=each, normalize_bands=False) for each in (False, True))
    loud = [SpeechFeatures(plain, Layer("speech", 1))(wav * gain) for gain in (1, 9)]
    even = [SpeechFeatures(normal, Layer("speech", 1))(wav * gain) for gain in (1, 9)]
    assert not torch.allclose(*loud, atol=1e-2)
    torch.testing.assert_close(*even, atol=1e-3, rtol=1e-3)


def test_the_precision_that_is_asked_for_is_that_of_a_file_s_network(tmp_path: Path) -> None:
    path, wav = saved_speech_bert(tmp_path / "speech.pt"), batch()[0][0]
    found = {dtype: load_features("speech:1", path, dtype=dtype) for dtype in ("fp32", "bf16")}
    for dtype, features in found.items():
        assert torch.equal(features(wav), SpeechFeatures(restored(), Layer("speech", 1), dtype)(wav))
    assert not torch.equal(found["fp32"](wav), found["bf16"](wav))


@pytest.mark.parametrize(("dtype", "normalize", "rate"), [("fp32", True, 8_000), ("bf16", False, 16_000)])
def test_its_spec_says_how_its_numbers_come_about(dtype: str, normalize: bool, rate: int) -> None:
    found = SpeechFeatures(restored(rate, normalize, stack=3), Layer("speech", 1), dtype)
    spec = found.spec
    assert (spec.layer, spec.dim, spec.sample_rate) == ("speech:1", 16, rate)
    assert (spec.stride, spec.receptive_field) == (3 * rate // 100, rate // 40 + 2 * rate // 100)
    assert (spec.dtype, spec.normalize) == (dtype, normalize)


@pytest.mark.parametrize("layer", ["speech:3", "speech:-4"])
def test_a_layer_that_is_not_there_is_said(layer: str) -> None:
    with pytest.raises(ValueError, match=rf"layer `{layer}`: this BERT .* 0 \(its projection\) to 2, or -1"):
        SpeechFeatures(restored(), parse_layer(layer))


def test_its_layers_are_clustered_and_the_clusters_need_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, checkpoint = corpus(tmp_path, files=9), Path(saved_speech_bert(tmp_path / "speech.pt"))
    options = ["--layer", "speech:1", *FEW]
    assert (
        main(["cluster", str(checkpoint), str(manifest), str(tmp_path / "out"), *options, "--codes", "5"])
        == 0
    )
    features = load_features("speech:1", str(checkpoint))
    assert main(["features", str(checkpoint), str(manifest), str(tmp_path / "f"), *options]) == 0
    store = FeatureStore(tmp_path / "f", "train")
    assert (store.rows[0][1], store[0].shape[1]) == (len(store[0]), 16)
    checkpoint.unlink()
    clusters = load_clusters(tmp_path / "out").network.clusters
    tokenizer = Tokenizer.load(tmp_path / "out")
    clip = tmp_path / "audio-train" / "train0.flac"
    codes = tokenizer.encode_file(clip)
    scaled = (features.of(clip) - clusters.mean) / clusters.scale
    assert torch.equal(codes, torch.cdist(scaled, clusters.entries[0]).argmin(1, keepdim=True))
    assert (tokenizer.geometry.stride, tokenizer.geometry.receptive_field) == (320, 560)
    assert main(["export", str(tmp_path / "out"), str(tmp_path / "again")]) == 0
    assert torch.equal(Tokenizer.load(tmp_path / "again").encode_file(clip), codes)
    capsys.readouterr()


def test_another_model_s_checkpoint_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, checkpoint = corpus(tmp_path, files=1), saved_speech_bert(tmp_path / "speech.pt")
    for layer, given, message in (
        ("z", checkpoint, "holds the model 'vq_speech_bert'; expected 'vq_wav2vec'"),
        ("speech", "-", "expected a vq_speech_bert checkpoint; - is for logmel and mfcc"),
        ("z", "-", "expected a vq_wav2vec checkpoint; - is for logmel and mfcc"),
    ):
        assert main(["features", given, str(manifest), str(tmp_path / "f"), "--layer", layer]) == 2
        assert message in capsys.readouterr().err
