"""tokens of several groups of utterances → which codes each uses, and how far the groups are from each other.

A group is a language, a domain, a speaker. More audio shows more codes, and fewer frames lie further apart by
chance: so all groups are counted over equally many frames, drawn by a seed, in two halves. The halves of one
group say how far two samples of the same lie apart: the floor of all distances.

Shapes: K groups, N frames, G groups of codes, V codes in each, C = G · V codes in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .group_tree import Floats, average_linkage, classical_scaling
from .phone_codes import Codes

Counts = npt.NDArray[np.int64]
_LEAST_SHARE, _LEAST_FRAMES = 0.1, 5  # of an even share of the frames, and at least so many
_OWN = 8  # particular codes of a group that are told


@dataclass(frozen=True)
class Heard:
    """Where a code is heard for long in a group."""

    utt: str
    second: float
    frames: int  # in a row


@dataclass(frozen=True)
class OwnCode:
    """A code that says much of a group."""

    code: int  # 0 … C − 1
    share: float  # of the group's frames, within the code's own group of codes
    elsewhere: float  # the same of the other groups together
    heard: tuple[Heard, ...] = ()


@dataclass(frozen=True)
class CodeMap:
    """Counts of each group and half over equally many frames; the rest follows from them."""

    names: tuple[str, ...]
    halves: Counts  # [K, 2, C]
    num_groups: int
    num_codes: int
    given: tuple[int, ...]  # frames that there were of each group
    least: int  # frames, from which on a group is said to use a code

    @property
    def frames(self) -> int:
        """That are counted of each group."""
        return int(self.counts[0].sum()) // self.num_groups

    @cached_property
    def counts(self) -> Counts:  # [K, C]
        found: Counts = self.halves.sum(axis=1)
        return found

    @cached_property
    def shares(self) -> Floats:  # [K, C], each row summing to 1
        return _shares(self.counts)

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:  # [K, C]
        found: npt.NDArray[np.bool_] = self.counts >= self.least
        return found

    @cached_property
    def spread(self) -> dict[str, float]:
        """Shares of all codes by how many groups use them."""
        users = self.used.sum(axis=0)
        kinds = {
            "none": users == 0,
            "one": users == 1,
            "some": (users > 1) & (users < len(self.names)),
            "all": (users == len(self.names)) & (users > 1),
        }
        return {name: float(which.mean()) for name, which in kinds.items()}

    @cached_property
    def distances(self) -> Floats:  # [K, K]
        """Jensen–Shannon distances of halves: the mean over pairs of these; on the diagonal the floor."""
        parts = _shares(self.halves.reshape(-1, self.halves.shape[-1]))  # [2 · K, C]
        each = np.stack([js_distances(part, parts) for part in parts])  # [2 · K, 2 · K]
        count = len(self.names)
        found: Floats = each.reshape(count, 2, count, 2).mean(axis=(1, 3))
        np.fill_diagonal(found, each[np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)])
        return (found + found.T) / 2

    @property
    def floors(self) -> Floats:  # [K]
        return np.diagonal(self.distances).copy()

    @cached_property
    def between(self) -> Floats:  # [K, K]
        """Distances with nothing between a group and itself."""
        found = self.distances.copy()
        np.fill_diagonal(found, 0.0)
        return found

    @cached_property
    def tree(self) -> Floats:
        return average_linkage(self.between)

    @cached_property
    def places(self) -> tuple[Floats, float]:
        return classical_scaling(self.between)

    def own_codes(self, group: int, number: int = _OWN) -> list[OwnCode]:
        """Those whose share in it tells it most from the others: p · log2(p / mean), the largest first."""
        share = self.shares[group] * self.num_groups
        rest = (self.shares.sum(axis=0) * self.num_groups - share) / max(1, len(self.names) - 1)
        mean = self.shares.mean(axis=0) * self.num_groups
        with np.errstate(divide="ignore", invalid="ignore"):
            told = np.where(share > 0, share * np.log2(share / mean), 0.0)
        told[~self.used[group]] = 0.0
        best = [int(code) for code in np.argsort(-told, kind="stable")[:number] if told[code] > 0]
        return [OwnCode(code, float(share[code]), float(rest[code])) for code in best]

    def title(self, code: int) -> str:
        """`group-code`, as tokens are written where there are several groups of codes."""
        return f"{code // self.num_codes}:{code % self.num_codes}" if self.num_groups > 1 else str(code)


def js_distances(p: Floats, others: Floats) -> Floats:  # [C], [M, C] → [M]
    """√ of the Jensen–Shannon divergence in bits, from one distribution to each of the others."""
    mean = (p + others) / 2
    divergence = (_plogp(p, mean) + _plogp(others, mean)).sum(axis=1) / 2
    found: Floats = np.sqrt(np.clip(divergence, 0, 1))
    return found


def _plogp(p: Floats, of: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(p > 0, p * np.log2(p / of), 0.0)
    return found


def _shares(counts: Counts) -> Floats:
    found: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return found


def map_codes(
    groups: Mapping[str, Mapping[str, Codes]], num_codes: int, seed: int = 1, least: int | None = None
) -> CodeMap:
    """From the codes [T, G] of each group's utterances; the seed draws which of them are counted.

    Utterances are dealt to the two halves in turn, so that no utterance is in both.
    """
    if len(groups) < 2:
        raise ValueError(f"{len(groups)} group has codes; expected two or more to lay beside each other")
    dealt = {name: _dealt(list(codes.values()), seed) for name, codes in groups.items()}
    size = min(len(half) for halves in dealt.values() for half in halves)
    if not size:
        few = [name for name, halves in dealt.items() if not all(map(len, halves))]
        raise ValueError(f"{', '.join(few[:5])}: has fewer than two utterances; leave it out")
    num_groups = next(half.shape[1] for halves in dealt.values() for half in halves)
    counts = [[count_codes(half[:size], num_codes) for half in halves] for halves in dealt.values()]
    even = _LEAST_SHARE * 2 * size / num_codes
    return CodeMap(
        names=tuple(dealt),
        halves=np.array(counts),
        num_groups=num_groups,
        num_codes=num_codes,
        given=tuple(sum(map(len, codes.values())) for codes in groups.values()),
        least=max(_LEAST_FRAMES, round(even)) if least is None else least,
    )


def count_codes(codes: Codes, num_codes: int) -> Counts:  # [N, G] → [C]
    """How often each code of each group is there."""
    counts = [np.bincount(column, minlength=num_codes) for column in codes.T]
    return np.concatenate(counts)


def _dealt(utterances: Sequence[Codes], seed: int) -> list[Codes]:
    """Two halves, each its utterances one behind the other, in an order that the seed draws."""
    order = np.random.default_rng(seed).permutation(len(utterances)).tolist()
    groups = utterances[0].shape[1] if utterances else 1
    none = np.zeros((0, groups), dtype=np.int64)
    return [np.concatenate([none, *(utterances[i] for i in order[turn::2])]) for turn in (0, 1)]
