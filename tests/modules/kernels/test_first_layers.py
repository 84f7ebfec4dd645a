"""The first two layers in one go, in training: what test_same_as_plain does not ask."""

import pytest
import torch

from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec.encoder import Encoder


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
