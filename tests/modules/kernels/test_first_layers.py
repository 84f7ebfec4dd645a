"""The first two layers in one go, in training: what test_same_as_plain does not ask."""

import pytest
import torch

from vqw2v_plugin.modules.kernels import first_layers
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


@pytest.mark.parametrize("roots", [0, 2])
def test_gradients_of_16_bit_are_summed_over_pieces_in_32(
    roots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ones: in bfloat16 their sums end at 256."""
    monkeypatch.setattr(first_layers, "best_roots", lambda taps, rows: roots)
    monkeypatch.setattr(first_layers, "pays", lambda x, weight: True)
    monkeypatch.setattr(first_layers, "_PIECE", 2)
    patches, filters, weight = (
        torch.ones(*size, dtype=torch.bfloat16) for size in ((1, 2001, 1), (1, 1, 1), (1, 1, 2))
    )
    filters.requires_grad_(), weight.requires_grad_()
    y = first_layers._FirstLayers.apply(patches, filters, weight, 1, True)
    y.sum().backward()
    assert weight.grad.flatten().tolist() == [2000.0, 2000.0] and filters.grad.item() == 4000


def test_filters_of_16_bit_audio_are_worked_out_in_32() -> None:
    torch.manual_seed(0)
    block = Encoder(parse_conv_layers("[(16, 10, 5)]")).blocks[0].bfloat16()
    patches = (torch.randn(2, 900, 10) * 0.05 + 3).bfloat16()
    weight = block.conv.weight.detach().squeeze(1)
    found = first_layers._normed_filters(patches, weight, block.norm)
    exact = first_layers._normed_filters(patches.double(), weight.double(), block.norm.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-4)
