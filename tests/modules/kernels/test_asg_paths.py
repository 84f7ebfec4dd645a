"""ASG's sums by kernels that scan whole utterances, against those of a processor, by Triton's interpreter."""

import os

import pytest
import torch

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from torch import Tensor

from vqw2v_plugin.modules.acoustic import asg_scan
from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.kernels import asg_paths, devices

LENGTHS, TARGET_LENGTHS = torch.tensor([9, 4, 1, 6]), torch.tensor([4, 4, 1, 2])
TARGETS = torch.tensor([[0, 3, 1, 4], [2, 0, 1, 3], [1, 9, -1, 0], [4, 2, 2, 2]])


def losses(scale: float, asg: ASG, gradients: bool = True) -> list[Tensor]:
    emissions = (scale * torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(1))).requires_grad_(
        gradients
    )
    found = asg(emissions, LENGTHS, TARGETS, TARGET_LENGTHS)
    if not gradients:
        return [found]
    weigh = torch.tensor([1.0, -2.0, 0.5, 3.0])
    return [found, *torch.autograd.grad((found * weigh).sum(), [emissions, asg.transitions])]


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_losses_and_gradients_are_the_processor_s(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    asg = ASG(5)
    torch.nn.init.normal_(asg.transitions)
    expected = losses(scale, asg)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(asg_paths, "_PARTS", 2)
    torch.testing.assert_close(losses(scale, asg), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(losses(scale, asg, False), expected[:1], rtol=1e-6, atol=1e-6)


def test_a_target_that_no_path_says_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asg = ASG(5, zero_infinity=True)
    short = (torch.tensor([9, 3, 1, 1]), TARGETS, TARGET_LENGTHS)
    expected = asg(torch.zeros(4, 9, 5), *short)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    emissions = torch.zeros(4, 9, 5, requires_grad=True)
    found = asg(emissions, *short)
    found.sum().backward()
    torch.testing.assert_close(found, expected)
    assert found[1] == found[3] == 0 and not emissions.grad[1].any() and emissions.grad.isfinite().all()


def test_more_labels_than_a_block_holds_go_torch_s_way(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = losses(1.0, asg := ASG(5))
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(asg_paths, "MOST_LABELS", 4)
    monkeypatch.setattr(asg_paths, "all_paths", None)
    monkeypatch.setattr(asg_paths, "best_path", None)
    assert asg.best_path(torch.eye(5)[None], torch.tensor([5])).labels.tolist() == [[0, 1, 2, 3, 4]]
    torch.testing.assert_close(losses(1.0, asg), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rounded", [False, True], ids=["any", "ties"])
def test_the_best_path_is_the_processor_s(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ties the first, and an utterance without a frame says nothing."""
    drawn, asg = torch.Generator().manual_seed(2), ASG(5)
    torch.nn.init.normal_(asg.transitions, std=2.0, generator=drawn)
    emissions, lengths = 2 * torch.randn(5, 9, 5, generator=drawn), torch.tensor([9, 4, 1, 0, 6])
    if rounded:
        emissions, asg.transitions.data = emissions.round(), asg.transitions.data.round()
    emissions[0, 3, 1:] = -torch.inf
    expected = asg.best_path(emissions, lengths)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr("vqw2v_plugin.modules.acoustic.asg._best_path", None)
    found = asg.best_path(emissions, lengths)
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)


def test_sums_are_the_same_where_nobody_asks_for_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.Generator().manual_seed(3)
    e, g = (torch.randn(*size, generator=drawn, dtype=torch.float64) for size in ((4, 9, 5), (5, 5)))
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(asg_paths, "_PARTS", 2)
    targets = TARGETS.clamp(0, 4)
    for sums in (
        lambda gradients: asg_scan.all_paths(e, g, LENGTHS, gradients),
        lambda gradients: asg_scan.target_paths(e, g, LENGTHS, targets, TARGET_LENGTHS, gradients),
    ):
        without, asked = sums(False), sums(True)
        torch.testing.assert_close(without.score, asked.score)
        assert without.gradients is None and asked.gradients is not None
