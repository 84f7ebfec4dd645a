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
from .gather import Gathered, Sources, gather
from .headers import Answer, Header, HeaderCache, default_workers, read_headers
from .publish import check_own, publish
from .rows import Limits, Row, make_rows
from .sources import Refusal, SourceError
from .splits import SplitPlan, assign

CACHE = ".headers"


@dataclass(frozen=True)
class CollectOptions:
    """What may be asked for, beside the folders; None leaves the choice to what the corpus is."""

    sources: Sources = field(default_factory=Sources)
    limits: Limits = field(default_factory=Limits)
    plan: SplitPlan = field(default_factory=SplitPlan)
    workers: int | None = None
    strict: bool = False
    trim: float | None = None  # seconds of silence to keep at each end; None: all of it


@dataclass(frozen=True)
class Collected:
    """What was written: rows by split, and what was left out."""

    kind: str
    splits: dict[str, list[Row]]
    refused: list[Refusal]
    num_files: int
    num_known: int  # files whose headers were in the cache
    header_seconds: float
    notes: list[str] = field(default_factory=list)  # how tables were read, and what was not used


def collect(
    folders: str | os.PathLike[str] | Sequence[str],
    out: str | os.PathLike[str],
    options: CollectOptions | None = None,
    warn: Callable[[str], None] = lambda message: print(message, file=sys.stderr),
) -> Collected:
    """Writes OUT/train.tsv, OUT/valid.tsv, test sets that the corpora have, and OUT/refused.tsv.

    If nothing can be listed (`strict`: if anything cannot), it writes refused.tsv alone and raises.
    """
    options = options or CollectOptions()
    paths = [os.fspath(folders)] if isinstance(folders, (str, os.PathLike)) else list(folders)
    with Progress("files found") as walked:
        found = gather(paths, options.sources, walked.advance)
    target, refused = Path(out), found.refused
    check_own(target)
    cut = _cutter(options, found.root)
    with claimed(target, Rank()):
        began = time.monotonic()
        headers, num_known = _headers(found, target, options.workers, warn)
        seconds = time.monotonic() - began
        made = list(make_rows(found.entries, headers, options.limits))
        if cut is not None:
            left = iter(cut([row for row in made if isinstance(row, Row)]))
            made = [next(left) if isinstance(row, Row) else row for row in made]
        rows = [row for row in made if isinstance(row, Row)]
        refused += [refusal for refusal in made if isinstance(refusal, Refusal)]
        _give_up_if(found.root, target, rows, refused, options.strict)
        splits: dict[str, list[Row]] = {"train": [], "valid": []}
        for row, split in zip(rows, assign([row.entry for row in rows], options.plan), strict=True):
            splits.setdefault(split, []).append(row)
        publish(target, found.root, splits, refused)
    return Collected(found.kind, splits, refused, len(headers), num_known, seconds, found.notes)


def _cutter(options: CollectOptions, root: str) -> Callable[[list[Row]], list[Row | Refusal]] | None:
    """What takes the silence from the rows' ends, if it is to be taken."""
    if options.trim is None:
        return None
    from .trim import check_trim, trimmed  # numpy and the audio itself, which headers do without

    check_trim(options.trim)
    workers = default_workers() if options.workers is None else options.workers
    return lambda rows: trimmed(rows, root, options.trim or 0.0, workers)


def count_reasons(refused: Iterable[Refusal]) -> list[tuple[str, int, str]]:
    """(reason, how often, the first path), the most frequent first."""
    firsts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for refusal in sorted(refused):
        counts[refusal.group] += 1
        firsts.setdefault(refusal.group, refusal.path)
    return [(group, count, firsts[group]) for group, count in counts.most_common()]


def _headers(
    found: Gathered, out: Path, workers: int | None, warn: Callable[[str], None]
) -> tuple[dict[str, Answer], int]:
    """Each path's header or why it cannot be used, and how many were known already."""
    paths = list(dict.fromkeys(entry.path for entry in found.entries))
    full = [os.path.join(found.root, path) for path in paths]
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


def _give_up_if(root: str, out: Path, rows: Sequence[Row], refused: Sequence[Refusal], strict: bool) -> None:
    if rows and not (strict and refused):
        return
    publish(out, root, None, refused)
    reasons = "; ".join(f"{count:,} × {group}" for group, count, _ in count_reasons(refused)[:3])
    if rows:
        raise SourceError(
            f"{len(refused):,} of {root} refused, and `--strict` wants none ({reasons}): "
            f"{out / 'refused.tsv'} names them"
        )
    raise SourceError(
        f"nothing of {root} can be used, so no manifest was written: all {len(refused):,} refused "
        f"({reasons}); {out / 'refused.tsv'} names them"
    )
