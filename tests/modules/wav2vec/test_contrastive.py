import math

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.kernels import devices
from vqw2v_plugin.modules.wav2vec.contrastive import (
    Scores,
    StepPredictor,
    _Score,
    contrastive_loss,
    num_correct,
    sample_negatives,
)


def by_hand(head: StepPredictor, c: torch.Tensor, y: torch.Tensor, negatives: torch.Tensor) -> dict:
    """{(b, target frame, step): [positive score, negative scores…]} by loops."""
    flat, found = y.flatten(0, 1), {}
    for b in range(y.size(0)):
        for t in range(y.size(1)):
            for k in range(head.steps):
                source = t - head.offset - k
                if source < 0:
                    continue
                h = head.weight[head.steps - 1 - k] @ c[b, source] + head.bias
                rows = [b * y.size(1) + t, *negatives[b, t].tolist()]
                found[b, t, k] = torch.stack([h @ flat[r] for r in rows])
    return found


@pytest.fixture
def case() -> tuple[StepPredictor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = StepPredictor(5, 4, steps=3, offset=2).double()
    c, y = torch.randn(2, 7, 5, dtype=torch.float64), torch.randn(2, 7, 4, dtype=torch.float64)
    return head, c, y, sample_negatives(2, 7, 3, 2)


def test_scores_are_those_of_a_loop_over_frames_and_steps(case) -> None:
    head, c, y, negatives = case
    out, expected = head(c, y, negatives), by_hand(head, c, y, negatives)
    assert out.num_predictions == len(expected)
    assert int(out.valid.sum()) * 2 == len(expected)
    for (b, t, k), scores in expected.items():
        assert out.valid[t, head.steps - 1 - k]
        torch.testing.assert_close(out.scores[b, t, head.steps - 1 - k], scores)


@pytest.mark.parametrize("balanced", [False, True])
def test_binary_loss_is_torch_s_over_valid_pairs(case, balanced: bool) -> None:
    head, c, y, negatives = case
    expected = 0.0
    for scores in by_hand(head, c, y, negatives).values():
        labels = torch.zeros_like(scores)
        labels[0] = 1
        weight = torch.full_like(scores, 1 / 5 if balanced else 1)
        weight[0] = 1
        expected += torch.nn.functional.binary_cross_entropy_with_logits(
            scores, labels, weight, reduction="sum"
        )
    torch.testing.assert_close(contrastive_loss(head(c, y, negatives), balanced=balanced), expected)


def test_infonce_is_cross_entropy_over_candidates(case) -> None:
    head, c, y, negatives = case
    rows = torch.stack(list(by_hand(head, c, y, negatives).values()))
    expected = torch.nn.functional.cross_entropy(
        rows, torch.zeros(len(rows), dtype=torch.long), reduction="sum"
    )
    torch.testing.assert_close(contrastive_loss(head(c, y, negatives), infonce=True), expected)


def test_gradients_agree_with_finite_differences(case) -> None:
    head, c, y, negatives = case
    c.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda c, y: contrastive_loss(head(c, y, negatives)), (c, y))
    predictions = torch.randn(2, 7, 3, 4, dtype=torch.float64, requires_grad=True)
    rows = torch.cat([torch.arange(14).view(2, 7, 1), negatives], -1)
    assert torch.autograd.gradcheck(lambda p, y: _Score.apply(p, y, rows, 2), (predictions, y))


def test_a_tie_is_not_a_success() -> None:
    collapsed = Scores(torch.zeros(1, 2, 1, 4), torch.ones(2, 1, dtype=torch.bool), 2)
    assert num_correct(collapsed) == 0
    better = torch.tensor([1.0, 0, 0, 0]).expand(1, 2, 1, 4)
    assert num_correct(Scores(better, torch.tensor([[True], [False]]), 1)) == 1


def test_loss_of_equal_scores_is_that_of_chance() -> None:
    scored = Scores(torch.zeros(2, 3, 1, 5), torch.ones(3, 1, dtype=torch.bool), 6)
    assert contrastive_loss(scored).item() == pytest.approx(6 * 5 * math.log(2))
    assert contrastive_loss(scored, infonce=True).item() == pytest.approx(6 * math.log(5))


def test_too_few_frames_for_a_prediction_are_refused() -> None:
    head = StepPredictor(4, 4, steps=2, offset=3)
    with pytest.raises(ValueError, match=r"3 frames .*min_sample_size"):
        head(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), torch.zeros(1, 3, 1, dtype=torch.long))


@pytest.mark.parametrize(("steps", "offset", "word"), [(0, 1, "prediction_steps"), (1, 0, "offset")])
def test_settings_without_a_meaning_are_refused(steps: int, offset: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        StepPredictor(4, 4, steps, offset)


def test_steps_beyond_the_clip_count_as_no_predictions() -> None:
    head = StepPredictor(4, 4, steps=5, offset=2)
    scored = head(torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), torch.zeros(2, 4, 1, dtype=torch.long))
    assert scored.num_predictions == 2 * (2 + 1) == 2 * int(scored.valid.sum())


def test_gradients_of_16_bit_targets_are_summed_in_32() -> None:
    """Of a frame that is a candidate in each of many clips; in bfloat16 sums of ones end at 256."""
    predictions = torch.ones(600, 2, 1, 1, dtype=torch.bfloat16)
    targets = torch.zeros(600, 2, 1, dtype=torch.bfloat16, requires_grad=True)
    rows = torch.zeros(600, 2, 1, dtype=torch.long)
    _Score.apply(predictions, targets, rows, 1).sum().backward()
    assert targets.grad is not None and targets.grad[0, 0].item() == 600


def test_losses_of_16_bit_scores_are_summed_in_32() -> None:
    scores = torch.full((1, 3000, 1, 2), 0.5, dtype=torch.bfloat16)
    scored = Scores(scores, torch.ones(3000, 1, dtype=torch.bool), 3000)
    for infonce in (False, True):
        loss = contrastive_loss(scored, infonce)
        assert loss.dtype == torch.float32
        wide = Scores(scores.float(), scored.valid, 3000)
        torch.testing.assert_close(loss, contrastive_loss(wide, infonce))


def test_the_smallest_batch_with_negatives_from_the_whole_batch_has_two_frames() -> None:
    assert sample_negatives(2, 1, 0, 3).flatten().tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="holds no negative; use larger batches"):
        sample_negatives(1, 1, 0, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_batch_at_once_is_each_utterance_for_itself(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does, in as many calls for any batch."""
    torch.manual_seed(0)
    predictor = StepPredictor(6, 5, 3, 2).to(dtype)
    c, targets = torch.randn(3, 9, 6, dtype=dtype), torch.randn(3, 9, 5, dtype=dtype)
    negatives = sample_negatives(3, 9, 4, 2)

    def both_passes(infonce: bool) -> list[Tensor]:
        given = [c.clone().requires_grad_(), targets.clone().requires_grad_(), *predictor.parameters()]
        loss = contrastive_loss(predictor(given[0], given[1], negatives), infonce)
        return [loss, *torch.autograd.grad(loss, given)]

    for infonce in (True, False):
        alone = both_passes(infonce)
        with monkeypatch.context() as patched:
            patched.setattr(devices, "is_gpu", lambda x: True)
            together = both_passes(infonce)
        bound = {"rtol": 1e-10, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-2, "atol": 2e-1}
        torch.testing.assert_close(together, alone, **bound)


def test_negatives_on_a_gpu_are_any_frames_but_the_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    drawn = sample_negatives(2, 5, 4000)
    for b in range(2):
        for t in range(5):
            counts = torch.bincount(drawn[b, t], minlength=10)
            assert counts[5 * b + t] == 0 and counts[5 * (1 - b) : 5 * (1 - b) + 5].sum() == 0
            assert (counts[5 * b : 5 * b + 5][counts[5 * b : 5 * b + 5] > 0] - 1000).abs().max() < 150


def test_negatives_on_a_gpu_lie_no_farther_than_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    apart = sample_negatives(1, 30, 200, distance=2) - torch.arange(30).view(1, 30, 1)
    assert apart.unique().tolist() == [-2, -1, 1, 2]
