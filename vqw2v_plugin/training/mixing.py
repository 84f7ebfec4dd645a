"""How models learn: `data` is a folder, or a file that names several corpora to learn from together.

SPLIT            of each corpus that has it: trained on in shares, validated each utterance once
SPLIT_NAME       of the corpora of that language or domain: `--valid-subset valid,valid_de,valid_phone`
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Set, Tuple

from fairseq.data import data_utils

from ..common.splits import split_there
from ..common.words import some_of
from ..corpora.mixture import Entry, MixtureError, MixturePlan, check_name, is_mixture, read_mixture
from .datasets.base import BatchDataset
from .datasets.mixture import Member, MixtureDataset, corpus_of, members_of, plan_draws

logger = logging.getLogger(__name__)

_MOST_CORPORA = 10_000


def entries_of(data: str) -> Tuple[Entry, ...]:
    """The folders that `data` stands for: itself, or those that it names."""
    return read_mixture(data).entries if is_mixture(data) else (Entry(data),)


def look_into_mixtures() -> None:
    """From here on fairseq looks for validation sets in a mixture's folders; safe to call twice."""
    original = data_utils._find_extra_valid_paths
    if getattr(original, "looks_into_mixtures", False):
        return

    def _find_extra_valid_paths(data: str) -> Set[str]:
        return set().union(*(original(entry.data) for entry in entries_of(data)))

    _find_extra_valid_paths.looks_into_mixtures = True  # type: ignore[attr-defined]
    data_utils._find_extra_valid_paths = _find_extra_valid_paths


@dataclass(frozen=True)
class Mixer:
    """Makes the data sets of a task: of one folder its own, of several a mixture."""

    suffix: str  # of the file SPLIT.suffix by which a folder has a split
    make: Callable[[Entry, str], BatchDataset[Any]]
    seed: int = 1
    strict: bool = False

    def load(self, data: str, split: str, trains: bool) -> BatchDataset[Any]:
        """`trains`: it is drawn from in shares."""
        if not is_mixture(data):
            return self.make(Entry(data), split)
        plan = read_mixture(data)
        parts: list[BatchDataset[Any]] = []
        members: list[Member] = []
        for entry in plan.entries:
            for own, name in self._readings(entry, split, trains):
                dataset = self.make(entry, own)
                found = [m for m in _members(len(parts), dataset, entry) if name in ("", m.lang, m.domain)]
                if found:
                    parts.append(dataset)
                    members += found
                break
        return self._mixed(plan, split, parts, members, trains)

    def _readings(self, entry: Entry, split: str, trains: bool) -> Iterator[Tuple[str, str]]:
        """What the split may be in the entry's folder: (its name there, the language or domain wanted)."""
        names = [(split, ""), *((split[:i], split[i + 1 :]) for i, c in enumerate(split) if c == "_")]
        for own, name in names:
            there = f"{split_there(entry.data, own, self.suffix)}.{self.suffix}"
            wanted = not name or entry.by is not None or name in (entry.lang, entry.domain)
            if wanted and (Path(entry.data) / there).exists():
                yield own, name
        if trains and "_" not in split:
            yield split, ""  # which is not there, and is said to be missing

    def _mixed(
        self,
        plan: MixturePlan,
        split: str,
        parts: Sequence[BatchDataset[Any]],
        members: Sequence[Member],
        trains: bool,
    ) -> MixtureDataset:
        if not members:
            raise MixtureError(
                f"{plan.path}: no corpus has the split {split!r}; expected one of which a folder holds "
                f"SPLIT.{self.suffix}, or SPLIT_NAME with the name of a language or domain{_names(plan)}"
            )
        if len(members) > _MOST_CORPORA:
            raise MixtureError(
                f"{plan.path}: names {len(members):,} corpora; expected at most {_MOST_CORPORA:,}"
            )
        corpora = [corpus_of(member, parts[member.part]) for member in members]
        draws = plan_draws(plan, corpora) if trains else None
        langs, domains = ({getattr(c, name) for c in corpora} - {""} for name in ("lang", "domain"))
        logger.info(
            f"{plan.path}: {split} is of {len(corpora)} corpora, {sum(c.hours for c in corpora):.2f} h in "
            f"{len(langs)} languages and {len(domains)} domains"
        )
        return MixtureDataset(f"{plan.path}:{split}", parts, members, draws, self.seed, self.strict)


def _names(plan: MixturePlan) -> str:
    """Those that the file itself says; others are columns of manifests."""
    found = {name for entry in plan.entries for name in (entry.lang, entry.domain) if name}
    return f" ({some_of(sorted(found), 9)})" if found else ""


def _members(number: int, dataset: BatchDataset[Any], entry: Entry) -> list[Member]:
    values: Optional[list[str]] = None
    if entry.by is not None:
        try:
            values = dataset.column(entry.by)
        except ValueError as error:
            raise MixtureError(f"{entry.where}: `by` is {entry.by!r}, but {error}") from None
        if len(set(values)) > _MOST_CORPORA:
            raise MixtureError(
                f"{entry.where}: `by: {entry.by}` makes {len(set(values)):,} corpora; expected at most "
                f"{_MOST_CORPORA:,}"
            )
        for value in sorted(set(values)):
            check_name(value, f"{entry.where} ({dataset.name})", entry.by)
    return list(members_of(number, dataset, entry, values))


def told(dataset: MixtureDataset, batches: int, settings: Mapping[str, Any]) -> str:
    """What a training hears how often; `batches`: of an epoch, on each rank."""
    assert dataset.draws is not None
    optimization = settings.get("optimization", {})
    steps = optimization.get("update_freq") or [1]
    updates = math.ceil(batches / int(steps[0]))
    limits = [
        optimization[name] / size
        for name, size in (("max_update", updates), ("max_epoch", 1))
        if optimization.get(name)
    ]
    epochs = min(limits, default=math.nan)
    told_epochs = f"{epochs:.1f}" if epochs >= 0.95 else f"{epochs:.2g}"
    hours, heard = (sum(getattr(c, name) for c in dataset.draws.corpora) for name in ("hours", "heard"))
    crops = f" (crops hear {heard:.2f} of {hours:.2f} h)" if heard < 0.99 * hours else ""
    head = f"{dataset.name}: {dataset.draws.hours:.2f} h are heard an epoch{crops}"
    head += "" if math.isnan(epochs) else f", and there will be {told_epochs} epochs of {updates:,} updates"
    return f"{head}\n{dataset.draws.table(epochs)}"


def need_alike(data: str, found: Mapping[str, Any], what: str) -> Any:
    """What all folders of a mixture have in common; refuses one that differs from the first."""
    first = next(iter(found))
    others = [name for name, value in found.items() if value != found[first]]
    if others:
        raise MixtureError(
            f"{data}: {what} of {some_of(others, 3)} is not that of {first}; corpora that are mixed have one"
        )
    return found[first]
