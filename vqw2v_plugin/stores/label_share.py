"""text ──▶ labels, a share of them: whom a training with few labels learns from, by names alone.

The same utterances for training, for its labels and for its language model, whatever the features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from ..common.words import some_of
from .labels import LabelError, Labels

_MOST_HOURS, _NAMED = 1e6, 8


@dataclass(frozen=True)
class Share:
    """A share up to 1, a number of utterances, or hours; always the same ones of one seed."""

    fraction: float = 1.0
    hours: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        whole = float(self.fraction).is_integer() and self.fraction >= 1
        if not (0 < self.fraction < 1 or whole):
            raise LabelError(
                f"`label_fraction` is {self.fraction:g}; expected a share of more than 0 and at most 1, or a "
                "whole number of utterances"
            )
        if self.hours is not None and not 0 < self.hours <= _MOST_HOURS:
            raise LabelError(f"`label_hours` is {self.hours:g}; expected more than 0")
        if self.hours is not None and self.fraction != 1:
            raise LabelError("`label_fraction` and `label_hours` exclude each other; take one")

    @property
    def is_all(self) -> bool:
        return self.fraction == 1 and self.hours is None


@dataclass(frozen=True)
class Drawn:
    """Who was drawn, and from whom."""

    utts: frozenset[str]
    labels: Labels

    def told(self) -> str:
        """How many, how long, and who speaks, as far as that is known."""
        taken = [utt in self.utts for utt in self.labels.utts]
        said = f"{len(self.utts):,} of {len(taken):,} labelled utterances"
        if (seconds := self.labels.seconds) is not None:
            held = sum(length for length, is_in in zip(seconds, taken, strict=True) if is_in)
            said += f", {held / 3600:.2f} of {sum(seconds) / 3600:.2f} h"
        if (speakers := self.labels.speakers) is not None:
            who = Counter(name for name, is_in in zip(speakers, taken, strict=True) if is_in)
            counts = [f"{name or 'unknown'} {count:,}" for name, count in who.most_common()]
            return f"{said}, of {len(who):,} of {len(set(speakers)):,} speakers: {some_of(counts, _NAMED)}"
        return f"{said}: {some_of([utt for utt in self.labels.utts if utt in self.utts], _NAMED)}"

    def only(self) -> Labels:
        """The labels of those alone."""
        kept = [i for i, utt in enumerate(self.labels.utts) if utt in self.utts]
        columns = ("utts", "labels", "words", "seconds", "speakers")
        held = {name: getattr(self.labels, name) for name in columns}
        return replace(
            self.labels,
            **{name: tuple(found[i] for i in kept) for name, found in held.items() if found is not None},
        )


def draw(labels: Labels, share: Share, where: str = "the label folder") -> Drawn:
    """Those of a smaller share are among those of a larger one."""
    order = sorted(labels.utts, key=lambda utt: _place(utt, share.seed))
    if share.hours is None:
        wanted = share.fraction if share.fraction > 1 else share.fraction * len(order)
        return Drawn(frozenset(order[: max(1, round(wanted))]), labels)
    if labels.seconds is None:
        raise LabelError(
            f"`label_hours`: {where} does not say how long its utterances are; make the labels anew from "
            "manifests of audio that is there, or say `label_fraction`"
        )
    length = dict(zip(labels.utts, labels.seconds, strict=True))
    left = share.hours * 3600
    taken: list[str] = []
    for utt in order:
        left -= length[utt]
        if left < 0 and taken:
            break
        taken.append(utt)
    return Drawn(frozenset(taken), labels)


def share_of(utts: Sequence[str], share: float, seed: int) -> set[str]:
    """The names that are drawn of these."""
    return set(draw(Labels(tuple(utts), ((),) * len(utts)), Share(share, seed=seed)).utts)


def _place(utt: str, seed: int) -> bytes:
    return blake2b(f"{seed} {utt}".encode(errors="surrogateescape")).digest()
