"""The wavs of several corpora: which share of what is heard each has, and where in it an epoch begins.

p of a language ∝ (its hours)^α, and so within it that of each corpus (XLSR, arXiv 2006.13979 §3; two levels
as in mHuBERT-147). Shares count audio that is heard. C corpora.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..common.words import aligned

Floats = npt.NDArray[np.float64]
_PARTS = 1 << 20  # of a draw, in which an epoch's draws are counted: whole numbers are the same everywhere


@dataclass(frozen=True)
class Corpus:
    """One of a mixture: `hours` of audio, of which `heard` in a pass, where long utterances are cropped."""

    name: str
    lang: str
    domain: str
    weight: float
    count: int  # items
    hours: float
    heard: float


def shares(corpora: Sequence[Corpus], alpha: float, alpha_within: float) -> Floats:  # [C]
    """Of what is heard; their sum is 1."""
    langs = [corpus.lang for corpus in corpora]
    hours = np.array([corpus.hours for corpus in corpora])
    whole = {lang: hours[[other == lang for other in langs]].sum() for lang in langs}
    within = hours**alpha_within
    norms = {lang: within[[other == lang for other in langs]].sum() for lang in langs}
    found: Floats = np.array(
        [
            whole[corpus.lang] ** alpha * within[i] / norms[corpus.lang] * corpus.weight
            for i, corpus in enumerate(corpora)
        ]
    )
    found /= found.sum()
    return found


@dataclass(frozen=True)
class Draws:
    """How often an epoch draws of each corpus; `passes` are those of its items, `repeats` of its hours.

    A corpus is gone through whole before anything in it comes again, across epochs: where an epoch begins
    follows from its number, so that nothing has to be kept.
    """

    corpora: tuple[Corpus, ...]
    share: Floats  # [C]
    hours: float  # heard an epoch

    @property
    def passes(self) -> Floats:  # [C], an epoch
        heard: Floats = np.array([corpus.heard for corpus in self.corpora])
        return self.share * self.hours / heard

    @property
    def repeats(self) -> Floats:  # [C], an epoch
        hours: Floats = np.array([corpus.hours for corpus in self.corpora])
        return self.share * self.hours / hours

    @property
    def upsampling(self) -> Floats:  # [C]
        """How often an hour is heard while as many are heard as there are."""
        return self.repeats * (sum(corpus.hours for corpus in self.corpora) / self.hours)

    @property
    def parts(self) -> list[int]:  # [C]
        """Draws an epoch, in parts of one."""
        return [
            max(1, round(float(passes) * corpus.count * _PARTS))
            for passes, corpus in zip(self.passes, self.corpora, strict=True)
        ]

    def done(self, epochs: int) -> list[int]:  # [C]
        """Draws in the first so many epochs; of half a draw an epoch, every other epoch has one."""
        return [(epochs * parts + _PARTS // 2) // _PARTS for parts in self.parts]

    def table(self, epochs: float) -> str:
        """What is heard how often, in an epoch and in a training of so many; nan: not known."""
        head = ["lang", "domain", "corpus", "hours", "of all", "heard", "times an epoch", "in the training"]
        total = sum(corpus.hours for corpus in self.corpora)
        rows = [
            [
                *(corpus.lang or "-", corpus.domain or "-", corpus.name, f"{corpus.hours:.2f}"),
                *(f"{corpus.hours / total:.1%}", f"{share:.1%}", f"{repeats:.3g}"),
                "?" if np.isnan(epochs) else f"{repeats * epochs:.3g}",
            ]
            for corpus, share, repeats in zip(self.corpora, self.share, self.repeats, strict=True)
        ]
        return "\n".join(aligned([head, *rows], range(3, len(head))))
