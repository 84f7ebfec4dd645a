"""tokens ──BERT──▶ states, features ──acoustic model──▶ letters: what is hidden from them in training.

BERT (arXiv 1910.05453 §4.2): a share p of all T positions, drawn without replacement, start a span of M
tokens; spans may overlap. wav2vec 2.0 (arXiv 2006.11477 §3.1): the same, but none is cut at the end.
SpecAugment (arXiv 1904.08779): stretches of frames and bands of features.
Shapes: B batch, T positions or frames, K masked positions, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_LONGEST, _MOST_MASKS = 1 << 40, 1_000  # beyond them nothing can be counted, or held


def check_spans(start_prob: float, length: int, stdev: float) -> None:
    """Refuses what cannot be drawn; the names are the task's options."""
    if not 0 < start_prob <= 1:
        raise ValueError(f"`mask_start_prob` is {start_prob}; expected p, a share in (0, 1]")
    if not 1 <= length <= _LONGEST:
        raise ValueError(f"`mask_length` is {length}; expected M, at least one token, at most {_LONGEST:,}")
    if not 0 <= stdev < math.inf:
        raise ValueError(f"`mask_stdev` is {stdev}; expected 0 or a number of tokens")


def span_mask(
    size: int, start_prob: float, length: int, stdev: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """True where masked [T]; p·T starts, rounded up or down at random so that this is their mean."""
    count = int(start_prob * size + float(torch.rand((), generator=generator)))
    starts = torch.randperm(size, generator=generator)[:count]
    if stdev:
        lengths = torch.randn(len(starts), generator=generator) * stdev + length
        ends = starts + lengths.round().clamp(1, size).long()
    else:
        ends = starts + length
    return _covered(size, starts, ends.clamp_(max=size))


def whole_spans(
    size: int, share: float, length: int, generator: torch.Generator | None = None, fewest: int = 2
) -> Tensor:
    """True where masked [T]: whole spans within T that may overlap, T · share positions with overlaps.

    The last position is as likely as the first. Where fewer spans than `fewest` would be drawn, so many are,
    and each is shorter: a short utterance is masked by the same share. Without `fewest` the number of spans
    is rounded at random, and may be 0.
    """
    wanted = share * size / length
    if wanted < fewest:
        count, length = fewest, max(1, min(length, round(share * size / fewest)))
    else:
        count = int(wanted + float(torch.rand((), generator=generator, device="cpu")))
    places = size - min(length, size) + 1
    starts = torch.randperm(places, generator=generator, device="cpu")[:count]
    return _covered(size, starts, starts + min(length, size))


def _covered(size: int, starts: Tensor, ends: Tensor) -> Tensor:  # [K] each → [T]
    """+1 where a span begins and -1 behind its end; inside of spans the running sum is positive."""
    edges = torch.zeros(size + 1, dtype=torch.int32, device=starts.device)
    edges[starts] = 1
    edges.index_add_(0, ends, torch.full_like(ends, -1, dtype=torch.int32))
    return edges.cumsum(0)[:size] > 0


def expected_share(size: int, start_prob: float, length: int, stdev: float = 0.0) -> float:
    """The mean share of masked positions, in closed form; 1 - (1 - p)^M for long utterances and fixed M.

    Position i stays visible if no start lies among the w = min(i + 1, M) positions whose span would reach it:
    C(T - w, k) / C(T, k) for k starts. Where lengths vary, a start d back reaches it with P(length > d) only.
    """
    reaches = _survival(length, stdev, size)
    low = math.floor(start_prob * size)
    more = start_prob * size - low  # how often there is one start more
    visible = 0.0
    # [j]: over all ways to put j starts within reach, the sum of the chances that none of them reaches it
    ways = [1.0]
    for i in range(min(size, len(reaches))):
        miss = 1.0 - reaches[i]
        ways = [a + miss * b for a, b in zip([*ways, 0.0], [0.0, *ways], strict=True)]
        repeats = size - i if i == len(reaches) - 1 else 1  # further in, all positions are alike
        for k, weight in ((low, 1.0 - more), (low + 1, more)):
            if weight:
                visible += repeats * weight * _none_reaches(size, i + 1, k, ways)
    return 1.0 - visible / size


def _none_reaches(size: int, within: int, starts: int, ways: list[float]) -> float:
    """The chance that none of the starts reaches a position that `within` positions could reach."""
    total = math.comb(size, starts)
    terms = (way * (math.comb(size - within, starts - j) / total) for j, way in enumerate(ways[: starts + 1]))
    return math.fsum(terms)


def _survival(length: int, stdev: float, size: int) -> list[float]:
    """P(a span's length > d) for d = 0, 1, … as long as it is above 0 and d within the utterance."""
    if not stdev:
        return [1.0] * min(length, size)
    above: Callable[[int], float] = lambda d: 0.5 * math.erfc((d + 0.5 - length) / (stdev * math.sqrt(2)))  # noqa: E731
    return [1.0, *(above(d) for d in range(1, math.ceil(min(length + 8 * stdev, size))))]


def corrupt(
    tokens: Tensor,
    mask: Tensor,
    mask_id: int,
    codes: Tensor,
    leave_prob: float,
    random_prob: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """What BERT sees [T]: some masked tokens stay, some are drawn from `codes`, the rest is <mask>."""
    where = mask.nonzero().squeeze(1)  # [K]
    fate = torch.rand(len(where), generator=generator)
    other = codes[torch.randint(len(codes), (len(where),), generator=generator)]
    shown = torch.where(fate < leave_prob + random_prob, other, mask_id)
    seen = tokens.clone()
    seen[where] = torch.where(fate < leave_prob, tokens[where], shown)
    return seen


@dataclass(frozen=True)
class SpecMasks:
    """How many masks an utterance gets, and how wide each may be; none by default."""

    time_masks: int = 0
    time_mask_width: int = 50  # frames, at most
    time_mask_share: float = 0.2  # of an utterance's frames, at most for one mask
    feature_masks: int = 0
    feature_mask_width: int = 16  # features, at most

    def __post_init__(self) -> None:
        most = {"time_masks": _MOST_MASKS, "feature_masks": _MOST_MASKS}
        most |= {"time_mask_width": _LONGEST, "feature_mask_width": _LONGEST}
        for name, bound in most.items():
            if not 0 <= (value := getattr(self, name)) <= bound:
                raise ValueError(f"`{name}` is {value}; expected at least 0, at most {bound:,}")
        if not 0 <= self.time_mask_share <= 1:
            raise ValueError(f"`time_mask_share` is {self.time_mask_share}; expected a share in [0, 1]")


class SpecAugment(nn.Module):
    """Masks in training mode; they are 0, the mean of normalised features.

    Draws come from the `generator`, or torch's own on the CPU, which fairseq seeds at every update.
    """

    def __init__(self, masks: SpecMasks, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.masks, self.generator = masks, generator

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # [B, T, D]
        masks = self.masks
        if not self.training or not (masks.time_masks or masks.feature_masks):
            return x
        if masks.time_masks:
            frames = lengths.cpu()
            most = (frames * masks.time_mask_share).long().clamp_max(masks.time_mask_width)
            x = x.masked_fill(self._spans(masks.time_masks, frames, most, x.size(1), x).unsqueeze(2), 0.0)
        if masks.feature_masks:
            size = torch.full((len(x),), x.size(2))
            most = size.clamp_max(masks.feature_mask_width)
            x = x.masked_fill(self._spans(masks.feature_masks, size, most, x.size(2), x).unsqueeze(1), 0.0)
        return x

    def _spans(self, count: int, sizes: Tensor, most: Tensor, width: int, like: Tensor) -> Tensor:
        """[B] → [B, width]: True in `count` spans of 0 … `most` places within the first `sizes`."""
        draws = torch.rand(len(sizes), count, 2, generator=self.generator)  # [B, count, 2]
        spans = (draws[..., 0] * (most + 1).unsqueeze(1)).long()
        starts = (draws[..., 1] * (sizes.unsqueeze(1) - spans + 1)).long()
        starts, ends = (part.to(like.device).unsqueeze(2) for part in (starts, starts + spans))
        places = torch.arange(width, device=like.device)
        return ((places >= starts) & (places < ends)).any(1)
