"""The context network's blocks against sums written out, and what its options and dropouts change."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from vqw2v_plugin.modules.layers.conv_spec import ConvLayer
from vqw2v_plugin.modules.wav2vec.context import ConvContext, GruContext
from vqw2v_plugin.modules.wav2vec.contrastive import StepPredictor
from vqw2v_plugin.modules.wav2vec.encoder import Encoder
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]
WAV = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0)) * 0.1


def context(dim_in: int, *layers: tuple[int, int], **options: object) -> ConvContext:
    torch.manual_seed(1)
    return ConvContext(dim_in, [ConvLayer(dim, kernel, 1) for dim, kernel in layers], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("zero_pad", [False, True])
@pytest.mark.parametrize(("dim", "skip"), [(4, True), (6, True), (6, False)])
def test_a_block_is_its_sum_over_the_past(train: bool, zero_pad: bool, dim: int, skip: bool) -> None:
    network = context(4, (dim, 3), zero_pad=zero_pad, skip_connections=skip, residual_scale=0.3)
    network.train(train)
    (block,) = network.layers
    z = torch.randn(2, 5, 4)
    rows = []
    for t in range(5):
        taps = [z[:, t - back] if t >= back else z[:, 0] * (not zero_pad) for back in (2, 1, 0)]
        rows.append(sum(tap @ w.T for tap, w in zip(taps, block.conv.weight.unbind(2), strict=True)))
    y = torch.stack(rows, 1) + block.conv.bias  # [B, T, C]
    mean, spread = y.mean((1, 2), keepdim=True), y.var((1, 2), correction=0, keepdim=True)
    expected = ((y - mean) / (spread + 1e-5).sqrt()).relu()
    if skip:
        around = z if dim == 4 else z @ block.residual.weight.squeeze(2).T
        expected = (expected + around) * math.sqrt(0.3)
    torch.testing.assert_close(network(z), expected, atol=1e-5, rtol=1e-5)


def test_a_gru_goes_from_frame_to_frame_and_never_from_clip_to_clip() -> None:
    """Stock's does, by mistake."""
    torch.manual_seed(1)
    network, z = GruContext(4, 6), torch.randn(3, 7, 4)
    together = network(z)
    assert together.shape == (3, 7, 6)
    for row, alone in zip(z, together, strict=True):
        torch.testing.assert_close(network(row[None])[0], alone)
    other = z.clone()
    other[:, 4] += 1
    changed = (network(other) != together).any(2).any(0)
    assert changed.tolist() == [False] * 4 + [True] * 3


def test_biases_and_gains_are_there_where_they_are_asked_for() -> None:
    bare = context(4, (4, 2), bias=False, affine=False)
    assert [name for name, _ in bare.named_parameters()] == ["layers.0.conv.weight"]
    encoder = Encoder([ConvLayer(4, 4, 2)], affine=False)
    assert [name for name, _ in encoder.named_parameters()] == ["layers.0.conv.weight"]
    whole = [name for name, _ in context(4, (4, 2)).named_parameters()]
    assert whole == [f"layers.0.{name}" for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")]


@pytest.mark.parametrize("train", [False, True])
def test_residuals_of_the_encoder_are_scaled_by_the_root(train: bool) -> None:
    torch.manual_seed(1)
    layers = [ConvLayer(4, 4, 2), ConvLayer(4, 2, 2)]
    encoder = Encoder(layers, skip_connections=True, residual_scale=0.3, log_compression=False).train(train)
    wav = torch.randn(1, 24)  # 11 frames, then 5: of the 6 that lie two apart the first 5 are added
    first, second = (block.conv.weight for block in encoder.blocks)

    def normed(y: torch.Tensor) -> torch.Tensor:
        return F.relu((y - y.mean()) / (y.var(correction=0) + 1e-5).sqrt())

    x = normed(F.conv1d(wav[:, None], first, stride=2))  # from one channel to four: nothing to add
    expected = (normed(F.conv1d(x, second, stride=2)) + x[:, :, :10:2]) * math.sqrt(0.3)
    torch.testing.assert_close(encoder(wav), expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_the_logarithm_is_of_what_may_be_negative_without_its_sign() -> None:
    torch.manual_seed(1)
    layers = [ConvLayer(8, 4, 2)]
    encoder = Encoder(layers, activation="gelu").eval()
    z, raw = encoder(WAV[:1, :40]), encoder.convolve(WAV[:1, :40])
    assert raw.min() < 0
    torch.testing.assert_close(z, torch.log1p(raw.abs()))
    one = Encoder([ConvLayer(1, 4, 2)], skip_connections=True).eval()  # the audio itself is added
    assert one.convolve(WAV[:1, :40]).min() < 0
    torch.testing.assert_close(one(WAV[:1, :40]), torch.log1p(one.convolve(WAV[:1, :40]).abs()))


def test_the_logarithm_is_stock_s_to_the_last_bit() -> None:
    encoder, x = Encoder([ConvLayer(8, 4, 2)]), torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.compress(x), torch.log(1 + x))
    assert not torch.equal(torch.log(1 + x), torch.log1p(x))  # codes see it


@pytest.mark.parametrize("name", ["dropout", "dropout_features", "dropout_agg"])
@pytest.mark.parametrize("position", ["encoder", "context"])
def test_each_dropout_changes_training_alone(tiny: Tiny, name: str, position: str) -> None:
    negatives = torch.zeros(2, tiny().encoder.geometry.frames(2000), 1, dtype=torch.int64)
    network = tiny(quantizer="none", quantizer_position=position, **{name: 0.5})
    scores = [
        network.train(train).contrast(WAV, negatives).scored.scores for train in (True, True, False, False)
    ]
    assert not torch.equal(scores[0], scores[1]) and torch.equal(scores[2], scores[3])


@pytest.mark.parametrize("train", [False, True])
def test_dropout_reaches_context_layers_and_predictions(train: bool) -> None:
    network = context(4, (4, 2), dropout=0.5).train(train)
    z = torch.randn(1, 30, 4)
    assert torch.equal(network(z), network(z)) != train
    predictor = StepPredictor(4, 4, 2, 1, dropout=0.5).train(train)
    rows = torch.zeros(1, 30, 1, dtype=torch.int64)
    assert torch.equal(predictor(z, z, rows).scores, predictor(z, z, rows).scores) != train


def test_predictions_begin_as_wide_as_stock_s_transposed_convolution() -> None:
    predictor, stock = StepPredictor(64, 32, 8, 1), torch.nn.ConvTranspose2d(64, 32, (1, 8))
    for ours, theirs in ((predictor.weight, stock.weight), (predictor.bias, stock.bias)):
        bound = 1 / math.sqrt(32 * 8)
        assert ours.abs().max() <= bound and theirs.abs().max() <= bound
    assert predictor.weight.abs().max().item() == pytest.approx(1 / math.sqrt(32 * 8), rel=1e-2)


def test_the_objective_takes_its_options(tiny: Tiny) -> None:
    """The same scores: negatives and dropout are drawn from the same seed."""

    def loss(infonce: bool = False, **settings: object) -> float:
        network = tiny(quantizer="none", **settings).eval()
        torch.manual_seed(3)
        return network.objective(WAV, infonce).loss.item()

    plain = loss()
    assert plain not in (loss(balanced_classes=True), loss(True), loss(sample_distance=2))
    network = tiny(quantizer="none", num_negatives=2, cross_sample_negatives=3)
    drawn = network._draw(torch.zeros(2, 40, 4))
    assert drawn.shape == (2, 40, 5)
    assert (drawn[0, :, :2] < 40).all() and (drawn[0, :, 2:] >= 40).any()
    near = tiny(quantizer="none", sample_distance=2)._draw(torch.zeros(1, 40, 4))
    assert (near - torch.arange(40)[:, None]).abs().max() == 2


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_quantizer_s_loss_counts_once_a_prediction(tiny: Tiny, weight: float) -> None:
    torch.manual_seed(3)
    found = tiny(quantizer="kmeans").eval().objective(WAV, quantizer_weight=weight)
    assert found.quantizer is not None
    expected = weight * found.num_predictions * found.quantized.loss
    torch.testing.assert_close(found.quantizer, expected)
    torch.testing.assert_close(found.loss, found.contrastive + expected)


def test_only_training_counts_codes_and_a_discarded_update_does_not(tiny: Tiny) -> None:
    network = tiny(quantizer="kmeans")
    for train, discard in ((False, False), (True, True), (True, False)):
        network.train(train).objective(WAV)
        if discard:
            network.discard_update()
        network.set_num_updates(network._num_updates + 1)
        assert bool(network.health.window.any()) == (train and not discard)
        assert (network.signs.shares() is not None) == (train and not discard)
    before = network.health.window.clone()
    network.objective(WAV)
    network.set_num_updates(network._num_updates)  # said again for each batch of an update
    assert torch.equal(network.health.window, before)
