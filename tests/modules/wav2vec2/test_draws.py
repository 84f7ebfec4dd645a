"""Masks and distractors of wav2vec 2.0: their share in rows of any length, and whose draw is whose."""

import pytest
import torch
from torch import Tensor
from wav2vec2s import config_of

from vqw2v_plugin.modules.layers.masks import whole_spans
from vqw2v_plugin.modules.wav2vec2.draws import draw, draw_distractors


def spans(size: int, share: float, length: int, times: int, fewest: int = 2) -> Tensor:  # [times, T]
    generator = torch.Generator().manual_seed(1)
    return torch.stack([whole_spans(size, share, length, generator, fewest) for _ in range(times)])


def test_the_share_is_the_same_in_rows_of_any_length() -> None:
    """Stock masks 12.8 % of the longer of two such rows."""
    shares = {size: float(spans(size, 0.65, 10, 600).float().mean()) for size in (40, 200, 780)}
    assert all(0.46 < share < 0.55 for share in shares.values()), shares


def test_the_share_of_short_rows_does_not_grow() -> None:
    shares = [float(spans(size, 0.65, 10, 600).float().mean()) for size in (3, 4, 6, 9, 12, 17, 23, 29)]
    assert all(0.38 < share < 0.68 for share in shares), shares


def test_two_frames_at_least_are_masked_and_one_is_heard() -> None:
    for size in range(3, 60):
        counts = spans(size, 0.65, 10, 100).sum(1)
        assert counts.min() >= 2 and counts.max() < size, size


def test_a_share_of_less_than_a_frame_is_two_frames_all_the_same() -> None:
    assert set(spans(5, 0.02, 10, 50).sum(1).tolist()) == {2}


def test_the_last_frame_is_masked_as_often_as_the_first() -> None:
    """Stock masks it never."""
    found = spans(50, 0.65, 10, 4000).float().mean(0)
    assert found[-1] > 0.05 and float(found[-1]) == pytest.approx(float(found[0]), abs=0.02)


def test_spans_are_whole() -> None:
    for mask in spans(100, 0.2, 10, 100):
        edges = torch.diff(torch.nn.functional.pad(mask.int(), (1, 1)))
        lengths = edges.eq(-1).nonzero() - edges.eq(1).nonzero()
        assert bool((lengths >= 10).all())


def test_the_cases_of_a_peer() -> None:
    assert set(spans(60, 0.5, 1, 20).sum(1).tolist()) == {30}
    counts = spans(100, 0.05, 10, 400, fewest=0).sum(1)
    assert 40 < int((counts > 0).sum()) < 360
    assert int(spans(80, 0.5, 4, 100).sum(1).max()) <= 40


def test_no_distractor_is_the_frame_itself_and_all_others_are_as_likely() -> None:
    drawn = draw_distractors(7, 20_000, torch.Generator().manual_seed(0))
    for own, row in enumerate(drawn):
        shares = torch.bincount(row, minlength=7) / len(row)
        assert shares[own] == 0
        assert bool(((shares - 1 / 6).abs() < 0.02)[torch.arange(7) != own].all())


def test_an_utterance_s_draws_are_of_its_seed_and_its_length() -> None:
    config = config_of(mask_channel_prob=0.3, mask_channel_length=2)
    frames, seeds = [30, 55, 30], [8, 9, 10]
    together = draw(frames, seeds, config)
    begin = first = 0
    for i, (size, seed) in enumerate(zip(frames, seeds, strict=True)):
        alone = draw([size], [seed], config)
        count = together.masked.counts[i]
        assert torch.equal(together.masked.index[first : first + count], alone.masked.index + begin)
        assert torch.equal(together.distractors[first : first + count], alone.distractors + first)
        assert torch.equal(together.channels[i], alone.channels[0])
        begin, first = begin + size, first + count
    assert not torch.equal(draw([30], [8], config).masked.index, draw([30], [10], config).masked.index)


def test_channels_change_no_mask() -> None:
    with_channels, without = (draw([40], [4], config_of(mask_channel_prob=p)) for p in (0.3, 0.0))
    assert torch.equal(with_channels.masked.index, without.masked.index) and without.channels is None
    assert torch.equal(with_channels.distractors, without.distractors)


def test_channels_are_silent_by_their_share_and_there_may_be_none() -> None:
    """0.1 of 24 channels in spans of 4: a span in six of ten utterances, none in the others."""
    config = config_of(mask_channel_prob=0.1, mask_channel_length=4)
    silent = draw([30] * 300, range(300), config).channels
    assert silent is not None and silent.shape == (300, 24)
    counts = silent.sum(1).tolist()
    assert set(counts) == {0, 4} and 150 < counts.count(4) < 210


def test_three_frames_are_enough() -> None:
    found = draw([3, 5], [1, 2], config_of())
    assert found.masked.counts[0] == 2 and found.masked.index[:2].max() < 3 <= found.masked.index[2:].min()
    assert found.distractors[:2].flatten().unique().tolist() == [0, 1]
