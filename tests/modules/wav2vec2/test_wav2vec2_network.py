"""wav2vec 2.0: an utterance is heard, masked and scored the same alone and beside any other; sizes; drops."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from wav2vec2s import LARGE_STYLE, config_of, noise, padded, tiny_wav2vec2

from vqw2v_plugin.checkpoints.wav2vec2 import make_wav2vec2
from vqw2v_plugin.modules.kernels import long_conv
from vqw2v_plugin.modules.layers.conv_spec import ConvGeometry, parse_conv_layers
from vqw2v_plugin.modules.wav2vec2 import long_clips
from vqw2v_plugin.modules.wav2vec2.config import ARCHS, BASE, LARGE, Wav2Vec2Config
from vqw2v_plugin.modules.wav2vec2.draws import draw
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2
from vqw2v_plugin.modules.wav2vec2.positions import PositionConv
from vqw2v_plugin.quantizers import quantizer_names

SIZES = (700, 1300, 940)
STYLES: dict[str, dict[str, Any]] = {"BASE": {}, "LARGE": LARGE_STYLE}


def of(
    network: Wav2Vec2, wavs: list[Tensor], seeds: list[int], more: int = 0
) -> tuple[Any, dict[str, Tensor]]:
    """The objective without diversity, which is a batch's, and its gradients."""
    network.zero_grad()
    batch, lengths = padded(wavs, more)
    found = network.objective(batch, lengths, seeds, weights=(None if _sums(network) else 0.0, 10.0))
    found.loss.backward()
    return found, {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def _sums(network: Wav2Vec2) -> bool:
    return network.config.quantizer in ("fsq", "none")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("quantizer", quantizer_names())
def test_an_utterance_is_the_same_alone_and_beside_any_other(style: str, quantizer: str) -> None:
    settings = {"latent_vars": 9, "mask_channel_prob": 0.2, "mask_channel_length": 3}
    network = tiny_wav2vec2(**settings, **STYLES[style], quantizer=quantizer).eval()
    wavs, seeds = [noise(size, i) for i, size in enumerate(SIZES)], [31, 32, 33]
    alone = [of(network, [wav], [seed]) for wav, seed in zip(wavs, seeds, strict=True)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0]):
        together, gradients = of(network, [wavs[i] for i in order], [seeds[i] for i in order], more=130)
        parts = [alone[i][0] for i in order]
        assert together.num_predictions == sum(part.num_predictions for part in parts)
        assert int(together.num_correct) == sum(int(part.num_correct) for part in parts)
        codes = torch.cat([part.quantized.codes for part in parts], 1)
        assert torch.equal(together.quantized.codes, codes)
        torch.testing.assert_close(together.loss, sum(part.loss for part in parts), rtol=1e-5, atol=1e-3)
        for name, gradient in gradients.items():
            wanted = sum(alone[i][1][name] for i in order)
            torch.testing.assert_close(
                gradient,
                wanted,
                rtol=1e-3,
                atol=1e-4 * float(wanted.abs().max()) + 1e-5,
                msg=lambda m, n=name: f"{n}: {m}",
            )


@pytest.mark.parametrize("more", [60, 0])  # with 0 the longest has no padding, and the others have
@pytest.mark.parametrize("style", STYLES)
@torch.no_grad()
def test_states_and_codes_know_nothing_of_padding(style: str, more: int) -> None:
    network = tiny_wav2vec2(**STYLES[style]).eval()
    wavs = [noise(size, i) for i, size in enumerate(SIZES)]
    batch, lengths = padded(wavs, more)
    states, frames = network.states(batch, lengths)
    for i, wav in enumerate(wavs):
        alone, _ = network.states(wav[None])
        for a, b in zip(states, alone, strict=True):
            torch.testing.assert_close(torch.split(a, list(frames))[i], b, rtol=1e-4, atol=1e-5)


def test_in_the_middle_of_training_the_long_convolution_is_the_plain_one() -> None:
    torch.manual_seed(0)
    for frames, taps in ((700, 128), (330, 127), (601, 32)):
        conv = PositionConv(24, taps, 4).double()
        x = torch.randn(2, frames, 24, dtype=torch.float64, requires_grad=True)
        assert long_conv.pays(x, conv.weight)
        found = []
        for training in (True, False):
            conv.train(training).zero_grad()
            x.grad = None
            y = conv(x)
            (y * y.detach().cos()).sum().backward()
            found.append([y.detach(), x.grad, *(p.grad.clone() for p in conv.parameters())])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_channels_are_silent_over_an_utterance_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_wav2vec2(mask_channel_prob=0.5, mask_channel_length=4).eval()
    heard: list[Tensor] = []
    monkeypatch.setattr(network.transformer, "forward", lambda x, *a: heard.append(x) or x[a[1].index])
    network.objective(*padded([noise(700), noise(1100, 1)]), seeds=[1, 2])
    for part in torch.split(heard[0], [34, 54]):
        silent = (part == 0).all(0)
        assert 0 < int(silent.sum()) <= 12 and not bool((part == 0).all(1).any())


def test_masked_frames_are_heard_by_the_mask_alone() -> None:
    network = tiny_wav2vec2().eval()
    heard = network.hear(noise(900)[None])
    draws = draw(heard.frames, [3], network.config)
    louder = heard.z.clone()
    louder[draws.masked.index] += 1
    with torch.no_grad():
        states = []
        for z in (heard.z, louder):
            states.append(network.scores(replace(heard, z=z), draws)[3])
    assert torch.equal(*states)


def test_of_changed_audio_are_the_states_and_of_what_it_was_the_targets() -> None:
    network, wav = tiny_wav2vec2().eval(), torch.stack([noise(900), noise(900, 1)])
    draws, loud = draw([44, 44], [3, 4], network.config), wav + 0.05 * torch.randn(2, 900)
    with torch.no_grad():
        scores, targets, _, states = network.scores(network.hear(wav), draws, network.hear(loud))
        other_scores, others, _, of_loud = network.scores(network.hear(loud), draws)
    assert torch.equal(states, of_loud) and not torch.equal(scores, other_scores)
    assert torch.equal(targets.codes[0], network.encode(wav).flatten(0, 1)[draws.masked.index])
    assert not torch.equal(targets.codes, others.codes)


def test_audio_is_changed_in_training_alone() -> None:
    network, wav = tiny_wav2vec2(), noise(900)[None]
    for training in (True, False):
        found = []
        for changed in (wav + noise(900, 1), wav, None):
            torch.manual_seed(2)  # of the quantizer's draws
            found.append(network.train(training).objective(wav, seeds=[3], changed=changed).contrastive)
        assert torch.equal(found[1], found[2]) and torch.equal(found[0], found[1]) != training


def test_a_collapse_is_no_success() -> None:
    network, wav = tiny_wav2vec2().eval(), noise(900)[None]
    with torch.no_grad():
        network.quantizer.head[0].weight.zero_()
    found = network.objective(wav, seeds=[1])
    assert int(found.num_correct) == 0 and float(found.contrastive.detach()) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_prob": 0.0}, "`mask_prob` is 0.0; expected a share in"),
        ({"encoder_attention_heads": 5}, "must be divisible by `encoder_attention_heads` (5)"),
        ({"conv_pos_groups": 7}, "must be divisible by `conv_pos_groups` (7)"),
        ({"num_negatives": 0}, "`num_negatives` is 0; expected 1 to"),
        ({"extractor_mode": "batch"}, "`extractor_mode` is 'batch'; expected default or layer_norm"),
        ({"activation_fn": "tanh"}, "`activation_fn` is 'tanh'; expected gelu or relu"),
        ({"same_quantizer": True}, "`same_quantizer` needs both"),
        ({"same_quantizer": True, "quantize_targets": False, "quantize_input": True}, "needs both"),
        ({"logit_temp": 0.0}, "`logit_temp` is 0.0"),
        ({"logit_temp": float("inf")}, "`logit_temp` is inf"),
        ({"feature_grad_mult": float("inf")}, "`feature_grad_mult` is inf"),
        ({"mask_prob": 1.1}, "`mask_prob` is 1.1; expected a share in (0, 1]"),
        ({"conv_bias": "false"}, "`conv_bias` is 'false'; expected true or false"),
        ({"encoder_layers": 0}, "`encoder_layers` is 0; expected at least 1"),
        ({"dropout_input": 1.0}, "`dropout_input` is 1.0; expected a probability"),
        ({"feature_grad_mult": -1.0}, "`feature_grad_mult` is -1.0"),
        ({"conv_pos": 1 << 30}, "`conv_pos` is 1,073,741,824; expected at most"),
        ({"mask_length": 1 << 21}, "`mask_length` is 2,097,152; expected at most"),
        ({"mask_channel_length": 1 << 21}, "`mask_channel_length` is 2,097,152; expected at most"),
        ({"mask_channel_prob": 1.1}, "`mask_channel_prob` is 1.1; expected a share in [0, 1]"),
        ({"num_negatives": 10_001}, "`num_negatives` is 10001; expected 1 to 10,000"),
    ],
)
def test_settings_that_make_no_network_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        config_of(**change)
    assert message in str(error.value)


def test_sizes_and_probabilities_are_each_checked_by_name() -> None:
    parts = ("encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "conv_pos")
    codes = ("latent_vars", "latent_groups", "quantizer_depth", "mask_length", "mask_channel_length")
    for name in (*parts, "conv_pos_groups", *codes):
        with pytest.raises(ValueError, match=f"`{name}` is 0; expected at least 1"):
            config_of(**{name: 0})
    for name in ("final_dim", "latent_dim"):
        with pytest.raises(ValueError, match=f"`{name}` is -1; expected at least 0"):
            config_of(**{name: -1})
    dropped = ("dropout", "attention_dropout", "activation_dropout", "dropout_features", "encoder_layerdrop")
    for name in dropped:
        with pytest.raises(ValueError, match=f"`{name}` is 1.0; expected a probability"):
            config_of(**{name: 1.0})
    config_of(mask_prob=1.0, mask_channel_prob=1.0, num_negatives=10_000, feature_grad_mult=0.0)


def test_clips_that_are_too_short_are_named() -> None:
    network = tiny_wav2vec2().eval()
    with pytest.raises(
        ValueError, match="audio of 29 samples is shorter than the encoder's receptive field of 30"
    ):
        network.hear(torch.zeros(2, 900), [900, 29])
    with pytest.raises(ValueError, match="an utterance has 2 frames; expected 3 at least"):
        network.objective(torch.zeros(1, 60), seeds=[1])


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    folder = Path(os.environ.get("VQW2V_DATA", "nowhere")).parent / "golden" / "peer_vectors"
    if not folder.is_dir():
        pytest.skip("numbers of peers are not there")
    return dict(json.loads((folder / "vectors.json").read_text()))


def sizes(network: Wav2Vec2) -> dict[str, int]:
    def size(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    return {
        "conv": size(network.encoder),
        "layer": size(network.transformer.layers[0]),
        "pos_conv": size(network.transformer.positions),
    }


@pytest.mark.parametrize(
    ("name", "config", "whole"), [("base", BASE, 95_044_608), ("large", LARGE, 317_390_592)]
)
def test_sizes_are_the_papers(name: str, config: Wav2Vec2Config, whole: int, vectors: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = make_wav2vec2(config)
    counts = vectors["parameter_counts"]
    assert sum(p.numel() for p in network.parameters()) == whole == counts[f"wav2vec2_{name}_pretrain"]
    wanted = {part: counts["parts"][f"w2v2_{name}_{part}"] for part in ("conv", "layer", "pos_conv")}
    assert sizes(network) == wanted


def test_the_small_one_has_some_12_million() -> None:
    with torch.device("meta"):
        network = make_wav2vec2(ARCHS["vq_wav2vec2_small"])
    assert 11e6 < sum(p.numel() for p in network.parameters()) < 14e6


def test_frames_are_counted_as_peers_count_them(vectors: dict[str, Any]) -> None:
    case = vectors["conv_lengths"]["wav2vec2_encoder"]
    layers = parse_conv_layers(BASE.conv_feature_layers)
    geometry = ConvGeometry.of(layers)
    assert [[layer.kernel, layer.stride] for layer in layers] == case["layers"]
    assert (geometry.receptive_field, geometry.stride) == (case["receptive_field"], case["stride"])
    assert {n: geometry.frames(int(n)) for n in case["frames"]} == case["frames"]


def test_the_temperature_falls_as_peers_have_it(vectors: dict[str, Any]) -> None:
    for name, config in (("base", BASE), ("large_librivox", LARGE)):
        assert list(config.latent_temp) == vectors["temperature"][f"wav2vec2_{name}"]["args"]
    floor = vectors["temperature"]["wav2vec2_large_librivox"]["reaches_floor_at_update"]
    network = tiny_wav2vec2(latent_temp=[2.0, 0.1, 0.999995])
    found = []
    for update in (floor - 2, floor + 1):
        network.set_num_updates(update)
        found.append(network.quantizer.temperature)
    assert found[0] > 0.1 == found[1]


def test_the_settings_are_those_of_the_paper() -> None:
    """Spans of ten frames from 0.065 of all, a hundred distractors at κ = 0.1, 2 × 320 codes (§4.2)."""
    assert (BASE.mask_prob / BASE.mask_length, BASE.mask_length) == (pytest.approx(0.065), 10)
    assert (BASE.num_negatives, BASE.logit_temp, BASE.final_dim) == (100, 0.1, 256)
    assert (BASE.latent_groups, BASE.latent_vars, BASE.quantizer_depth) == (2, 320, 1)
    assert (BASE.conv_pos, BASE.conv_pos_groups, BASE.feature_grad_mult) == (128, 16, 0.1)
    dropped = (BASE.dropout, BASE.attention_dropout, BASE.dropout_input, BASE.dropout_features)
    assert dropped == (0.1,) * 4 and (BASE.encoder_layerdrop, BASE.activation_dropout) == (0.05, 0.0)
    assert (BASE.mask_channel_prob, LARGE.feature_grad_mult, LARGE.encoder_layerdrop) == (0.0, 1.0, 0.0)
    assert {LARGE.dropout, LARGE.attention_dropout, LARGE.dropout_input, LARGE.dropout_features} == {0.0}
    heads = {name: config.encoder_attention_heads for name, config in ARCHS.items()}
    base, large, small = ("vq_wav2vec2_base", "vq_wav2vec2_large", "vq_wav2vec2_small")
    assert heads == {"vq_wav2vec2": 12, base: 12, large: 16, small: 6}  # of 64 numbers each
    assert [config.layer_norm_first for config in (BASE, LARGE)] == [False, True]
    assert [config.extractor_mode for config in (BASE, LARGE)] == ["default", "layer_norm"]
    assert (BASE.activation_fn, BASE.mask_channel_length, BASE.latent_dim) == ("gelu", 10, 0)
    assert (BASE.quantize_targets, BASE.quantize_input, BASE.same_quantizer) == (True, False, False)


def test_a_minute_is_heard_at_once_and_five_seconds_beside_what_is_kept() -> None:
    """Frames of 20 ms."""
    assert (long_clips.WHOLE * 0.02, long_clips.MARGIN * 0.02) == (60, 5)


def test_weights_begin_as_stock_s() -> None:
    network = tiny_wav2vec2(
        encoder_embed_dim=192, conv_pos=16, conv_feature_layers="[(64, 10, 5), (64, 3, 2)]"
    )
    layer = network.transformer.layers[1]
    for linear in (layer.qkv, layer.out, layer.fc1, layer.fc2):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.05) and not linear.bias.any()
    mask = network.mask.detach()
    assert 0 <= float(mask.min()) and 0.9 < float(mask.max()) < 1 and abs(float(mask.mean()) - 0.5) < 0.1
    for block, inputs in zip(network.encoder.blocks, (10, 64 * 3), strict=True):
        assert float(block.conv.weight.detach().std()) == pytest.approx((2 / inputs) ** 0.5, rel=0.1)
    wanted = (4 / (16 * 192)) ** 0.5
    assert float(network.transformer.positions.direction.detach().std()) == pytest.approx(wanted, rel=0.05)
    assert not network.transformer.positions.bias.any()


@pytest.mark.parametrize(
    ("batch", "frames", "taps", "pays"),
    [(1, 400, 32, True), (2, 200, 128, True), (1, 399, 64, False), (1, 900, 31, False), (1, 900, 129, False)],
)
def test_spectra_are_for_many_frames_and_taps_that_a_stretch_holds(
    batch: int, frames: int, taps: int, pays: bool
) -> None:
    assert long_conv.pays(torch.zeros(batch, frames, 8), torch.zeros(8, 2, taps)) == pays
