"""How models learn, what they are fed: a mixture, utterances of several corpora in shares of what is heard.

An index is an item and how often its corpus has been gone through before: index = pass · items + item. So
an item's draws are those of its corpus alone in that pass, whoever loads it; and what an epoch consists of
follows from (seed, epoch).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...audio.reading import AudioError
from ...corpora.batches import BatchLimits, Ints
from ...corpora.mixture import Entry, MixtureError, MixturePlan
from ...corpora.shares import Corpus, Draws, shares
from .base import BatchDataset, digest_of

logger = logging.getLogger(__name__)

_ORDERS = 77  # tells the draws of orders from those of items


@dataclass(frozen=True)
class Member:
    """A corpus of a mixture: some items of one of its data sets."""

    part: int
    items: Ints
    name: str
    lang: str
    domain: str
    weight: float


@dataclass(frozen=True)
class Drawn:
    """What a corpus' data set has loaded."""

    index: int
    corpus: int
    item: Any


class MixtureDataset(BatchDataset[Drawn]):
    """Data sets of one kind as one. `draws` None: each item once, in whatever order they have."""

    digested = "its corpora or their shares"

    def __init__(
        self,
        name: str,
        parts: Sequence[BatchDataset[Any]],
        members: Sequence[Member],
        draws: Draws | None,
        seed: int = 1,
        strict: bool = False,
    ) -> None:
        self.parts, self.members, self.draws = parts, members, draws
        self._begins = np.cumsum([0, *(len(part) for part in parts)])  # of a part's items among all
        sizes: Ints = np.concatenate([part.sizes for part in parts])
        super().__init__(name, sizes, seed, strict=strict)
        self.unit = parts[0].unit
        told = [(member.lang, member.domain) for member in members]
        self.kinds = sorted(set(told))  # whose losses are told apart
        self._kind_of = [self.kinds.index(each) for each in told]
        self._items = [self._begins[member.part] + member.items for member in members]
        self._corpus_of = np.full(len(sizes), -1, dtype=np.int64)
        for number, items in enumerate(self._items):
            self._corpus_of[items] = number

    def load(self, index: int) -> Drawn:
        """As its corpus' own data set draws it in that pass, its first epoch being 1."""
        times, item = divmod(index, len(self))
        part = int(np.searchsorted(self._begins, item, side="right")) - 1
        own = item - int(self._begins[part])
        loaded = self.parts[part].in_epoch(times + 1).load(own)
        return Drawn(index, int(self._corpus_of[item]), loaded)

    def collate(self, items: Sequence[Drawn], num_skipped: int) -> dict[str, Any]:
        """As the corpora's own data sets do, which are alike; `kinds` says of which language and domain."""
        batch = self.parts[0].collate([drawn.item for drawn in items], num_skipped)
        batch["id"] = torch.tensor([drawn.index for drawn in items], dtype=torch.int64)
        batch["kinds"], batch["num_kinds"] = [self._kind_of[d.corpus] for d in items], len(self.kinds)
        return batch

    def cut_sized(self, indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
        return self.parts[0].cut_sized(indices, sizes, limits)

    def drawn(self) -> Ints:
        """Of each corpus the next ones, in passes."""
        if self.draws is None:
            return np.sort(np.concatenate(self._items))
        epoch = int(self._epoch)
        before, after = self.draws.done(epoch - 1), self.draws.done(epoch)
        spans = zip(before, after, strict=True)
        return np.concatenate([self._passes(i, *span) for i, span in enumerate(spans)])

    def _passes(self, corpus: int, begin: int, end: int) -> Ints:
        """Draws `begin` to `end` of a corpus, of which each pass has an order of its own."""
        items = self._items[corpus]
        found: list[Ints] = [np.zeros(0, dtype=np.int64)]
        for number in range(begin // len(items), -(-end // len(items))):
            first = number * len(items)
            order = np.random.default_rng([abs(self.seed), _ORDERS, corpus, number]).permutation(items)
            found.append(number * len(self) + order[max(begin - first, 0) : end - first])
        return np.concatenate(found)

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index % len(self)])

    def num_tokens_vec(self, indices: Ints) -> Ints:
        return self.sizes[indices % len(self)]

    def note_unreadable(self, index: int, error: AudioError) -> None:
        super().note_unreadable(index % len(self), error)

    def too_long(self, index: int) -> str:
        member = self.members[int(self._corpus_of[index % len(self)])]
        return self.parts[member.part].too_long(int(member.items[0]))

    def digest(self) -> str:
        """Of the corpora, and of how they are mixed."""
        told = [f"{m.name} {m.lang} {m.domain} {len(m.items)}" for m in self.members]
        how = [] if self.draws is None else [str(self.draws.parts)]
        return digest_of(*(part.digest() for part in self.parts), *told, *how)


def corpus_of(member: Member, part: BatchDataset[Any]) -> Corpus:
    hours, heard = part.hours(member.items)
    return Corpus(member.name, member.lang, member.domain, member.weight, len(member.items), hours, heard)


def plan_draws(plan: MixturePlan, corpora: Sequence[Corpus]) -> Draws:
    """Refuses to repeat a corpus more often than the file allows."""
    share = shares(corpora, plan.alpha, plan.alpha_within)
    hours = plan.epoch_hours or sum(corpus.heard for corpus in corpora)
    draws = Draws(tuple(corpora), share, hours)
    most = int(draws.upsampling.argmax())
    times = float(draws.upsampling[most])
    if times > plan.max_repeat:
        corpus = corpora[most]
        raise MixtureError(
            f"{plan.path}: {corpus.name} ({corpus.lang or corpus.domain or 'no lang'}, {corpus.hours:.2f} h) "
            f"would be heard {times:.1f} times while all {sum(c.hours for c in corpora):.2f} h are heard "
            f"once; expected at most `max_repeat` ({plan.max_repeat:g}): raise `alpha` ({plan.alpha:g}), or "
            f"`max_repeat`"
        )
    return draws


def members_of(
    part: int, dataset: BatchDataset[Any], entry: Entry, values: Sequence[str] | None
) -> Iterator[Member]:
    """One, or one for each value of the entry's column."""
    if values is None:
        items = np.arange(len(dataset))
        yield Member(part, items, entry.name, entry.lang, entry.domain, entry.weight)
        return
    for value in sorted(set(values)):
        items = np.flatnonzero([other == value for other in values])
        lang, domain = (value if entry.by == name else getattr(entry, name) for name in ("lang", "domain"))
        yield Member(part, items, entry.name, lang, domain, entry.weight)
