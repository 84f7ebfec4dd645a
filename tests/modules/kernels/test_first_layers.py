"""Training's passes through encoder and context network against evaluation's, which are stock's."""

from itertools import product

import pytest
import torch
from torch import nn

from vqw2v_plugin.modules.kernels import conv
from vqw2v_plugin.modules.kernels import first_layers as front
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec.context import ConvContext
from vqw2v_plugin.modules.wav2vec.encoder import Encoder

ENCODER = "[(16, 10, 5), (16, 8, 4), (16, 4, 2), (24, 5, 2), (24, 1, 1)]"
CONTEXT = "[(24, 2, 1), (32, 3, 1), (32, 5, 1)]"


@pytest.mark.parametrize(
    ("roots", "activation", "skips", "affine"),
    list(product([0, 4], ["relu", "gelu"], [False, True], [False, True])),
)
def test_training_computes_what_evaluation_does(
    roots: int, activation: str, skips: bool, affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (conv, front):
        monkeypatch.setattr(module, "best_roots", lambda taps, rows: roots)
    monkeypatch.setattr(front, "_PIECE", 7)  # several pieces an utterance, the last one shorter
    torch.manual_seed(0)
    options = {"activation": activation, "affine": affine, "skip_connections": skips}
    encoder = Encoder(parse_conv_layers(ENCODER), **options).double()
    context = ConvContext(24, parse_conv_layers(CONTEXT), zero_pad=affine, **options).double()
    parameters = [*encoder.parameters(), *context.parameters()]
    for parameter in (p for p in parameters if p.ndim == 1):
        nn.init.normal_(parameter)
    wav = torch.randn(3, 2111, dtype=torch.float64) + 0.3
    found = []
    for training in (True, False):
        encoder.train(training), context.train(training)
        z = encoder(wav)
        c = context(z)
        weigh = torch.linspace(-1, 1, c[0].numel(), dtype=torch.float64).view_as(c[0])
        loss = (c * weigh).sum() + z.square().sum()
        found.append([z, c, *torch.autograd.grad(loss, parameters)])
    for trained, evaluated in zip(*found, strict=True):
        assert (trained - evaluated).abs().max() <= 1e-12 * evaluated.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_loud_constant_under_the_audio_does_not_blur_the_norm(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    encoder = Encoder(parse_conv_layers("[(16, 10, 5), (16, 8, 4)]")).double()
    wav = (torch.randn(2, 3000, dtype=torch.float64) * 0.05 + 0.8).to(dtype)
    exact = encoder.eval()(wav.double())
    z = encoder.to(dtype).train()(wav)
    limit = 1e-4 if dtype == torch.float32 else 0.1
    assert (z - exact).abs().max() <= limit * exact.abs().max()


def test_the_first_layer_s_output_is_never_kept() -> None:
    encoder = Encoder(parse_conv_layers("[(64, 10, 5), (64, 8, 4), (64, 4, 2)]")).train()
    long = (8000 - 10) // 5 + 1  # frames of the first layer
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        encoder(torch.randn(2, 8000))
    assert max(kept) < 2 * long * 64 / 2
