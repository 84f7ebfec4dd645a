"""A GPU's way through encoder and context network against the plain one, by Triton's interpreter."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from vqw2v_plugin.modules.kernels import cpu_training, devices, gpu_training, norm_parts
from vqw2v_plugin.modules.layers.centred import centre_layers
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec.context import ConvContext
from vqw2v_plugin.modules.wav2vec.encoder import Encoder
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

ENCODER = "[(16, 10, 5), (16, 8, 4), (24, 4, 2), (24, 1, 1)]"
CONTEXT = "[(24, 1, 1), (24, 2, 1), (24, 5, 1)]"
TOLERANCES = {torch.float32: (2e-6, 1e-5), torch.bfloat16: (2e-2, 0.25)}  # of outputs, of gradients


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(cpu_training, "takes_over", lambda module, x: False)  # its tensors lie on none
    monkeypatch.setattr(norm_parts, "PARTS", 3)  # of which the last is shorter
    monkeypatch.setattr(norm_parts, "TILE", 128)  # several blocks a part


def with_gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    y = module(x)
    weigh = torch.linspace(-1, 1, y[0].numel()).view_as(y[0])
    inputs = [*module.parameters(), *([x] if x.requires_grad else [])]
    return [y, *torch.autograd.grad((y * weigh).sum() + y.square().sum(), inputs)]


def same(module: nn.Module, x: Tensor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels in `dtype` against the plain form of the same numbers in fp64."""
    torch.manual_seed(0)
    for parameter in (p for p in module.parameters() if p.ndim == 1):
        nn.init.normal_(parameter)
    module.to(dtype)
    rounded = x.to(dtype).detach().requires_grad_(x.requires_grad)
    found = with_gradients(module.train(), rounded)
    with monkeypatch.context() as patched:
        for ways in (cpu_training, gpu_training):
            patched.setattr(ways, "takes_over", lambda module, x: False)
        wide = rounded.detach().double().requires_grad_(x.requires_grad)
        expected = with_gradients(module.double(), wide)
    for i, (ours, plain) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == dtype and ours.shape == plain.shape
        assert (ours - plain).norm() <= TOLERANCES[dtype][i > 0] * plain.norm(), i


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize(
    "options",
    [{}, {"activation": "gelu"}, {"affine": False, "log_compression": False}],
    ids=["relu", "gelu", "bare"],
)
def test_an_encoder_is_the_plain_one(
    options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    encoder = Encoder(parse_conv_layers(ENCODER), **options)
    if not options:
        centre_layers(encoder)
    same(encoder, torch.randn(2, 431) + 0.3, dtype, monkeypatch)


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu", "zero_pad": True},
        {"skip_connections": False, "affine": False, "bias": False},
    ],
    ids=["relu", "gelu", "bare"],
)
def test_a_context_network_is_the_plain_one(
    options: dict[str, Any], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    context = ConvContext(24, parse_conv_layers(CONTEXT), **options)
    if not options:
        centre_layers(context)
    same(context, torch.randn(2, 19, 24, requires_grad=True), dtype, monkeypatch)


@pytest.mark.parametrize("size", [5, 40])
def test_moments_are_those_of_what_is_not_padding(size: int) -> None:
    y = 3 + 0.1 * torch.randn(2, size, 5)
    lengths = torch.tensor([size, 4])
    parts = norm_parts.moments(y, torch.ones(5), lengths)
    for b, length in enumerate(lengths.tolist()):
        exact, rows = y[b, :length].double() + 1, -(-size // 3)
        counts = torch.tensor([max(0, min(length - p * rows, rows)) * 5 for p in range(3)])
        mean = (parts[b, :, 0].double() * counts).sum() / counts.sum()
        spread = parts[b, :, 1].double().sum() + (counts * (parts[b, :, 0] - mean).square()).sum()
        torch.testing.assert_close(mean, exact.mean(), rtol=1e-6, atol=0)
        torch.testing.assert_close(spread / counts.sum(), exact.var(correction=0), rtol=1e-4, atol=0)


def test_what_it_does_not_know_is_left_to_the_plain_form() -> None:
    with_dropout = ConvContext(8, parse_conv_layers("[(8, 2, 1)]"), dropout=0.1)
    wider = ConvContext(8, parse_conv_layers("[(16, 2, 1)]"))
    plain = ConvContext(8, parse_conv_layers("[(8, 2, 1)]"))
    assert [gpu_training.can_run(list(c.layers)) for c in (with_dropout, wider, plain)] == [
        False,
        False,
        True,
    ]
    assert not gpu_training.takes_over(plain.eval(), torch.zeros(1))
    with torch.no_grad():
        assert gpu_training.takes_over(plain.eval(), torch.zeros(1))
    assert not gpu_training.takes_over(plain.train(), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_a_batch_has_the_plain_form_s_codes(
    quantizer: str, tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, wav = tiny(quantizer=quantizer).eval(), 0.1 * torch.randn(2, 700)
    with torch.no_grad():
        quick, codes = network.encoder(wav), network.encode(wav)
        monkeypatch.setattr(devices, "is_gpu", lambda x: False)
        torch.testing.assert_close(quick, network.encoder(wav), rtol=1e-5, atol=1e-6)
        assert torch.equal(codes, network.encode(wav))


def test_audio_that_is_too_short_is_named_there_too() -> None:
    with pytest.raises(ValueError, match="audio of 3 samples is shorter than the encoder's receptive field"):
        Encoder(parse_conv_layers(ENCODER)).train()(torch.zeros(1, 3))


def test_residuals_with_weights_and_dropout_go_the_plain_way_and_all_else_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("encoder_blocks", "context_blocks"):
        monkeypatch.setattr(gpu_training, name, lambda *given: pytest.fail("a kernel"))
    layers, context = parse_conv_layers(ENCODER), parse_conv_layers(CONTEXT)
    wav, z = torch.randn(1, 231), torch.randn(1, 9, 24)
    plain = [(Encoder(layers, skip_connections=True), wav), (ConvContext(24, context, dropout=0.1), z)]
    for module, x in (*plain, (ConvContext(16, context), z[..., :16])):
        module.train()(x)
    for module, x in ((Encoder(layers), wav), (ConvContext(24, context), z)):
        with pytest.raises(pytest.fail.Exception, match="a kernel"):
            module.train()(x)


def test_the_logarithm_is_the_kernel_s_in_training_and_of_what_is_never_negative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In evaluation codes see its last bit, which is torch's own."""
    told, real, wav = list[bool](), gpu_training.encoder_blocks, torch.randn(1, 61)
    monkeypatch.setattr(gpu_training, "encoder_blocks", lambda *given: told.append(given[2]) or real(*given))
    for options in ({}, {"activation": "gelu"}, {"log_compression": False}):
        encoder = Encoder(parse_conv_layers("[(16, 10, 5), (16, 4, 2)]"), **options)
        with torch.no_grad():
            trained, heard = encoder.train()(wav), encoder.eval()(wav)
        torch.testing.assert_close(trained, heard, rtol=1e-5, atol=1e-6)
    assert told == [True, False, False, False, False, False]
