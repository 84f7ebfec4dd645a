"""Quantizers in other precisions: 16 bit decides nothing, and 64 bit is given all of its digits."""

import pytest
import torch

from vqw2v_plugin.quantizers import (
    FsqConfig,
    FsqQuantizer,
    Quantizer,
    build_quantizer,
    perplexity,
    quantizer_names,
)

OPTIONS = {"vq_vars": 60, "vq_groups": 2, "max_update": 9, "vq_gamma": 0.25}


def make(name: str, dtype: torch.dtype) -> Quantizer:
    torch.manual_seed(0)
    return build_quantizer(name, 12, OPTIONS).to(dtype)


@pytest.mark.parametrize("name", quantizer_names())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("train", [False, True])
def test_vectors_come_in_the_precision_of_z(name: str, dtype: torch.dtype, train: bool) -> None:
    quantizer, z = make(name, dtype).train(train), torch.randn(2, 50, 12, dtype=dtype)
    out = quantizer(z)
    assert out.x.dtype == dtype and out.codes.dtype == torch.int64
    if quantizer.num_groups and not train:
        assert torch.equal(quantizer.decode(quantizer.encode(z)), out.x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_kmeans_of_any_precision_finds_the_nearest_entry(dtype: torch.dtype) -> None:
    quantizer, frames = make("kmeans", dtype), torch.randn(1, 300, 12, dtype=dtype)
    with torch.no_grad():
        quantizer.codebook.entries.normal_()
        if dtype == torch.float64:  # fp32 cannot tell these apart
            quantizer.codebook.entries[:, 1:] = quantizer.codebook.entries[:, :1] + 1e-9 * torch.randn(
                2, 59, 6
            )
    exact, entries = frames.double().view(300, 2, 6), quantizer.codebook.entries.double()
    for group, codes in enumerate(quantizer.nearest(frames)[0].T):
        apart = (exact[:, group, None] - entries[group]).square().sum(-1)
        taken = apart.gather(1, codes[:, None])[:, 0]
        slack = {torch.bfloat16: 1e-5, torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
        assert (taken <= apart.min(1).values + slack).all()


def test_under_autocast_the_nearest_entry_is_sought_in_fp32() -> None:
    quantizer, frames = make("kmeans", torch.float32), torch.randn(1, 300, 12)
    torch.nn.init.normal_(quantizer.codebook.entries)
    expected = quantizer.nearest(frames)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.nearest(frames), expected)


def test_kmeans_losses_of_16_bit_are_means_in_32() -> None:
    quantizer, z = make("kmeans", torch.bfloat16), torch.randn(4, 500, 12).bfloat16()
    out = quantizer(z)
    apart = quantizer.project(z).double() - quantizer.decode(out.codes).double()
    assert out.loss.dtype == torch.float32
    assert out.loss.item() == pytest.approx(1.25 * apart.square().mean().item(), rel=1e-5)


def test_fsq_bounds_and_rounds_16_bit_numbers_in_32() -> None:
    quantizer = FsqQuantizer(12, FsqConfig(vq_vars=225, vq_groups=2, levels=[15, 15]))
    quantizer, z = quantizer.bfloat16(), torch.randn(1, 4000, 12).bfloat16() * 3
    numbers = quantizer.squeeze(z).double().view(4000, 2, 2)
    points = (torch.tanh(numbers) * 7 * (1 - 1e-3)).round().long() + 7  # odd levels: no shift
    assert torch.equal(quantizer.encode(z)[0], points[..., 0] + 15 * points[..., 1])


def test_fsq_keeps_the_digits_of_64_bit() -> None:
    quantizer, z = make("fsq", torch.float64), torch.randn(1, 1, 12, dtype=torch.float64)
    assert torch.autograd.gradcheck(quantizer._bounded, z.requires_grad_())


def test_gumbel_samples_16_bit_logits_in_32() -> None:
    """Noise of 8 bits has some hundred values, and equal sums would take the first code."""
    quantizer = make("gumbel", torch.bfloat16).train()
    logits = torch.zeros(1, 20_000, 2, 60, dtype=torch.bfloat16)
    with torch.no_grad():
        quantizer.codebook.entries.copy_(torch.arange(60.0)[None, :, None].expand(2, 60, 6))
        drawn = quantizer._sample(logits)[..., 0].float()
    shares = torch.bincount(drawn.flatten().long(), minlength=60) / 20_000
    assert shares[0].item() == pytest.approx(1 / 60, abs=4e-3)


def test_perplexities_of_16_bit_shares_are_those_of_32() -> None:
    probs = torch.randn(2, 300, generator=torch.Generator().manual_seed(0)).softmax(-1).bfloat16()
    torch.testing.assert_close(perplexity(probs), perplexity(probs.float()))


def test_gumbel_s_mean_probabilities_of_16_bit_logits_are_those_of_32() -> None:
    """Of 60 codes that are all alike none has a share that 16 bit could say exactly."""
    quantizer = make("gumbel", torch.bfloat16).train()
    z = torch.randn(4, 300, 12, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.no_grad():
        logits = quantizer.logits(z)
        shares = logits.double().softmax(-1).flatten(0, 1).mean(0)
        expected = (-(shares * shares.log()).sum(-1)).exp()
    torch.testing.assert_close(quantizer(z).stats.prob_perplexity.double(), expected, rtol=1e-4, atol=0)
