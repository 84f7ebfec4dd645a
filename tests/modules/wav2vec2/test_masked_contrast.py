"""Scores of masked frames: cosines by one product, candidates that are the target itself, what is right."""

import pytest
import torch

from vqw2v_plugin.modules.wav2vec2.contrastive import contrastive_loss, names_of, num_correct, similarities


def case(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    torch.manual_seed(0)
    counts = [6, 4]
    distractors = torch.cat([torch.randint(6, (6, 8)), 6 + torch.randint(4, (4, 8))])
    return torch.randn(10, 5, dtype=dtype), torch.randn(10, 5, dtype=dtype), distractors, counts


def test_scores_are_cosines_of_each_candidate_by_itself() -> None:
    predictions, targets, distractors, counts = case()
    names = torch.arange(10)
    scores = similarities(predictions, targets, names, distractors, counts, 0.1)
    for i in range(10):
        candidates = targets[torch.cat([torch.tensor([i]), distractors[i]])]
        wanted = torch.cosine_similarity(predictions[i], candidates, dim=-1) / 0.1
        same = torch.cat([torch.tensor([False]), distractors[i] == i])
        torch.testing.assert_close(scores[i], wanted.masked_fill(same, -torch.inf))


def test_scores_are_of_full_precision_whatever_they_are_made_of() -> None:
    predictions, targets, distractors, counts = case(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        scores = similarities(predictions, targets, torch.arange(10), distractors, counts, 0.1)
    wide = similarities(predictions.float(), targets.float(), torch.arange(10), distractors, counts, 0.1)
    assert scores.dtype == torch.float32 and torch.equal(scores, wide)


def test_equal_vectors_have_one_name_and_others_another() -> None:
    torch.manual_seed(1)
    table = torch.randn(5000, 16)
    table[:, 3:] = table[0, 3:]
    rows = torch.randint(5000, (20_000,))
    names = names_of(table[rows])
    assert len(names.unique()) == len(rows.unique())
    assert torch.equal(names_of(table)[rows], names)
    zero = torch.zeros(1, 16)
    assert torch.equal(names_of(zero), names_of(-zero))
    assert names_of(table[:1].flip(1)) != names_of(table[:1])


def test_a_vector_of_nothing_has_a_finite_gradient() -> None:
    predictions, targets, distractors, counts = case()
    predictions = torch.zeros_like(predictions).requires_grad_()
    contrastive_loss(
        similarities(predictions, targets, torch.arange(10), distractors, counts, 0.1)
    ).backward()
    assert bool(predictions.grad.isfinite().all())


def test_the_loss_is_the_cross_entropy_of_the_first() -> None:
    scores = torch.randn(7, 4, dtype=torch.float64)
    scores[2, 1:] = -torch.inf
    wanted = torch.nn.functional.cross_entropy(scores, torch.zeros(7, dtype=torch.int64), reduction="sum")
    assert float(contrastive_loss(scores)) == pytest.approx(float(wanted))


def test_to_beat_nobody_or_to_tie_is_no_success() -> None:
    low = -torch.inf
    scores = torch.tensor(
        [[1.0, 0.5, 0.2], [1.0, 1.0, 0.2], [1.0, low, low], [1.0, low, 0.9], [0.1, 0.5, low]]
    )
    assert int(num_correct(scores)) == 2
