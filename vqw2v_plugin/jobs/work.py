"""Audio of a manifest → frames: who encodes it, alone or together, in one thread, several or beside a GPU.

Results come in the order of what was given, and a failure is one utterance's own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar, Union

from ..audio.reading import Samples
from ..common.locks import Rank
from ..corpora.manifest import Utterance
from ..features.failures import FILE_ERRORS, reason_of
from ..features.together import batches
from ..stores.shards import Rows

Encode = Callable[[Utterance], Rows]  # [T, D]
Heard = Sequence[tuple[Utterance, Samples]]
Found = tuple[Union[Rows, str, None], str]  # frames, or why there are none, or as they are; what the file is
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Together:
    """Several utterances at a time, as a GPU wants them."""

    fits: Callable[[Sequence[int]], bool] = lambda samples: False  # together; if not, one alone is `encode`'s
    begin: Callable[[Heard], Callable[[], list[Rows]]] = lambda heard: list  # answers what waits for them


@dataclass(frozen=True)
class Ahead:
    """Processes that read audio, and what is made here of what they have read."""

    readers: int
    read: Callable[[Utterance], Samples]
    encode: Callable[[Utterance, Samples], Rows]
    together: Together = Together()


@dataclass(frozen=True)
class Work:
    """How the encoding is shared out."""

    encode: Encode
    workers: int = 1
    prepare: Callable[[], None] = lambda: None  # what each thread calls first
    ahead: Ahead | None = None  # audio that other processes read, as a GPU wants it


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


def read_ahead(
    begin: Callable[[_In, ProcessPoolExecutor], Callable[[], _Out]], items: Iterable[_In], how: Work
) -> Iterator[_Out]:
    """Each item begun in another process, a few ahead, and ended here in the items' order.

    The processes are fresh: a fork would inherit what this one has on its GPU.
    """
    how.prepare()
    ahead: deque[Callable[[], _Out]] = deque()
    readers = how.ahead.readers if how.ahead is not None else 1
    pool = ProcessPoolExecutor(readers, get_context("spawn"))
    try:
        for item in items:
            ahead.append(begin(item, pool))
            if len(ahead) > 2 * readers:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()
    except BrokenProcessPool:
        raise OSError(
            "a process that reads audio has died (killed, or out of memory?); the same command goes on from "
            "here, with fewer of them by `--workers`"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_READERS = 8  # for one GPU


def usual_workers(device: str, rank: Rank) -> int:
    """All cores for a lone process, one for each of several; a few threads feed a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (cores if rank.total == 1 else 1) if device == "cpu" else min(4, cores)


def usual_work(asked: int | None, device: str, rank: Rank) -> dict[str, int]:
    """Options of a job: threads on a processor; beside a GPU one thread, and processes that read for it."""
    workers = asked or usual_workers(device, rank)
    return {"workers": workers} if device == "cpu" else {"readers": asked or min(_READERS, 2 * workers)}


class Read(NamedTuple):
    """Of an utterance: its samples or why there are none, or without an utterance what was there before."""

    shard: int
    audio: Any  # or why there is none; without an utterance its frames
    file: str
    utterance: Utterance | None = None

    @property
    def is_read(self) -> bool:
        return self.utterance is not None and not isinstance(self.audio, str)

    @property
    def samples(self) -> int:
        """That are to be encoded."""
        return len(self.audio) if self.is_read else 0


def encoded(read: Iterable[Read], ahead: Ahead) -> Iterator[Found]:
    """What was read, in its order, by batches of what fits together; the next is begun before one is there.

    A batch is of one shard: what lies beside an utterance does not depend on where a killed run goes on.
    """
    pending: deque[Callable[[], Iterator[Found]]] = deque()
    for _, shard in groupby(read, lambda each: each.shard):
        for batch in batches(shard, lambda each: each.samples, ahead.together.fits):
            pending.append(_begun(batch, ahead))
            if len(pending) > 1:
                yield from pending.popleft()()
    while pending:
        yield from pending.popleft()()


def _begun(batch: Sequence[Read], ahead: Ahead) -> Callable[[], Iterator[Found]]:
    """Where one of a batch's utterances fails, each is encoded again by itself, so that it is named."""
    heard = [(each.utterance, each.audio) for each in batch if each.utterance is not None and each.is_read]

    def alone() -> list[Rows | str]:
        return [_alone(ahead, utterance, audio) for utterance, audio in heard]

    finish: Callable[[], Sequence[Rows | str]] = alone
    if heard and ahead.together.fits([len(audio) for _, audio in heard]):
        try:
            finish = ahead.together.begin(heard)
        except FILE_ERRORS as error:
            _raise_if_not_of_files(error)

    def found() -> Iterator[Found]:
        try:
            made = iter(finish())
        except FILE_ERRORS as error:
            _raise_if_not_of_files(error)
            made = iter(alone())
        for each in batch:
            yield (next(made), each.file) if each.is_read else (each.audio, each.file)

    return found


def _alone(ahead: Ahead, utterance: Utterance, audio: Samples) -> Rows | str:
    return attempted(lambda each: ahead.encode(each, audio), utterance)


def _raise_if_not_of_files(error: Exception) -> None:
    if reason_of(error, "") is None:
        raise error


def attempted(encode: Callable[[Utterance], _Out], utterance: Utterance) -> _Out | str:
    try:
        return encode(utterance)
    except FILE_ERRORS as error:
        if (reason := reason_of(error, utterance.path)) is None:
            raise
        return reason
