"""Layers and codes of a wav2vec 2.0: features and tokens like any other, of one clip at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_runs import FEW, corpus
from torch import Tensor
from wav2vec2s import LARGE_STYLE, noise, tiny_wav2vec2

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.format import write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header, Restored
from vqw2v_plugin.checkpoints.wav2vec2 import KIND
from vqw2v_plugin.features.base import Layer, parse_layer
from vqw2v_plugin.features.clusters import coder_of
from vqw2v_plugin.features.codes import NoCodesError
from vqw2v_plugin.features.front import AudioFront
from vqw2v_plugin.features.wav2vec2 import Wav2Vec2Features
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2

LENGTHS = [2000, 900, 1400]


def restored(normalize: bool = False, **settings: Any) -> Restored[Wav2Vec2]:
    network = tiny_wav2vec2(**settings).eval()
    return Restored(Header(KIND.model, KIND.settings(network), Audio(16_000, normalize)), network)


def saved(path: Path, **settings: Any) -> str:
    found = restored(**settings)
    write_checkpoint(path, found.header, found.weights)
    return str(path)


def batch() -> tuple[Tensor, Tensor]:
    wav = torch.stack([noise(2000, i) for i in range(3)])
    for row, n in zip(wav, LENGTHS, strict=True):
        row[n:] = float("nan")
    return wav, torch.tensor(LENGTHS)


@pytest.mark.parametrize("style", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
@pytest.mark.parametrize("layer", ["w2v2:0", "w2v2:1", "w2v2:-2", "w2v2"])
def test_a_padded_batch_is_each_utterance_alone(layer: str, style: dict[str, Any]) -> None:
    found = restored(**style)
    front = AudioFront(Wav2Vec2Features(found, parse_layer(layer))).train()
    wav, lengths = batch()
    together, frames = front(wav, lengths)
    assert frames.tolist() == [front.frames(n) for n in LENGTHS] == [(n - 30) // 20 + 1 for n in LENGTHS]
    for i, n in enumerate(LENGTHS):
        states, _ = found.network.states(wav[i : i + 1, :n])
        torch.testing.assert_close(together[i, : frames[i]], states[parse_layer(layer).number or 0])
    assert not together.requires_grad


@pytest.mark.parametrize("style", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
def test_a_front_that_learns_passes_gradients_to_what_makes_its_layer(style: dict[str, Any]) -> None:
    front = AudioFront(Wav2Vec2Features(restored(**style), Layer("w2v2", 1)), freeze_updates=2).train()
    front.set_num_updates(1)
    assert not front(*batch())[0].requires_grad
    front.set_num_updates(2)
    (front(*batch())[0] ** 3).sum().backward()
    moved = {name for name, p in front.named_parameters() if p.grad is not None and p.grad.any()}
    learn = {name for name, p in front.named_parameters() if p.requires_grad}
    assert "features.network.projection.weight" in moved and moved >= {n for n in learn if "bias" not in n}
    assert not any("layers.1." in name for name in learn if "transformer" in name)
    assert not any(part in name for name in learn for part in ("mask", "quantizer", "target", "final"))


def test_in_bf16_the_states_are_nearly_those_of_fp32_and_codes_mostly_the_same() -> None:
    wav = noise(2000)
    fp32, bf16 = (Wav2Vec2Features(restored(), Layer("w2v2", 2), dtype)(wav) for dtype in ("fp32", "bf16"))
    assert bf16.dtype == torch.float32 and not torch.equal(fp32, bf16)
    torch.testing.assert_close(bf16, fp32, atol=0.15, rtol=0.15)
    codes = [coder_of(restored(), dtype).codes(wav) for dtype in ("fp32", "bf16")]
    assert float((codes[0] == codes[1]).float().mean()) > 0.8


@torch.no_grad()
def test_audio_that_was_normalized_in_training_is_so_here() -> None:
    """By LARGE, in which no norm over time hides how loud a clip is, or how far from zero."""
    wav, found = 3 * noise(1500) + 0.2, [restored(normalize, **LARGE_STYLE) for normalize in (True, False)]
    even = (wav - wav.mean()) / (wav.var(correction=0) + 1e-5).sqrt()
    coders = [coder_of(each) for each in found]
    layers = [Wav2Vec2Features(each, Layer("w2v2", 1)) for each in found]
    for wants, plain in ([coder.quantizes for coder in coders], layers):
        torch.testing.assert_close(wants(wav), plain(even), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(wants(wav), plain(wav), atol=0.05)
    assert torch.equal(coders[0].codes(wav), coders[1].codes(even))
    assert [coder.normalize for coder in coders] == [True, False]


@pytest.mark.parametrize("layer", ["w2v2:3", "w2v2:-4"])
def test_a_layer_that_is_not_there_is_said(layer: str) -> None:
    with pytest.raises(
        ValueError, match=rf"layer `{layer}`: this wav2vec 2.0 has the layers 0 .* to 2, or -1"
    ):
        Wav2Vec2Features(restored(), parse_layer(layer))


@torch.no_grad()
def test_codes_are_the_quantizer_s_and_vectors_what_they_stand_for() -> None:
    found, wav = restored(), noise(2000)
    coder = coder_of(found)
    quantized = found.network.quantizer(found.network.hear(wav[None]).z[None])
    assert torch.equal(coder.codes(wav), quantized.codes[0])
    assert torch.equal(coder.quantized(wav), quantized.x[0])
    assert (coder.num_groups, coder.num_codes, coder.out_dim) == (2, 9, 12)


def test_a_continuous_one_has_no_codes() -> None:
    with pytest.raises(NoCodesError, match=r"this wav2vec 2\.0 has no quantizer, so it has no codes"):
        coder_of(restored(quantizer="none"))
    coder = coder_of(restored(quantize_targets=False, quantize_input=True))
    assert coder.codes(noise(900)).shape == (44, 2)


def test_its_layers_are_clustered_its_codes_are_tokens_and_neither_needs_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, checkpoint = corpus(tmp_path, files=5), Path(saved(tmp_path / "a.pt"))
    assert main(["discretize", str(checkpoint), str(manifest), str(tmp_path / "tokens"), *FEW]) == 0
    assert main(["usage", str(checkpoint), str(manifest), "--untrained"]) == 0
    assert "untrained:" in capsys.readouterr().out
    words = ["cluster", str(checkpoint), str(manifest), str(tmp_path / "clusters"), "--layer", "w2v2:1"]
    assert main([*words, "--codes", "4"]) == 0
    words = ["cluster", str(checkpoint), str(manifest), str(tmp_path / "of_codes"), "--layer", "q"]
    assert main([*words, "--codes", "3"]) == 0
    wav = noise(900).numpy()
    codes = Tokenizer.load(tmp_path / "clusters").encode(wav, 16_000)
    assert codes.shape == (44, 1)
    checkpoint.unlink()
    assert torch.equal(Tokenizer.load(tmp_path / "clusters").encode(wav, 16_000), codes)
    assert Tokenizer.load(tmp_path / "of_codes").encode(wav, 16_000).shape == (44, 1)


def test_layers_of_other_models_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, checkpoint = corpus(tmp_path, files=1), saved(tmp_path / "a.pt")
    for layer, said, message in [
        ("z", checkpoint, "holds the model 'vq_wav2vec2'; expected 'vq_wav2vec'"),
        ("w2v2", "-", "expected a vq_wav2vec2 checkpoint; - is for logmel and mfcc"),
    ]:
        assert main(["features", said, str(manifest), str(tmp_path / "out"), "--layer", layer]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("style", "layer", "learns"),
    [({}, 1, True), ({}, 2, True), (LARGE_STYLE, 1, False), (LARGE_STYLE, 2, True), (LARGE_STYLE, -1, True)],
)
def test_the_transformer_s_norm_learns_with_the_layers_that_it_is_heard_in(
    style: dict[str, Any], layer: int, learns: bool
) -> None:
    """BASE's is before its first layer, LARGE's behind its last."""
    features = Wav2Vec2Features(restored(**style), Layer("w2v2", layer))
    parts, transformer = features.let_learn(), features.network.transformer
    assert any(part is transformer.norm for part in parts) == learns
    assert any(part is transformer.layers[1] for part in parts) == (layer != 1)
