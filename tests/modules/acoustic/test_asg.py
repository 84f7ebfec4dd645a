"""ASG against brute force over all paths, in both of its scans, and what it does at the edges."""

from __future__ import annotations

import itertools

import pytest
import torch
from asg_paths import path_score
from torch import Tensor

from vqw2v_plugin.modules.acoustic import asg_scan
from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.acoustic.losses import make_sequence_loss
from vqw2v_plugin.modules.acoustic.runs import Runs

SCANS = {"products": asg_scan.LARGEST_SPAN, "logs": -1.0}


@pytest.fixture(params=SCANS)
def scan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways to sum over all paths."""
    monkeypatch.setattr(asg_scan, "LARGEST_SPAN", SCANS[request.param])
    return str(request.param)


class Case:
    """A small batch of unlike lengths: V = 4, of which label 3 repeats the one before it."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        torch.manual_seed(0)
        self.emissions = torch.randn(4, 6, 4, dtype=dtype)
        self.lengths = torch.tensor([6, 3, 4, 1])
        self.labels = [[0, 3, 1], [2, 0, 1], [1], [2]]
        self.targets = torch.tensor([[0, 3, 1], [2, 0, 1], [1, 9, -1], [2, 2, 2]])
        self.target_lengths = torch.tensor([3, 3, 1, 1])
        self.asg = ASG(4).to(dtype)
        self.asg.transitions.data.normal_()

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.emissions, self.lengths, self.targets, self.target_lengths


def paths(frames: int, size: int, target: list[int] | None = None) -> list[tuple[int, ...]]:
    """Every path, or those that say the target."""
    found = itertools.product(range(size), repeat=frames)
    return [p for p in found if target is None or [label for label, _ in itertools.groupby(p)] == target]


def by_hand(case: Case, transitions: Tensor) -> Tensor:
    """The losses by a loop over all paths; autograd gives their gradients."""
    losses = []
    for e, frames, target in zip(case.emissions, case.lengths.tolist(), case.labels, strict=True):
        full, own = (
            torch.stack([path_score(e, transitions, p) for p in paths(frames, 4, said)]).logsumexp(0)
            for said in (None, target)
        )
        losses.append(full - own)
    return torch.stack(losses)


def test_losses_and_gradients_are_those_of_all_paths(scan: str) -> None:
    case = Case()
    case.emissions.requires_grad_()
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    leaves = (case.emissions, case.asg.transitions)
    ours, expected = case.asg(*case.arguments), by_hand(case, case.asg.transitions)
    torch.testing.assert_close(ours, expected)
    found = torch.autograd.grad((ours * weights).sum(), leaves)
    exact = torch.autograd.grad((expected * weights).sum(), leaves)
    torch.testing.assert_close(found, exact, rtol=1e-11, atol=1e-12)


def test_gradients_agree_with_finite_differences(scan: str) -> None:
    case = Case()
    case.emissions.requires_grad_()

    def loss(emissions: Tensor, transitions: Tensor) -> Tensor:
        arguments = (emissions, *case.arguments[1:])
        return torch.func.functional_call(case.asg, {"transitions": transitions}, arguments)

    assert torch.autograd.gradcheck(loss, (case.emissions, case.asg.transitions))


def test_a_second_derivative_is_refused() -> None:
    """The first one's numbers are constants to autograd, so it would come out too small."""
    case = Case()
    case.emissions.requires_grad_()
    (first,) = torch.autograd.grad(
        case.asg(*case.arguments).square().sum(), case.emissions, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


def test_each_sum_s_gradients_are_expected_counts(scan: str) -> None:
    case = Case()
    e, g = asg_scan.finite(case.emissions), asg_scan.finite(case.asg.transitions)
    targets = case.targets.clamp(0, 3)
    full = asg_scan.all_paths(e, g, case.lengths, True)
    own = asg_scan.target_paths(e, g, case.lengths, targets, case.target_lengths, True)
    for found in (full, own):
        assert found.gradients is not None
        inside = torch.arange(6) < case.lengths.unsqueeze(1)
        labels, steps = found.gradients
        torch.testing.assert_close(labels.sum(-1), inside.double())  # one label a frame
        torch.testing.assert_close(steps.sum((1, 2)), (case.lengths - 1).double())
    assert (own.score <= full.score).all()
    for gradients in (True, False):  # without gradients only one direction is scanned
        torch.testing.assert_close(asg_scan.all_paths(e, g, case.lengths, gradients).score, full.score)
        said = asg_scan.target_paths(e, g, case.lengths, targets, case.target_lengths, gradients)
        torch.testing.assert_close(said.score, own.score)
        assert (said.gradients is not None) == gradients


def test_where_nobody_learns_no_gradient_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for name in ("all_paths", "target_paths"):
        real = getattr(asg_scan, name)
        monkeypatch.setattr(asg_scan, name, lambda *given, real=real: asked.append(given[-1]) or real(*given))
    loss = ASG(3)
    given = torch.randn(1, 5, 3), torch.tensor([5]), torch.tensor([[0, 1]]), torch.tensor([2])
    learnt = loss(*given)
    with torch.no_grad():
        assert torch.equal(loss(*given), learnt)
    assert asked == [True, True, False, False]


def test_float32_comes_close_and_half_does_not_overflow() -> None:
    exact, single, half = Case(), Case(), Case()
    single.emissions, single.asg = single.emissions.float(), single.asg.float()
    half.emissions = (half.emissions * 1e4).half()
    torch.testing.assert_close(single.asg(*single.arguments), exact.asg(*exact.arguments).float())
    assert half.asg(*half.arguments).dtype == torch.float32
    assert half.asg(*half.arguments).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_transitions_gradient_is_of_their_own_precision_whatever_the_emissions_is(
    dtype: torch.dtype,
) -> None:
    """Rounded to 16 bits it would lose what small updates say."""
    found = []
    for rounded in (True, False):
        case = Case(torch.float32)
        emissions = case.emissions.to(dtype)
        case.emissions = (emissions if rounded else emissions.float()).requires_grad_()
        loss = case.asg(*case.arguments)
        loss.sum().backward()
        found.append((loss.detach(), case.asg.transitions.grad, case.emissions.grad))
    assert torch.equal(found[0][0], found[1][0]) and found[0][2].dtype == dtype
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-7)


def test_padding_changes_nothing(scan: str) -> None:
    case, padded = Case(), Case()
    padded.emissions = torch.full((4, 11, 4), torch.nan, dtype=torch.float64)
    for row, length in enumerate(case.lengths):
        padded.emissions[row, :length] = case.emissions[row, :length]
    padded.targets = torch.nn.functional.pad(case.targets, (0, 4), value=77)
    gradients = []
    for one in (case, padded):
        one.emissions.requires_grad_()
        one.asg(*one.arguments).sum().backward()
        assert one.emissions.grad is not None
        gradients.append((one.emissions.grad, one.asg.transitions.grad))
    torch.testing.assert_close(case.asg(*case.arguments), padded.asg(*padded.arguments))
    torch.testing.assert_close(gradients[0][1], gradients[1][1])
    torch.testing.assert_close(gradients[1][0][:, :6], gradients[0][0])
    assert not gradients[1][0][padded.emissions.isnan()].any()
    ours, theirs = (one.asg.align(*one.arguments) for one in (case, padded))
    assert torch.equal(theirs.labels[:, :6], ours.labels) and (theirs.labels[:, 6:] == -1).all()


def test_batched_equals_alone(scan: str) -> None:
    case = Case()
    together = case.asg(*case.arguments)
    for row, length in enumerate(case.lengths):
        alone = case.asg(*(x[row : row + 1] for x in (case.emissions[:, :length], *case.arguments[1:])))
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("scale", [1e4, 1e6, torch.inf])
def test_extreme_scores_stay_finite(scale: float) -> None:
    case = Case()
    signs = torch.where(case.emissions > 0, 1.0, -1.0)
    case.emissions = (
        signs * 1e4 if scale < torch.inf else case.emissions.where(signs > 0, -torch.inf)
    ).double()
    case.asg.transitions.data *= min(scale, 1e6)
    case.emissions.requires_grad_()
    loss = case.asg(*case.arguments)
    loss.sum().backward()
    assert loss.isfinite().all() and (loss > -1e-6).all()
    assert case.emissions.grad.isfinite().all() and case.asg.transitions.grad.isfinite().all()
    if scale < torch.inf:
        torch.testing.assert_close(loss, by_hand(case, case.asg.transitions))


def test_where_one_scan_ends_the_other_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just inside the span that products may have, both scans give the same sums and gradients."""
    torch.manual_seed(1)
    e = torch.randn(3, 50, 7, dtype=torch.float64)
    g = torch.randn(7, 7, dtype=torch.float64)
    e *= 300 / (e.max() - e.min())
    g *= 149 / (g.max() - g.min())
    lengths = torch.tensor([50, 31, 2])
    by_products = asg_scan.all_paths(e, g, lengths, True)
    monkeypatch.setattr(asg_scan, "LARGEST_SPAN", -1.0)
    by_logs = asg_scan.all_paths(e, g, lengths, True)
    torch.testing.assert_close(vars(by_products), vars(by_logs), rtol=1e-9, atol=1e-12)


def test_scores_too_far_apart_for_products_are_summed_as_logarithms() -> None:
    """The likeliest labels cannot follow each other: each path costs more than a float64's least is."""
    e = torch.tensor([[[0.0, -1000.0], [-800.0, 0.0]]], dtype=torch.float64)
    g = torch.tensor([[0.0, -900.0], [-900.0, 0.0]], dtype=torch.float64)
    found = asg_scan.all_paths(e, g, torch.tensor([2]), True)
    assert found.score.tolist() == [-800.0] and found.gradients is not None
    torch.testing.assert_close(found.gradients[0], torch.tensor([[[1.0, 0.0]] * 2], dtype=torch.float64))


def test_a_loss_is_made_by_its_name_with_its_blank() -> None:
    assert make_sequence_loss("ctc", 5, 3).blank == 3 and make_sequence_loss("ctc", 5).blank == 0
    assert make_sequence_loss("asg", 5).transitions.shape == (5, 5)
    assert isinstance(make_sequence_loss("wav2vec_u", 5), Runs)
    with pytest.raises(ValueError, match="`loss` is 'ct'; expected one of ctc, asg"):
        make_sequence_loss("ct", 5)


def test_the_best_path_and_the_best_alignment_are_those_of_all_paths() -> None:
    case = Case()
    best, aligned = case.asg.best_path(*case.arguments[:2]), case.asg.align(*case.arguments)
    for row, (frames, target) in enumerate(zip(case.lengths.tolist(), case.labels, strict=True)):
        for found, said in ((best, None), (aligned, target)):
            scores = {
                p: path_score(case.emissions[row], case.asg.transitions, p) for p in paths(frames, 4, said)
            }
            expected = max(scores, key=scores.__getitem__)
            assert found.labels[row].tolist() == [*expected, *[-1] * (6 - frames)]
            torch.testing.assert_close(found.scores[row], scores[expected].detach())
    assert aligned.sequences() == case.labels
    assert aligned.positions[1].tolist() == [0, 1, 2, -1, -1, -1]


def test_what_no_path_says_is_named_or_counts_for_nothing() -> None:
    case = Case()
    case.target_lengths = torch.tensor([3, 3, 1, 2])
    case.targets[3] = torch.tensor([2, 1, 2])
    with pytest.raises(ValueError, match="utterance 3 of the batch has 1 frames, but its labels need 2"):
        case.asg(*case.arguments)
    case.target_lengths[2] = 0
    with pytest.raises(ValueError, match=r"utterance 2 of the batch has no labels.*silence symbol"):
        case.asg(*case.arguments)
    case.asg.zero_infinity = True
    case.emissions.requires_grad_()
    loss = case.asg(*case.arguments)
    loss.sum().backward()
    assert (loss == 0).tolist() == [False, False, True, True]
    assert case.emissions.grad.isfinite().all() and not case.emissions.grad[2:].any()
    aligned = case.asg.align(*case.arguments)
    assert (aligned.labels[2:] == -1).all() and (aligned.scores[2:] == -torch.inf).all()
    empty = torch.zeros(4, 0, dtype=torch.long)
    assert not case.asg(case.emissions, case.lengths, empty, torch.zeros(4, dtype=torch.long)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.tensor([[1, 1]] * 4)}, "label 1 twice in a row.*pack_repeats"),
        ({"targets": torch.tensor([[0, 4]] * 4)}, "`targets` hold the label 4; expected 0 to 3"),
        ({"targets": torch.tensor([[0, -1]] * 4)}, "`targets` hold the label -1; expected 0 to 3"),
        ({"targets": torch.zeros(3, 2)}, r"`targets` are \[3, 2\]; expected \[4, labels\]"),
        ({"targets": torch.zeros(4)}, r"`targets` are \[4\]; expected \[4, labels\]"),
        ({"target_lengths": torch.tensor([4, 1, 1, 1])}, "`target_lengths` hold 4; expected 0 to 3 labels"),
        ({"target_lengths": torch.tensor([-1, 1, 1, 1])}, "`target_lengths` hold -1; expected 0 to 3 labels"),
        ({"lengths": torch.tensor([7, 1, 1, 1])}, "`emission_lengths` hold 7; expected 0 to 6 frames"),
        ({"lengths": torch.tensor([6])}, r"`emission_lengths` are \[1\]; expected one a batch row, \[4\]"),
        ({"emissions": torch.zeros(4, 6, 5)}, "`emissions` have 5 labels; expected 4"),
        ({"emissions": torch.zeros(4, 0, 4)}, r"`emissions` are \[4, 0, 4\]; expected \[batch, frames"),
        ({"emissions": torch.zeros(4, 6)}, r"`emissions` are \[4, 6\]; expected \[batch, frames, labels\]"),
    ],
)
def test_wrong_batches_are_named(change: dict[str, Tensor], message: str) -> None:
    case = Case()
    if "targets" in change:
        case.target_lengths = torch.full((4,), 2)
    for name, value in change.items():
        setattr(case, name, value)
    with pytest.raises(ValueError, match=message):
        case.asg(*case.arguments)


def test_it_learns_to_say_its_target() -> None:
    torch.manual_seed(0)
    asg = ASG(5)
    emissions = torch.zeros(1, 12, 5, requires_grad=True)
    batch = (torch.tensor([12]), torch.tensor([[3, 1, 4, 1]]), torch.tensor([4]))
    optimizer = torch.optim.SGD([emissions, asg.transitions], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        asg(emissions, *batch).sum().backward()
        optimizer.step()
    assert asg.best_path(emissions, batch[0]).sequences() == [[3, 1, 4, 1]]


def test_the_number_of_threads_is_put_back_behind_an_error_too() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyboardInterrupt), asg_scan.threads_for(torch.zeros(1, 2, 3)):
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    case, before = Case(), torch.get_num_threads()
    seen: list[int] = []
    scan = asg_scan.all_paths
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(
            asg_scan, "all_paths", lambda *a: (seen.append(torch.get_num_threads()), scan(*a))[1]
        )
        case.asg(*case.arguments)
        assert (seen, torch.get_num_threads()) == ([1], 2)
        for worth in (4 * 4 * 4, 4 * 4 * 4 - 1):  # a step's products: utterances by labels by labels
            monkeypatch.setattr(asg_scan, "WORTH_THREADS", worth)
            case.asg(*case.arguments)
        assert (seen, torch.get_num_threads()) == ([1, 1, 2], 2)
    finally:
        torch.set_num_threads(before)


def test_an_utterance_without_frames_has_a_best_path_of_nothing() -> None:
    best = ASG(3).best_path(torch.ones(2, 4, 3), torch.tensor([0, 4]))
    assert best.scores.tolist() == [0.0, 4.0] and best.labels[0].tolist() == [-1] * 4
    assert best.sequences()[0] == []
