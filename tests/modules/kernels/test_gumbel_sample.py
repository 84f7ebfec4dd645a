"""Gumbel's sample in one pass against torch's steps, by Triton's interpreter, with the same noise."""

import os
from collections.abc import Callable

import pytest
import torch

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from torch import Tensor

from vqw2v_plugin.modules.kernels import devices, gumbel_sample
from vqw2v_plugin.modules.quantizers import gumbel
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import GumbelQuantizer


def both_passes(quantizer: GumbelQuantizer, z: Tensor) -> list[Tensor]:
    torch.manual_seed(3)  # both draw as many numbers, in one layout
    found = quantizer(z)
    weigh = torch.linspace(-1, 1, found.x.numel()).view_as(found.x)
    loss = (found.x * weigh).sum() + 3 * found.loss
    told = [found.x, found.loss, found.codes, found.stats.counts, found.stats.prob_perplexity]
    return [*told, *torch.autograd.grad(loss, [z, *quantizer.parameters()])]


@pytest.mark.parametrize("combined", [False, True])
def test_a_sample_is_torch_s(
    combined: bool, tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch
) -> None:
    quantizer = tiny(quantizer="gumbel", vq_vars=7, combine_groups=combined).quantizer.train()
    quantizer.temperature = 0.7
    z = torch.randn(2, 5, 16, requires_grad=True)
    expected = both_passes(quantizer, z)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(gumbel_sample, "_PARTS", 3)
    torch.testing.assert_close(both_passes(quantizer, z), expected, rtol=1e-4, atol=1e-6)


def test_64_bit_goes_torch_s_way(tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = tiny(quantizer="gumbel", vq_vars=7).quantizer.double().train()
    z = torch.randn(2, 5, 16, dtype=torch.float64, requires_grad=True)
    expected = both_passes(quantizer, z)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(gumbel, "sample", None)
    torch.testing.assert_close(both_passes(quantizer, z), expected)
