"""Signs of learning: sums over an update's batches and over the last updates; what varies of a state."""

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.kernels import devices
from vqw2v_plugin.modules.quantizers.signs import LearningSigns, packed_power

STILL = torch.ones(1, 4, 2)
MOVES = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 4, 1).expand(1, 4, 2)


def add(signs: LearningSigns, correct: int, made: int, z: Tensor = STILL, c: Tensor = STILL) -> None:
    signs.add(torch.tensor(correct), made, z, c)


def test_batches_of_one_update_count_together() -> None:
    signs = LearningSigns()
    add(signs, 1, 10)
    add(signs, 5, 10, MOVES)
    signs.end_update()
    assert signs.shares() == pytest.approx((6 / 20, 0.5, 0.0))


def test_an_update_counts_98_of_100_one_later() -> None:
    signs = LearningSigns()
    add(signs, 10, 10, MOVES)
    signs.end_update()
    for _ in range(2):
        add(signs, 0, 10)
        signs.end_update()
    kept = 0.98**2
    expected = kept / (kept + 0.98 + 1)
    assert signs.shares() == pytest.approx((expected, expected, 0.0))


def test_an_update_that_ends_without_a_batch_changes_nothing() -> None:
    signs = LearningSigns()
    signs.end_update()
    assert signs.shares() is None
    add(signs, 1, 2, c=MOVES)
    signs.end_update()
    before = signs.shares()
    signs.end_update()
    assert signs.shares() == before == pytest.approx((0.5, 0.0, 1.0))


def test_what_differs_from_clip_to_clip_alone_does_not_vary_over_time() -> None:
    signs = LearningSigns()
    add(signs, 0, 1, torch.cat([STILL, -3 * STILL]), torch.cat([STILL, MOVES]))
    signs.end_update()
    assert signs.shares() == pytest.approx((0.0, 0.0, 0.5))


def test_states_of_16_bit_are_summed_in_32() -> None:
    x = (1 + 0.01 * torch.randn(1, 4000, 8, generator=torch.Generator().manual_seed(1))).bfloat16()
    signs, expected = LearningSigns(), LearningSigns()
    add(signs, 0, 1, x, x)
    add(expected, 0, 1, x.float(), x.float())
    for each in (signs, expected):
        each.end_update()
    assert signs.shares() == pytest.approx(expected.shares(), rel=1e-6)


def test_of_utterances_of_any_lengths_each_frame_counts_once() -> None:
    """What varies is what differs from the mean of its own utterance."""
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) + torch.arange(5.0)
    parts = x.double().split([3, 30, 7])
    varies = sum(float((part - part.mean(0)).square().sum()) for part in parts) / x.numel()
    found = [float(each) for each in packed_power(x, [3, 30, 0, 7])]
    assert found == pytest.approx([varies, float(x.double().square().mean())], rel=1e-5)


def test_what_varies_is_the_same_in_few_calls_as_a_gpu_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, found = torch.Generator().manual_seed(2), []
    z, c = 1 + torch.randn(2, 30, 4, generator=drawn), torch.randn(2, 30, 6, generator=drawn) - 2
    for on_gpu in (False, True):
        monkeypatch.setattr(devices, "is_gpu", lambda x, on_gpu=on_gpu: on_gpu)
        signs = LearningSigns()
        add(signs, 3, 7, z, c)
        add(signs, 2, 7, c, z)
        add(signs, 1, 7, z, c)
        signs.end_update()
        found.append(signs.shares())
    assert found[0][0] == pytest.approx(6 / 21) and found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_discarded_update_is_forgotten() -> None:
    signs = LearningSigns()
    add(signs, 10, 10, MOVES)
    signs.discard()
    add(signs, 1, 4)
    signs.end_update()
    assert signs.shares() == pytest.approx((0.25, 0.0, 0.0))


def test_of_nothing_nothing_is_right_and_nothing_varies() -> None:
    signs = LearningSigns()
    add(signs, 0, 0, 0 * STILL, 0 * STILL)
    signs.end_update()
    assert signs.shares() == (0.0, 0.0, 0.0)
