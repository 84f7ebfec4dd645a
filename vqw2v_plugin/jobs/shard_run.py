"""Audio of a manifest → shards: the work of one process of a run, its failures named and left behind.

What an utterance becomes is the caller's; here is who does which, in what order, and what is done again.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from ..common.locks import Rank
from ..common.progress import Progress
from ..common.words import sentence, some_of
from ..corpora.manifest import Manifest
from ..stores.shards import Rows, Shard, ShardFolder, Span
from .work import Found, Read, Work, attempted, encoded, in_order, read_ahead

_PATIENCE = 3  # shards in a row that cannot be written
_Out = TypeVar("_Out")


class DiskError(OSError):
    """Shards could not be written; what was is kept."""


class _Todo(NamedTuple):
    """A shard to make: all of it, or of an old one the utterances at these places."""

    span: Span
    old: Shard | None
    again: frozenset[int]


def make_shards(
    manifest: Manifest, folder: ShardFolder, spans: Sequence[Span], work: Work, rank: Rank
) -> None:
    """Makes this rank's shards that are not there, and again what failed or was replaced since."""
    todo = _to_do(manifest, folder, spans[rank.number :: rank.total])
    rows = ((job, i) for job in todo for i in range(job.span.first, job.span.stop))

    def kept(item: tuple[_Todo, int]) -> Found | None:
        job, i = item
        if job.old is not None and folder.has_rows(job.span.index) and i - job.span.first not in job.again:
            return None, job.old.audio[i - job.span.first]
        return None

    def attempt(item: tuple[_Todo, int]) -> Found:
        if (there := kept(item)) is not None:
            return there
        utterance = manifest[item[1]]
        audio = _known_by(utterance.path)  # before it is read: what replaces it then is noticed later
        return attempted(work.encode, utterance), audio

    def begin(item: tuple[_Todo, int], pool: ProcessPoolExecutor) -> Callable[[], Read]:
        shard = item[0].span.index
        if (there := kept(item)) is not None:
            return lambda: Read(shard, *there)
        utterance, ahead = manifest[item[1]], work.ahead
        assert ahead is not None
        audio, reading = _known_by(utterance.path), pool.submit(ahead.read, utterance)
        return lambda: Read(shard, attempted(lambda _: reading.result(), utterance), audio, utterance)

    if work.ahead is not None:
        results = encoded(read_ahead(begin, rows, work), work.ahead)
    else:
        results = in_order(attempt, rows, work)
    lost = in_a_row = 0
    with Progress("utterances", sum(job.span.stop - job.span.first for job in todo)) as progress:
        for span, old, _ in todo:
            found = _advancing(islice(results, span.stop - span.first), progress)
            try:
                _write(folder, span, old, found)
                in_a_row = 0
            except OSError as error:
                lost, in_a_row, reason = lost + 1, in_a_row + 1, error.strerror or str(error)
                _say(f"shard {span.index} of {folder.folder} was not written: {reason}")
                if in_a_row == _PATIENCE:
                    break
                deque(found, maxlen=0)  # what is left of this shard
    if lost:
        raise DiskError(
            f"{folder.folder}: {lost} shards were not written ({reason}); what was is kept: make room, and "
            f"run the same command again"
        )


def _to_do(manifest: Manifest, folder: ShardFolder, spans: Sequence[Span]) -> list[_Todo]:
    """Shards that are not there, are damaged, or hold what failed or was replaced."""
    todo, replaced = [], []
    for span in spans:
        shard = folder.read(span.index)
        if shard is None:
            if folder.is_damaged(span.index):
                _say(f"shard {span.index} of {folder.folder} is damaged and is made anew")
            todo.append(_Todo(span, None, frozenset()))
            continue
        paths = [manifest[i].path for i in range(span.first, span.stop)]
        now = zip(paths, shard.audio, strict=True)
        changed = [i for i, (path, audio) in enumerate(now) if _known_by(path) != audio]
        changed = [i for i in changed if i not in shard.failed]
        replaced += [paths[i] for i in changed]
        if shard.failed or changed:
            todo.append(_Todo(span, shard, frozenset({*shard.failed, *changed})))
    if replaced:
        _say(
            f"{len(replaced)} utterances are of audio that was replaced since this run was begun, and are "
            f"made anew: {some_of(dict.fromkeys(replaced))}"
        )
    return todo


def _known_by(path: str) -> str:
    """What tells a file from another under its name: its size and when it was written."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def complete(folder: ShardFolder, spans: Sequence[Span]) -> bool:
    return all(folder.read(span.index) is not None for span in spans)


def _write(folder: ShardFolder, span: Span, old: Shard | None, found: Iterator[Found]) -> None:
    """Writes the shard if anything of it is new; what was there already comes from the old one."""
    results: Iterable[Found] = found
    if old is not None:
        results = list(found)
        texts = (_text(result) for result, _ in results)
        if all(text is None or text == old.failed.get(i) for i, text in enumerate(texts)):
            return
        ends = np.cumsum(old.frames)
        if any(result is None for result, _ in results):
            rows = folder.rows(span.index, old)
            for i, (result, audio) in enumerate(results):
                if result is None:
                    results[i] = rows[ends[i] - old.frames[i] : ends[i]], audio
    with folder.writing(span.index) as writer:
        for result, audio in results:
            assert result is not None
            writer.add(result, audio)
            if isinstance(result, str):
                _say(f"skipped: {result}")


def _text(result: Rows | str | None) -> Rows | str | None:
    """Frames compare as no text does."""
    return result if result is None or isinstance(result, str) else ""


def _advancing(results: Iterator[_Out], progress: Progress) -> Iterator[_Out]:
    for result in results:
        progress.advance()
        yield result


def _say(message: str) -> None:
    print("vqw2v:", sentence(message), file=sys.stderr)
