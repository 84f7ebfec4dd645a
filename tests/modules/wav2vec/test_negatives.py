import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqw2v_plugin.modules.wav2vec.contrastive import _below, sample_negatives


@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 6), st.integers(0, 6), st.integers(0, 99))
def test_the_positive_is_never_a_negative(batch: int, frames: int, same: int, cross: int, seed: int) -> None:
    if same + cross == 0:
        return
    rows = sample_negatives(batch, frames, same, cross, generator=torch.Generator().manual_seed(seed))
    positive = torch.arange(batch * frames).view(batch, frames, 1)
    assert rows.shape == (batch, frames, same + cross)
    assert not (rows == positive).any()
    assert rows.min() >= 0 and rows.max() < batch * frames
    assert (rows[..., :same] // frames == torch.arange(batch).view(-1, 1, 1)).all()


def test_every_other_frame_is_drawn_equally_often() -> None:
    rows = sample_negatives(1, 5, 20_000, generator=torch.Generator().manual_seed(1))
    shares = torch.bincount(rows[0, 2], minlength=5) / 20_000
    assert shares[2] == 0
    torch.testing.assert_close(shares[[0, 1, 3, 4]], torch.full((4,), 0.25), atol=0.015, rtol=0)


@pytest.mark.parametrize("frames", [2, 5, 3001])
def test_no_negative_is_favoured_by_where_it_lies(frames: int) -> None:
    """Remainders of few bits would favour the first: of 2¹² by 3000 they do by a half."""
    rows = sample_negatives(1, frames, 2_000_000 // frames, generator=torch.Generator().manual_seed(1))[0]
    place = rows - (rows > torch.arange(frames).unsqueeze(1)).long()  # among all but the positive
    assert place.max() == frames - 2
    halves = place < (frames - 1) / 2
    assert halves.double().mean().item() == pytest.approx(
        math.ceil((frames - 1) / 2) / (frames - 1), abs=2e-3
    )


@pytest.mark.parametrize("bits", [8, 16, 24, 31, 32, 48, 53])
def test_numbers_below_a_bound_are_no_remainders_of_few_bits(bits: int) -> None:
    """Of so many bits, the lower third of this bound would be drawn twice as often as the others."""
    bound = 3 * 2 ** (bits - 2)
    drawn = _below(torch.full((60_000,), bound), torch.Generator().manual_seed(1))
    assert 0 <= drawn.min() and drawn.max() < bound
    thirds = torch.bincount(drawn // 2 ** (bits - 2), minlength=3) / len(drawn)
    torch.testing.assert_close(thirds, torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_cross_negatives_reach_the_whole_batch() -> None:
    rows = sample_negatives(3, 4, 0, 5_000, generator=torch.Generator().manual_seed(1))
    assert set(rows[1, 2].tolist()) == set(range(12)) - {6}


def test_distance_bounds_how_far_a_negative_lies() -> None:
    rows = sample_negatives(2, 40, 50, distance=3, generator=torch.Generator().manual_seed(1))
    own = torch.arange(80).view(2, 40, 1)
    assert (rows - own).min() == -3 and (rows - own).max() == 3
    assert set((rows - own)[0, 20].tolist()) == {-3, -2, -1, 1, 2, 3}


def test_the_generator_decides_all() -> None:
    first, second = (
        sample_negatives(2, 9, 3, 2, generator=torch.Generator().manual_seed(4)) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((2, 9, 0, 0), "num_negatives"),
        ((2, 1, 3, 0), "min_sample_size"),
        ((2, 9, 3, 0, 0), "sample_distance"),
        ((1, 1, 0, 3), "a batch of 1 × 1 frames holds no negative"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments: tuple[int, ...], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        sample_negatives(*arguments)


def test_the_smallest_utterances_and_batches_hold_a_negative() -> None:
    assert sample_negatives(1, 2, 1).flatten().tolist() == [1, 0]
    assert sample_negatives(2, 1, 0, 1).flatten().tolist() == [1, 0]
