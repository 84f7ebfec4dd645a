"""z ──quantizer──▶ tokens: how codes begin, so that a training starts with many of them in use.

Shapes: N frames, C channels, D entry size, V codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers.ranks import num_ranks, rank, sum_over_ranks

_FRAMES_A_CODE = 32  # frames that are looked at for each code that is drawn
_NOISE_FRAMES = 1024


def gather_frames(frames: Tensor, num_codes: int) -> Tensor:  # [n, D] of a rank → [N, D], the same on all
    """Evenly spaced frames of every rank, enough to draw `num_codes` from; only those that are finite."""
    share = -(-_FRAMES_A_CODE * num_codes // num_ranks())
    every = torch.linspace(0, len(frames) - 1, min(share, len(frames)), device=frames.device).long()
    mine = torch.nan_to_num(frames[every].float(), nan=0.0, posinf=0.0, neginf=0.0)
    good = frames[every].isfinite().all(1)
    rows = mine.new_zeros(num_ranks(), share, mine.size(1) + 1)  # the last column: is a frame
    rows[rank(), : len(mine), :-1] = mine
    rows[rank(), : len(mine), -1] = good.to(mine.dtype)
    rows = sum_over_ranks(rows).flatten(0, 1)
    return rows[rows[:, -1] > 0, :-1]


def draw_rows(num_frames: int, num_codes: int, generator: torch.Generator) -> Tensor:  # [V]
    """Numbers of frames, each once; where there are fewer frames than codes, the rest are drawn once more."""
    once = torch.randperm(num_frames, generator=generator)[:num_codes]
    return torch.cat([once, torch.randint(num_frames, (num_codes - len(once),), generator=generator)])


def draw_entries(frames: Tensor, num_codes: int, seed: int) -> Tensor:  # [N, D] → [V, D]
    """Different frames, each as likely as any other: many where many are, and so evenly used.

    Where there are fewer frames than codes, the rest are drawn once more, and lie a little beside.
    """
    generator = torch.Generator().manual_seed(seed)  # the processor's, so that a GPU draws the same
    rows = draw_rows(len(frames), num_codes, generator).to(frames.device)
    once, again = rows[: len(frames)], rows[len(frames) :]
    beside = 0.01 * frames.std() * torch.randn(len(again), frames.size(1), generator=generator).to(frames)
    return torch.cat([frames[once], frames[again] + beside])


@torch.no_grad()
def scale_outputs(layers: nn.Module, last: nn.Linear, dim: int, deviation: float) -> None:
    """Gives what `layers` make of z the standard deviation over frames, by the weight of the `last` of them.

    Before training z is what a group norm, a ReLU and the logarithm make of noise. What all inputs have in
    common is not heard: it would prefer some outputs in every frame.
    """
    for layer in layers.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.sub_(layer.weight.mean(1, keepdim=True))
            nn.init.zeros_(layer.bias)
    noise = torch.randn(_NOISE_FRAMES, dim, generator=torch.Generator().manual_seed(0))
    outputs = layers(noise.relu().log1p())  # [N, O]
    last.weight.mul_(deviation / (outputs - outputs.mean(0)).std())
