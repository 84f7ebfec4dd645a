"""Audio of a manifest → shards: the work of one process of a run, its failures named and left behind.

What an utterance becomes is the caller's; here is who does which, in what order, and what is done again.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ..common.locks import Rank
from ..common.progress import Progress
from ..corpora.manifest import Manifest, Utterance
from ..features.failures import FILE_ERRORS, reason_of
from ..stores.shards import Rows, Shard, ShardFolder, Span

Encode = Callable[[Utterance], Rows]  # [T, D]
_PATIENCE = 3  # shards in a row that cannot be written
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class DiskError(OSError):
    """Shards could not be written; what was is kept."""


@dataclass(frozen=True)
class Work:
    """How the encoding is shared out."""

    encode: Encode
    workers: int = 1
    prepare: Callable[[], None] = lambda: None  # what each thread calls first


def make_shards(
    manifest: Manifest, folder: ShardFolder, spans: Sequence[Span], work: Work, rank: Rank
) -> None:
    """Makes this rank's shards that are not there, and tries again what failed."""
    todo: list[tuple[Span, Shard | None]] = []
    for span in spans[rank.number :: rank.total]:
        shard = folder.read(span.index)
        if shard is None or shard.failed:
            todo.append((span, shard))
    rows = ((span, old, i) for span, old in todo for i in range(span.first, span.stop))

    def attempt(item: tuple[Span, Shard | None, int]) -> Rows | str | None:
        span, old, i = item
        known = old is not None and folder.has_rows(span.index) and i - span.first not in old.failed
        return None if known else _try(work.encode, manifest[i])

    results = in_order(attempt, rows, work)
    lost = in_a_row = 0
    with Progress("utterances", sum(span.stop - span.first for span, _ in todo)) as progress:
        for span, old in todo:
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


def complete(folder: ShardFolder, spans: Sequence[Span]) -> bool:
    return all(folder.read(span.index) is not None for span in spans)


def in_order(work: Callable[[_In], _Out], items: Iterable[_In], how: Work) -> Iterator[_Out]:
    """`work` of each item by some threads, the results in the items' order and never many ahead."""
    if how.workers == 1:
        how.prepare()
        yield from map(work, items)
        return
    ahead: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(how.workers, initializer=how.prepare) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * how.workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _try(encode: Encode, utterance: Utterance) -> Rows | str:
    try:
        return encode(utterance)
    except FILE_ERRORS as error:
        if (reason := reason_of(error, utterance.path)) is None:
            raise
        return reason


def _write(folder: ShardFolder, span: Span, old: Shard | None, found: Iterator[Rows | str | None]) -> None:
    """Writes the shard if anything of it is new; what was there already comes from the old one."""
    results = list(found) if old is not None else found
    if isinstance(results, list) and old is not None:
        if all(result is None or result == old.failed.get(i) for i, result in enumerate(map(_text, results))):
            return
        rows, begin = folder.rows(span.index, old), 0
        for i, frames in enumerate(old.frames):
            if results[i] is None:
                results[i] = rows[begin : begin + frames]
            begin += frames
    with folder.writing(span.index) as writer:
        for result in results:
            assert result is not None
            writer.add(result)
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
    """A line on stderr that any terminal can print."""
    print("vqw2v:", message.encode("utf-8", "backslashreplace").decode("utf-8"), file=sys.stderr)
