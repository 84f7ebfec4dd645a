"""What is masked, and which masked frames are told from each other: drawn for each utterance by itself.

An utterance's draws depend on its seed and its number of frames: the same beside any other, with padding or
without, in a run that is resumed. Shapes: T frames of an utterance, N of a batch's utterances one after the
other, K masked ones of these, C channels, D distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.attention import Rows
from ..layers.masks import whole_spans
from .config import Wav2Vec2Config

FEWEST_FRAMES = 3  # of an utterance: two masked ones to be told apart, and one that is heard


@dataclass(frozen=True)
class Draws:
    """Of a batch."""

    masked: Rows  # where in [N]
    distractors: Tensor  # [K, D], where in [K]
    channels: Tensor | None = None  # [B, C] bool: silent in the whole utterance


@dataclass(frozen=True)
class Masks:
    """Of a batch that is only heard."""

    frames: Tensor  # [K], where in [N]
    channels: Tensor | None = None  # [B, C] bool


def draw_masks(
    frames: Sequence[int], seeds: Sequence[int], config: Wav2Vec2Config, device: torch.device | str = "cpu"
) -> Masks:
    """What is hidden where labels are learnt: nothing of an utterance of fewer than three frames."""
    index, channels, begin = [], [], 0
    for size, seed in zip(frames, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        if size >= FEWEST_FRAMES:
            mask = whole_spans(size, config.mask_prob, config.mask_length, generator)
            index.append(mask.nonzero().squeeze(1) + begin)
        if config.mask_channel_prob:
            channels.append(_silent(config, generator))
        begin += size
    rows = torch.cat([torch.empty(0, dtype=torch.int64), *index]).to(device, non_blocking=True)
    return Masks(rows, torch.stack(channels).to(device, non_blocking=True) if channels else None)


def _silent(config: Wav2Vec2Config, generator: torch.Generator) -> Tensor:  # [C]
    dim, length = config.encoder_embed_dim, config.mask_channel_length
    return whole_spans(dim, config.mask_channel_prob, length, generator, fewest=0)


def draw(
    frames: Sequence[int], seeds: Sequence[int], config: Wav2Vec2Config, device: torch.device | str = "cpu"
) -> Draws:
    """`frames` and `seeds` of each utterance; nothing waits for a device."""
    index, counts, distractors, channels = [], [], [], []
    begin = first = 0
    for size, seed in zip(frames, seeds, strict=True):
        if size < FEWEST_FRAMES:
            raise ValueError(
                f"an utterance has {size} frames; expected {FEWEST_FRAMES} at least: leave such clips out "
                f"(`min_sample_size`)"
            )
        generator = torch.Generator().manual_seed(seed)
        mask = whole_spans(size, config.mask_prob, config.mask_length, generator)
        places = mask.nonzero().squeeze(1)  # [K of it]
        index.append(places + begin)
        counts.append(len(places))
        distractors.append(draw_distractors(len(places), config.num_negatives, generator) + first)
        if config.mask_channel_prob:
            channels.append(_silent(config, generator))
        begin, first = begin + size, first + len(places)
    rows, others = (torch.cat(parts).to(device, non_blocking=True) for parts in (index, distractors))
    silent = torch.stack(channels).to(device, non_blocking=True) if channels else None
    return Draws(Rows(rows, counts), others, silent)


def draw_distractors(count: int, number: int, generator: torch.Generator | None = None) -> Tensor:
    """For each of `count` masked frames `number` others of them, with replacement: [K, D]."""
    drawn = torch.randint(count - 1, (count, number), generator=generator, device="cpu")
    return drawn + (drawn >= torch.arange(count, device="cpu")[:, None])  # step over the frame itself
