"""states ──acoustic model──▶ letters: labels against frames, which is what all losses share.

Shapes: B batch, T frames, V labels, L labels of a target, S states that a path may be in (one label each).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers.padding import padding

NOTHING = -1  # of a label or position: behind the utterance's end


@dataclass(frozen=True)
class Alignment:
    """One path: what every frame is."""

    labels: Tensor  # [B, T]; -1 behind the end
    positions: Tensor  # [B, T] which label of the sequence that is; -1 in a blank and behind the end
    scores: Tensor  # [B] log score of the path

    def sequences(self) -> list[list[int]]:
        """What the paths say: each label once, no blanks; with one wait for a device."""
        labels, positions = torch.stack([self.labels, self.positions]).cpu()
        before = torch.nn.functional.pad(positions, (1, 0), value=NOTHING)[:, :-1]
        begins = positions > before  # behind a blank is a label of its own
        return [row[begin].tolist() for row, begin in zip(labels, begins, strict=True)]


class SequenceLoss(nn.Module):
    """What a kind of loss is to the network and to decoders: ASG, CTC, and others of this interface.

    Emissions [B, T, V] are unnormalized, lengths [B]; targets [B, L] are columns.
    """

    transitions: Tensor | None  # [V, V] (to, from), learnt with the model; None where it has none

    def forward(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """A loss an utterance [B]."""
        raise NotImplementedError

    def best_path(self, emissions: Tensor, emission_lengths: Tensor) -> Alignment:
        """What the model says by itself."""
        raise NotImplementedError

    def align(
        self, emissions: Tensor, emission_lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> Alignment:
        """The best path that says the target."""
        raise NotImplementedError


def from_labels(labels: Tensor, scores: Tensor, blank: int | None = None) -> Alignment:
    """Positions of a path [B, T] without a target: equal neighbours are one label."""
    is_label = labels != NOTHING
    if blank is not None:
        is_label &= labels != blank
    before = torch.nn.functional.pad(labels, (1, 0), value=NOTHING)[:, :-1]
    begins = is_label & (labels != before)
    return Alignment(labels, (begins.cumsum(1) - 1).masked_fill(~is_label, NOTHING), scores)


def check_emissions(emissions: Tensor, lengths: Tensor) -> Tensor:
    """The lengths as [B] integers beside the emissions."""
    if emissions.dim() != 3 or not emissions.numel():
        raise ValueError(f"`emissions` are {list(emissions.shape)}; expected [batch, frames, labels]")
    return _check_lengths(lengths, emissions, "emission_lengths", "frames")


def check_targets(emissions: Tensor, targets: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Targets [B, L], 0 behind their ends and L ≥ 1, and their lengths, both beside the emissions."""
    if targets.dim() != 2 or len(targets) != len(emissions):
        raise ValueError(f"`targets` are {list(targets.shape)}; expected [{len(emissions)}, labels]")
    targets = targets.to(emissions.device, torch.long)
    lengths = _check_lengths(lengths, targets, "target_lengths", "labels")
    targets = targets.masked_fill(padding(lengths, targets.size(1)), 0)
    if not targets.size(1):  # all empty: one place of padding, so that no shape has a 0 in it
        targets = targets.new_zeros(len(targets), 1)
    if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < emissions.size(2):
        wrong = targets[(targets < 0) | (targets >= emissions.size(2))][0]
        raise ValueError(f"`targets` hold the label {wrong}; expected 0 to {emissions.size(2) - 1}")
    return targets, lengths


def _check_lengths(lengths: Tensor, of: Tensor, name: str, unit: str) -> Tensor:
    lengths = lengths.to(of.device, torch.long)
    if lengths.shape != of.shape[:1]:
        raise ValueError(f"`{name}` are {list(lengths.shape)}; expected one a batch row, [{len(of)}]")
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= of.size(1):
        wrong = int(lengths[(lengths < 0) | (lengths > of.size(1))][0])
        raise ValueError(f"`{name}` hold {wrong}; expected 0 to {of.size(1)} {unit}")
    return lengths


def repeats(targets: Tensor, lengths: Tensor) -> Tensor:
    """[B, L - 1]: True where a label equals the one before it."""
    same = targets[:, 1:] == targets[:, :-1]
    return same & ~padding(lengths - 1, same.size(1))


def check_frames(frames: Tensor, needed: Tensor) -> None:
    """Refuses a batch in which an utterance [B] is shorter than its labels need."""
    short = (frames < needed).nonzero()
    if len(short):
        row = int(short[0])
        raise ValueError(
            f"utterance {row} of the batch has {int(frames[row])} frames, but its labels need "
            f"{int(needed[row])}; leave such clips out, or set `zero_infinity` to count them as a loss of 0"
        )


def best_states(
    emissions: Tensor, moves: Sequence[Tensor], starts: int, finals: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """The best monotonous path over states [B, T, S] and its score: states [B, T], scores [B].

    `moves[k]` [B, S] is what it costs to come from k states below (0: to stay). A path begins in one of the
    first `starts` states and ends in one of `finals` [B, F].
    """
    score = emissions[:, 0].clone()  # [B, S]
    score[:, starts:] = -torch.inf
    came: list[Tensor] = []
    for t in range(1, emissions.size(1)):
        ways = [move + _shift(score, k) for k, move in enumerate(moves)]
        best, way = torch.stack(ways).max(0)  # [B, S]
        alive = (t < lengths).unsqueeze(1)
        score = torch.where(alive, best + emissions[:, t], score)
        came.append((way * alive).to(torch.uint8))
    ends = score.gather(1, finals)  # [B, F]
    total, choice = ends.max(1)
    state = finals.gather(1, choice.unsqueeze(1))  # [B, 1]
    states = [state]
    for way in reversed(came):
        state = state - way.gather(1, state)
        states.append(state)
    return torch.cat(states[::-1], 1), total


def _shift(score: Tensor, k: int) -> Tensor:
    """[B, S]: the score of k states below; none below the first."""
    return torch.nn.functional.pad(score, (k, 0), value=-torch.inf)[:, : score.size(1)]


def from_states(
    states: Tensor, labels: Tensor, positions: Tensor, scores: Tensor, lengths: Tensor, possible: Tensor
) -> Alignment:
    """States [B, T] that stand for labels [B, S] and at each frame for positions [B, T]."""
    nothing = padding(lengths, states.size(1)) | ~possible.unsqueeze(1)
    said = labels.gather(1, states).masked_fill(nothing, NOTHING)
    scores = scores.masked_fill(~possible, -torch.inf)
    return Alignment(said, positions.masked_fill(nothing, NOTHING), scores)
