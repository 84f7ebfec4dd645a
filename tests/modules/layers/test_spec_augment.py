"""SpecAugment: masks as wide as asked for, within each utterance, in training alone, the same by seed."""

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.layers.masks import SpecAugment, SpecMasks


def masked(masks: SpecMasks, lengths: list[int], dim: int = 12, seed: int = 0) -> Tensor:
    """True where hidden [B, T, D]; all features are ones."""
    augment = SpecAugment(masks, torch.Generator().manual_seed(seed)).train()
    x = torch.ones(len(lengths), max(lengths), dim)
    return augment(x, torch.tensor(lengths)) == 0


def runs(row: Tensor) -> int:
    """How many stretches of True."""
    return int((row[1:] & ~row[:-1]).sum()) + int(row[0])


def test_time_masks_hide_whole_frames_of_at_most_their_width_within_the_utterance() -> None:
    lengths = [200, 90, 40, 1] * 50
    hidden = masked(SpecMasks(time_masks=2, time_mask_width=30, time_mask_share=0.25), lengths)
    assert torch.equal(hidden.any(2), hidden.all(2))
    times = hidden.any(2)
    for row, n in zip(times, lengths, strict=True):
        assert not row[n:].any() and runs(row) <= 2 and int(row.sum()) <= 2 * min(30, n // 4)
    assert int(times.sum()) > 50 * 20 and times[0::4, :10].any() and times[0::4, 190:].any()


def test_feature_masks_hide_a_feature_in_every_frame() -> None:
    hidden = masked(SpecMasks(feature_masks=1, feature_mask_width=4), [20, 9] * 50)
    bands = hidden.any(1)
    assert torch.equal(bands, hidden.all(1)) and int(bands.sum(1).max()) == 4 and int(bands.sum(1).min()) == 0
    assert bands[:, 0].any() and bands[:, -1].any() and max(map(runs, bands)) == 1


def test_the_mean_width_is_half_of_the_widest() -> None:
    times = masked(SpecMasks(time_masks=1, time_mask_width=20, time_mask_share=1.0), [400] * 3000, 1)
    assert float(times.float().sum(1).mean()) == pytest.approx(10, abs=0.4)


def test_equal_seeds_hide_the_same() -> None:
    both = SpecMasks(time_masks=2, feature_masks=2)
    first, same, other = (masked(both, [100, 80], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    torch.manual_seed(5)  # as fairseq does at every update
    augment, x, lengths = SpecAugment(both).train(), torch.ones(2, 50, 12), torch.tensor([50, 40])
    first = augment(x, lengths)
    torch.manual_seed(5)
    assert torch.equal(first, augment(x, lengths))


def test_evaluation_and_the_default_hide_nothing() -> None:
    x, lengths = torch.ones(2, 50, 12), torch.tensor([50, 40])
    assert SpecAugment(SpecMasks(time_masks=2, feature_masks=2)).eval()(x, lengths) is x
    assert SpecAugment(SpecMasks()).train()(x, lengths) is x


def test_wrong_masks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`time_masks` is -1; expected at least 0"):
        SpecMasks(time_masks=-1)
    for share in (1.5, -0.1):
        with pytest.raises(ValueError, match=rf"`time_mask_share` is {share}; expected a share in \[0, 1\]"):
            SpecMasks(time_mask_share=share)
    for name in ("time_masks", "time_mask_width", "feature_masks", "feature_mask_width"):
        with pytest.raises(ValueError, match=f"`{name}` is -1; expected at least 0"):
            SpecMasks(**{name: -1})
    assert SpecMasks() == SpecMasks(0, 50, 0.2, 0, 16) and SpecMasks(time_mask_share=1.0)


def test_the_default_masks_at_most_a_fifth_of_an_utterance_at_once() -> None:
    times = masked(SpecMasks(time_masks=1), [100] * 500).any(2)
    assert int(times.sum(1).max()) == 20


@pytest.mark.parametrize("name", ["time_masks", "time_mask_width", "feature_masks", "feature_mask_width"])
def test_masks_that_no_memory_holds_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is 10{{30}}; expected at least 0, at most 1,0"):
        SpecMasks(**{name: 10**30})
