"""Finite scalar quantization: what is its own; the contract of all is tested for it too."""

import math

import pytest
import torch

from vqw2v_plugin.modules.quantizers.fsq import FsqConfig, FsqQuantizer, choose_levels
from vqw2v_plugin.quantizers import build_quantizer


def make(**options: object) -> FsqQuantizer:
    torch.manual_seed(0)
    return FsqQuantizer(12, FsqConfig(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("codes", "levels"),
    [
        (320, [8, 8, 5]),
        (240, [8, 6, 5]),
        (1000, [8, 5, 5, 5]),
        (16, [4, 4]),
        (8, [8]),
        (96, [12, 8]),
        (3, [3]),
        (39, [13, 3]),
        (195, [15, 13]),
    ],
)
def test_levels_lie_near_those_of_the_paper(codes: int, levels: list[int]) -> None:
    assert choose_levels(codes) == levels


def test_a_number_of_codes_without_such_factors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`vq_vars` \(34\) is no product"):
        make(vq_vars=34)
    with pytest.raises(ValueError, match=r"`vq_vars` \(17\) is no product of numbers from 3 to 16"):
        make(vq_vars=17)  # a level of more than 16 must be asked for
    assert make(vq_vars=34, levels=[34]).num_codes == 34


@pytest.mark.parametrize("levels", [[8, 8, 5], [5, 4, 4, 4], [320], [3, 3]])
def test_each_code_is_one_point_and_each_point_one_code(levels: list[int]) -> None:
    codes = math.prod(levels)
    quantizer = make(vq_vars=codes, vq_groups=1, levels=levels)
    quantizer.expand.data = torch.eye(len(levels), 12)[None]
    every = torch.arange(codes).view(1, -1, 1)
    points = quantizer.decode(every)[0, :, : len(levels)]  # [V, L]
    assert len(points.unique(dim=0)) == codes
    assert points.abs().max() <= 1
    grid = (points * (torch.tensor(levels) // 2)).round()[None, :, None]
    assert torch.equal(quantizer._codes(grid), every)


@pytest.mark.parametrize("level", [3, 4, 5, 8, 15, 16, 34])
def test_every_level_can_be_reached_and_none_beyond(level: int) -> None:
    quantizer = make(vq_vars=level, vq_groups=1, levels=[level])
    with torch.no_grad():
        quantizer.squeeze.weight.copy_(torch.eye(1, 12))
        quantizer.squeeze.bias.zero_()
    z = torch.zeros(1, 4001, 12)
    z[0, :, 0] = torch.linspace(-20, 20, 4001)
    codes = quantizer.encode(z).flatten()
    assert codes.unique().tolist() == list(range(level))
    assert (codes.diff() >= 0).all()
    assert quantizer.encode(torch.zeros(1, 1, 12)).item() == level // 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ('{"levels": [8, 8]}', "make 64 codes, `vq_vars` is 320"),
        ('{"levels": [160, 2]}', "whole numbers from 3 up"),
        ('{"levels": [8, 8, 5.0]}', "whole numbers from 3 up"),
        ('{"level": [8, 8, 5]}', "did you mean 'levels'"),
    ],
)
def test_levels_that_do_not_fit_are_refused_by_name(args: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_quantizer("fsq", 512, {"vq_vars": 320, "vq_groups": 2}, args)


def test_its_gradient_passes_the_rounding_unchanged() -> None:
    quantizer, z = make(vq_vars=64, vq_groups=2), torch.randn(1, 3, 12, requires_grad=True)
    numbers = quantizer._bounded(z)
    (wanted,) = torch.autograd.grad(
        (numbers / (quantizer.levels // 2)).transpose(1, 2).matmul(quantizer.expand).sum(), z
    )
    (got,) = torch.autograd.grad(quantizer(z).x.sum(), z)
    torch.testing.assert_close(got, wanted)


def test_vectors_begin_as_wide_to_either_side() -> None:
    expand = make(vq_vars=64, vq_groups=2, vq_dim=512).expand
    assert expand.min() < -0.95 and expand.max() > 0.95 and abs(expand.mean().item()) < 0.1


def test_numbers_of_16_bit_are_bounded_in_32() -> None:
    """Next to where it rounds up and down, bfloat16 cannot tell a number from its neighbour."""
    quantizer, z = make(vq_vars=64, vq_groups=2).bfloat16(), torch.randn(1, 3, 12).bfloat16()
    assert quantizer._bounded(z).dtype == torch.float32 and quantizer(z).x.dtype == torch.bfloat16


@pytest.mark.parametrize("combine", [True, False])
def test_groups_share_their_vectors_where_that_is_asked_for(combine: bool) -> None:
    quantizer = make(vq_vars=64, vq_groups=2, combine_groups=combine)
    one, other = quantizer.decode(torch.arange(64).view(1, -1, 1).expand(1, 64, 2)).chunk(2, -1)
    assert torch.equal(one, other) == combine


def test_a_lone_code_is_no_grid() -> None:
    with pytest.raises(ValueError, match=r"`vq_vars` \(1\) is no product of numbers from 3 to 16"):
        choose_levels(1)
