"""Mean and variance over a clip, piece by piece: those of all pieces together, whatever they come in."""

import pytest
import torch
from torch import nn

from vqw2v_plugin.modules.kernels.clip_layers import ClipFirst, Moments


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("groups", [1, 4])
def test_pieces_give_the_norm_of_the_whole(dtype: torch.dtype, groups: int) -> None:
    y = (3 + 0.2 * torch.randn(5_000, 8, generator=torch.Generator().manual_seed(0))).to(dtype)
    moments = Moments(groups)
    for piece in y.split([1, 700, 2_299, 2_000]):
        moments.add(piece)
    exact = y.double().view(len(y), groups, -1).transpose(0, 1).reshape(groups, -1)
    torch.testing.assert_close(moments.mean, exact.mean(1), rtol=1e-7, atol=0)
    torch.testing.assert_close(moments.spread / moments.count, exact.var(1, correction=0), rtol=1e-6, atol=0)
    norm = nn.GroupNorm(groups, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    found = moments.norm(norm)
    expected = norm.double()(y.double().T[None])[0].T
    torch.testing.assert_close(y.double() * found.scale + found.shift, expected, rtol=1e-4, atol=1e-5)


def test_a_first_layer_that_is_deaf_to_the_mean_is_normed_by_what_varies() -> None:
    """A hundredth of the mean: products of samples, summed in 32 bit, would hide it."""
    conv, norm = nn.Conv1d(1, 16, 10, 5, bias=False), nn.GroupNorm(1, 16)
    with torch.no_grad():
        conv.weight.sub_(conv.weight.mean(2, keepdim=True))
    wav = 1 + 0.01 * torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    first, patches = ClipFirst(conv, norm, nn.Identity(), torch.float32), wav.unfold(0, 10, 5)
    with torch.no_grad():
        found = first.normed(iter(patches.split(700)), wav.device)(patches)
        expected = norm.double()(conv.double()(wav.double()[None, None]))[0].T
    assert float(found.double().std() / expected.std()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=0)
