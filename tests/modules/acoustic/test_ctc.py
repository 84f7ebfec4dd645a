"""CTC against torch's, its peers' published numbers and all paths, and what it does at the edges."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.acoustic.ctc import CTC


@pytest.fixture(scope="module")
def peers() -> Path:
    """Numbers that other CTC implementations publish with their tests."""
    folder = Path(os.environ.get("VQW2V_DATA", "nowhere")).parent / "golden" / "peer_vectors"
    if not folder.is_dir():
        pytest.skip("no peers' vectors beside VQW2V_DATA")
    return folder


@pytest.fixture(scope="module")
def vectors(peers: Path) -> dict[str, Any]:
    return json.loads((peers / "vectors.json").read_text(encoding="utf-8"))


class Case:
    """A small batch of unlike lengths, one target empty; blank 0, V = 3."""

    def __init__(self, blank: int = 0) -> None:
        torch.manual_seed(0)
        a, b = [label for label in range(3) if label != blank]
        self.emissions = torch.randn(4, 5, 3, dtype=torch.float64)
        self.lengths = torch.tensor([5, 3, 4, 1])
        self.labels = [[a, b, a], [a, a], [], [b]]
        self.targets = torch.tensor([[a, b, a], [a, a, 9], [blank, -1, 9], [b, b, b]])
        self.target_lengths = torch.tensor([3, 2, 0, 1])
        self.ctc = CTC(blank)

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.emissions, self.lengths, self.targets, self.target_lengths


def path_scores(
    emissions: Tensor, frames: int, target: list[int], blank: int
) -> dict[tuple[int, ...], Tensor]:
    """Every path that says the target, and its log probability."""
    log_probs = emissions.log_softmax(-1)
    scores = {}
    for path in itertools.product(range(emissions.size(1)), repeat=frames):
        if [label for label, _ in itertools.groupby(path) if label != blank] == target:
            scores[path] = log_probs[range(frames), path].sum()
    return scores


def alone(ctc: CTC, emissions: Tensor, target: list[int]) -> Tensor:
    """The loss of one utterance [T, V]."""
    targets = torch.tensor([target], dtype=torch.long).view(1, -1)
    return ctc(emissions[None], torch.tensor([len(emissions)]), targets, torch.tensor([len(target)]))[0]


@pytest.mark.parametrize("blank", [0, 2])
def test_losses_and_alignments_are_those_of_all_paths(blank: int) -> None:
    case = Case(blank)
    losses, aligned = case.ctc(*case.arguments), case.ctc.align(*case.arguments)
    for row, (frames, target) in enumerate(zip(case.lengths.tolist(), case.labels, strict=True)):
        scores = path_scores(case.emissions[row], frames, target, blank)
        torch.testing.assert_close(losses[row], -torch.stack(list(scores.values())).logsumexp(0))
        best = max(scores, key=scores.__getitem__)
        assert aligned.labels[row].tolist() == [*best, *[-1] * (5 - frames)]
        torch.testing.assert_close(aligned.scores[row], scores[best])
        assert (
            (aligned.positions[row] == -1) == (aligned.labels[row] == blank) | (aligned.labels[row] == -1)
        ).all()
    assert aligned.sequences() == case.labels
    assert aligned.positions.max(1).values.tolist() == [2, 1, -1, 0]


def test_a_long_alignment_s_score_is_summed_in_double() -> None:
    """In fp32 an hour of frames would differ by more than two labels do."""
    torch.manual_seed(0)
    emissions, targets = torch.randn(1, 2_000, 3), torch.tensor([[1, 2, 1]])
    found = CTC().align(emissions, torch.tensor([2_000]), targets, torch.tensor([3]))
    log_probs = emissions[0].log_softmax(-1).double()
    said = log_probs.gather(1, found.labels[0][:, None]).sum()
    torch.testing.assert_close(found.scores[0].double(), said, rtol=1e-12, atol=0)


def test_it_is_torch_s_loss_with_its_gradients() -> None:
    case = Case()
    found, expected = case.emissions.clone().requires_grad_(), case.emissions.clone().requires_grad_()
    losses = case.ctc(found, *case.arguments[1:])
    log_probs = expected.log_softmax(-1).transpose(0, 1)
    theirs = F.ctc_loss(
        log_probs, case.targets.clamp(0, 2), case.lengths, case.target_lengths, reduction="none"
    )
    torch.testing.assert_close(losses, theirs)
    losses.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)


def test_gradients_agree_with_finite_differences() -> None:
    case = Case()
    case.emissions.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: case.ctc(e, *case.arguments[1:]), (case.emissions,))


def test_padding_changes_nothing() -> None:
    case, padded = Case(), Case()
    padded.emissions = torch.full((4, 9, 3), torch.nan, dtype=torch.float64)
    for row, length in enumerate(case.lengths):
        padded.emissions[row, :length] = case.emissions[row, :length]
    padded.targets = F.pad(case.targets, (0, 3), value=77)
    for one in (case, padded):
        one.emissions.requires_grad_()
        one.losses = one.ctc(*one.arguments)
        one.losses.sum().backward()
    torch.testing.assert_close(padded.losses, case.losses)
    torch.testing.assert_close(padded.emissions.grad[:, :5], case.emissions.grad)
    assert not padded.emissions.grad[:, 5:].any()
    for name in ("align", "best_path"):
        count = 4 if name == "align" else 2
        ours, theirs = (getattr(one.ctc, name)(*one.arguments[:count]) for one in (case, padded))
        assert torch.equal(theirs.labels[:, :5], ours.labels) and (theirs.labels[:, 5:] == -1).all()
        assert torch.equal(theirs.positions[:, :5], ours.positions)
        torch.testing.assert_close(theirs.scores, ours.scores)


def test_what_no_path_says_is_named_or_counts_for_nothing() -> None:
    case = Case()
    case.lengths = torch.tensor([5, 2, 4, 1])  # the second's two equal labels need a blank between them
    with pytest.raises(
        ValueError, match=r"utterance 1 of the batch has 2 frames, but its labels need 3.*zero_infinity"
    ):
        case.ctc(*case.arguments)
    case.ctc.zero_infinity = True
    case.emissions.requires_grad_()
    losses = case.ctc(*case.arguments)
    losses.sum().backward()
    assert (losses == 0).tolist() == [False, True, False, False]
    assert case.emissions.grad.isfinite().all() and not case.emissions.grad[1].any()
    aligned = case.ctc.align(*case.arguments)
    assert (aligned.labels[1] == -1).all() and aligned.scores[1] == -torch.inf


def test_an_empty_target_is_said_by_blanks() -> None:
    emissions = torch.randn(2, 4, 3)
    empty, none = torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, dtype=torch.long)
    losses = CTC()(emissions, torch.tensor([4, 2]), empty, none)
    by_hand = -emissions.log_softmax(-1)[..., 0]
    torch.testing.assert_close(losses, torch.stack([by_hand[0].sum(), by_hand[1, :2].sum()]))
    assert CTC().align(emissions, torch.tensor([4, 2]), empty, none).labels.tolist() == [
        [0] * 4,
        [0, 0, -1, -1],
    ]


def test_no_frames_say_nothing_at_no_cost() -> None:
    case = Case()
    case.lengths[2] = 0
    assert case.ctc(*case.arguments)[2] == 0
    assert case.ctc.align(*case.arguments).labels[2].tolist() == [-1] * 5


def test_the_blank_may_not_be_a_label() -> None:
    case = Case()
    case.targets[1, 1] = 0
    with pytest.raises(ValueError, match=r"utterance 1 of the batch has the blank \(0\) among its labels"):
        case.ctc(*case.arguments)
    with pytest.raises(ValueError, match="`blank` is 3; expected 0 to 2"):
        CTC(3)(*Case().arguments)


@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_extreme_scores_stay_finite(scale: float) -> None:
    case = Case()
    case.emissions = (case.emissions.sign() * scale).float().requires_grad_()
    losses = case.ctc(*case.arguments)
    losses.sum().backward()
    assert losses.isfinite().all() and case.emissions.grad.isfinite().all()


def test_half_precision_sums_in_single() -> None:
    case = Case()
    assert case.ctc(case.emissions.half(), *case.arguments[1:]).dtype == torch.float32


def test_graves_losses_and_gradients(vectors: dict[str, Any]) -> None:
    graves = vectors["ctc_graves"]
    ctc = CTC(graves["blank"])
    for case in graves["cases"]:
        emissions = torch.tensor(case["probs"], dtype=torch.float64).log().requires_grad_()
        loss = alone(ctc, emissions, case["labels"])
        loss.backward()
        assert loss.item() == pytest.approx(case["loss"], abs=1e-4)
        torch.testing.assert_close(emissions.grad, torch.tensor(case["grad"]).double(), atol=1e-4, rtol=0)


def test_warp_ctc_s_and_ctcdecoder_s_small_cases(vectors: dict[str, Any]) -> None:
    first, second = vectors["ctc_small"]["cases"]
    emissions = torch.tensor(first["activations"])
    expected = emissions.softmax(-1)[0, 1] * emissions.softmax(-1)[1, 2]
    torch.testing.assert_close(alone(CTC(first["blank"]), emissions, first["labels"]), -expected.log())
    emissions = torch.tensor(second["probs"]).log()
    loss = alone(CTC(second["blank"]), emissions, second["labels"])
    assert (-loss).exp().item() == pytest.approx(second["prob"])
    assert CTC(second["blank"]).best_path(emissions[None], torch.tensor([2])).sequences() == [[]]


def test_the_only_alignment_is_found(vectors: dict[str, Any]) -> None:
    cases = vectors["ctc_min_alignment"]
    ctc = CTC(cases["blank"])
    for labels, path in zip(cases["labels"], cases["only_alignment_at_minimal_T"], strict=True):
        emissions = torch.randn(1, len(path), 5)
        expected = -emissions[0].log_softmax(-1)[range(len(path)), path].sum()
        torch.testing.assert_close(alone(ctc, emissions[0], labels), expected)
        arguments = (torch.tensor([len(path)]), torch.tensor([labels]), torch.tensor([len(labels)]))
        found = ctc.align(emissions, *arguments)
        assert found.labels.tolist() == [path]
        assert found.scores.item() == pytest.approx(-expected.item(), abs=1e-5)


def test_parlance_s_best_paths(vectors: dict[str, Any]) -> None:
    case = vectors["ctc_beam_parlance"]
    emissions = torch.tensor([case["probs_seq1"], case["probs_seq2"]]).log()
    found = CTC(case["blank"]).best_path(emissions, torch.tensor([6, 6])).sequences()
    assert ["".join(case["vocab"][label] for label in row) for row in found] == case["greedy"]


def test_ctcdecoder_s_handwritten_lines(peers: Path, vectors: dict[str, Any]) -> None:
    case = vectors["ctc_real_matrices"]
    chars = case["chars"]
    emissions = {}
    for name in ("line", "word"):
        rows = (peers / f"ctcdecoder_{name}" / "rnnOutput.csv").read_text().split()
        emissions[name] = torch.tensor([[float(x) for x in row.split(";") if x] for row in rows])
    ctc = CTC(len(chars))
    truth = [chars.index(c) for c in case["line_gt"]]
    assert alone(ctc, emissions["line"], truth).item() == pytest.approx(case["line_gt_loss"], abs=1e-3)
    best = ctc.best_path(emissions["line"][None], torch.tensor([len(emissions["line"])])).sequences()[0]
    assert "".join(chars[i] for i in best) == case["line_best_path"]
    if emissions["word"].size(1) == len(chars) + 1:
        best = ctc.best_path(emissions["word"][None], torch.tensor([len(emissions["word"])])).sequences()[0]
        assert "".join(chars[i] for i in best) == case["word_best_path"]
