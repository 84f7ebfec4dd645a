"""A corpus' folder in, manifests of its wavs out: what `vqw2v manifest` does."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..common.locks import Rank, claimed
from ..common.progress import Progress
from .headers import Answer, Header, HeaderCache, default_workers, read_headers
from .publish import check_own, publish
from .rows import Limits, Row, make_rows, name_speaker, speaker_finder, tidy
from .sources import KINDS, SUFFIXES, Entry, Folder, Refusal, SourceError, find_kind, open_folder
from .splits import SplitPlan, assign

CACHE = ".headers"


@dataclass(frozen=True)
class CollectOptions:
    """What may be asked for, beside the folders; None leaves the choice to what the corpus is."""

    kind: str | None = None
    suffixes: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    plan: SplitPlan = field(default_factory=SplitPlan)
    speaker_from: str | None = None
    workers: int | None = None
    strict: bool = False


@dataclass(frozen=True)
class Collected:
    """What was written: rows by split, and what was left out."""

    kind: str
    splits: dict[str, list[Row]]
    refused: list[Refusal]
    num_files: int
    num_known: int  # files whose headers were in the cache
    header_seconds: float


def collect(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: CollectOptions | None = None,
    warn: Callable[[str], None] = lambda message: print(message, file=sys.stderr),
) -> Collected:
    """Writes OUT/train.tsv, OUT/valid.tsv, test sets that the corpus has, and OUT/refused.tsv.

    If nothing can be listed (`strict`: if anything cannot), it writes refused.tsv alone and raises.
    """
    options = options or CollectOptions()
    with Progress("files found") as walked:
        corpus = open_folder(os.fspath(folder), options.suffixes or SUFFIXES, walked.advance)
    kind = find_kind(corpus, options.kind)
    if options.suffixes is not None and not KINDS[kind].walks:
        raise SourceError(f"`--ext` chooses files of a folder; {kind} lists its files itself: leave it out")
    entries, refused = _read(corpus, kind, options.speaker_from)
    target = Path(out)
    check_own(target)
    with claimed(target, Rank()):
        began = time.monotonic()
        headers, num_known = _headers(corpus, entries, target, options.workers, warn)
        seconds = time.monotonic() - began
        made = list(make_rows(entries, headers, options.limits))
        rows = [row for row in made if isinstance(row, Row)]
        refused += [refusal for refusal in made if isinstance(refusal, Refusal)]
        _give_up_if(corpus, target, rows, refused, options.strict)
        splits: dict[str, list[Row]] = {"train": [], "valid": []}
        for row, split in zip(rows, assign([row.entry for row in rows], options.plan), strict=True):
            splits.setdefault(split, []).append(row)
        publish(target, corpus.root, splits, refused)
    return Collected(kind, splits, refused, len(headers), num_known, seconds)


def count_reasons(refused: Iterable[Refusal]) -> list[tuple[str, int, str]]:
    """(reason, how often, the first path), the most frequent first."""
    firsts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for refusal in sorted(refused):
        counts[refusal.group] += 1
        firsts.setdefault(refusal.group, refusal.path)
    return [(group, count, firsts[group]) for group, count in counts.most_common()]


def _read(corpus: Folder, kind: str, speaker_from: str | None) -> tuple[list[Entry], list[Refusal]]:
    """The corpus' entries, sorted by name."""
    finder = None if speaker_from is None else speaker_finder(speaker_from)
    entries, refused = [], list(corpus.refused)
    for item in KINDS[kind].read(corpus):
        if isinstance(item, Entry) and finder is not None:
            item = name_speaker(item, finder)
        if isinstance(item, Entry):
            item = tidy(item)
        if isinstance(item, Entry):
            entries.append(item)
        else:
            refused.append(item)
    entries.sort(key=lambda entry: (entry.path, entry.begin, entry.utt))
    return entries, refused


def _headers(
    corpus: Folder, entries: Sequence[Entry], out: Path, workers: int | None, warn: Callable[[str], None]
) -> tuple[dict[str, Answer], int]:
    """Each path's header or why it cannot be used, and how many were known already."""
    paths = list(dict.fromkeys(entry.path for entry in entries))
    full = [corpus.join(path) for path in paths]
    cache = HeaderCache(out / CACHE, warn)
    jobs = [(path, cache.known.get(path)) for path in full]
    answers: list[Answer] = []
    num_known = 0
    try:
        with Progress("headers", len(jobs)) as progress:
            for chunk in read_headers(jobs, default_workers() if workers is None else workers):
                pairs = list(zip(jobs[len(answers) :], chunk))  # noqa: B905  the chunk is the shorter
                num_known += sum(known is not None and known == answer for (_, known), answer in pairs)
                cache.add((path, answer) for (path, _), answer in pairs if isinstance(answer, Header))
                answers += chunk
                progress.advance(len(chunk))
    finally:
        cache.close(full)
    return dict(zip(paths, answers, strict=True)), num_known


def _give_up_if(
    corpus: Folder, out: Path, rows: Sequence[Row], refused: Sequence[Refusal], strict: bool
) -> None:
    if rows and not (strict and refused):
        return
    publish(out, corpus.root, None, refused)
    reasons = "; ".join(f"{count:,} × {group}" for group, count, _ in count_reasons(refused)[:3])
    if rows:
        raise SourceError(
            f"{len(refused):,} of {corpus.root} refused, and `--strict` wants none ({reasons}): "
            f"{out / 'refused.tsv'} names them"
        )
    raise SourceError(
        f"nothing of {corpus.root} can be used, so no manifest was written: all {len(refused):,} refused "
        f"({reasons}); {out / 'refused.tsv'} names them"
    )
