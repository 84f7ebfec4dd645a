"""Codes or features of consecutive utterances, on disk while a long run is under way, so that none is lost.

A shard is its frames one after the other (`000012.rows`) and what they are of (`000012.json`), written last
and by rename: with it the shard is whole. Which utterances a shard has depends on the manifest alone, so any
number of processes may share the work, and another number may go on with it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]  # [T, D]
MOST_ROWS = 256
_SETTINGS = "settings.json"


class ShardError(ValueError):
    """An unfinished run that this one cannot go on with; the message says what differs."""


@dataclass(frozen=True)
class Span:
    """Shard `index` has the manifest's rows `first` … `stop`."""

    index: int
    first: int
    stop: int


def plan(sizes: npt.NDArray[np.int64], samples: int) -> list[Span]:
    """Consecutive rows, until they have `samples` samples or are many."""
    spans: list[Span] = []
    first = held = 0
    for i, size in enumerate(sizes.tolist()):
        held += size
        if held >= samples or i + 1 - first == MOST_ROWS or i + 1 == len(sizes):
            spans.append(Span(len(spans), first, i + 1))
            first, held = i + 1, 0
    return spans


@dataclass
class Shard:
    """Frames of each utterance, 0 where it failed, and why it did, by its place in the shard."""

    frames: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


class ShardFolder:
    """The shards of one split, `width` numbers a frame."""

    def __init__(self, folder: Path, dtype: npt.DTypeLike, width: int) -> None:
        self.folder, self.dtype, self.width = folder, np.dtype(dtype), width

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begins, or goes on with what was begun with the same settings."""
        path = self.folder / _SETTINGS
        if path.is_file():
            check_same(json.loads(path.read_text(encoding="utf-8")), settings, str(self.folder))
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dict(settings), sort_keys=True, ensure_ascii=False)
        _publish(path, lambda file: file.write(text.encode()))

    def remove(self) -> None:
        """Gone at once by its name; a removal that is cut short is ended by the next `open`."""
        aside = self.folder.with_name(self.folder.name + ".done")
        shutil.rmtree(aside, ignore_errors=True)
        if self.folder.exists():
            os.replace(self.folder, aside)
            shutil.rmtree(aside, ignore_errors=True)

    def read(self, index: int) -> Shard | None:
        """What the shard holds, if it is there."""
        try:
            raw = json.loads(self._path(index, "json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Shard(raw["frames"], {int(i): why for i, why in raw["failed"].items()})

    def rows(self, index: int, shard: Shard) -> Rows:
        """Its frames [sum of frames, D], mapped."""
        shape = (sum(shard.frames), self.width)
        if not shape[0]:
            return np.zeros(shape, dtype=self.dtype)
        return np.memmap(self._path(index, "rows"), dtype=self.dtype, mode="r", shape=shape)

    def has_rows(self, index: int) -> bool:
        return self._path(index, "rows").is_file()

    def drop_rows(self, index: int) -> None:
        self._path(index, "rows").unlink(missing_ok=True)

    @contextmanager
    def writing(self, index: int) -> Iterator[ShardWriter]:
        """The shard appears whole when the block ends well, and not at all otherwise."""
        part = self._part(index)
        try:
            with open(part, "wb") as file:
                writer = ShardWriter(self, file)
                yield writer
                flush(file)
            self._path(index, "json").unlink(missing_ok=True)  # of a shard that is made anew
            os.replace(part, self._path(index, "rows"))
        finally:
            part.unlink(missing_ok=True)
        text = json.dumps({"frames": writer.shard.frames, "failed": writer.shard.failed}, ensure_ascii=True)
        _publish(self._path(index, "json"), lambda file: file.write(text.encode()))

    def _part(self, index: int) -> Path:
        return self.folder / f".{index:06d}.{os.getpid()}"

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:06d}.{suffix}"


class ShardWriter:
    """Takes the utterances of a shard in their order."""

    def __init__(self, owner: ShardFolder, file: BinaryIO) -> None:
        self._owner, self._file, self.shard = owner, file, Shard()

    def add(self, found: Rows | str) -> None:
        """An utterance's frames [T, D], or why there are none."""
        if isinstance(found, str):
            self.shard.failed[len(self.shard.frames)] = found
            self.shard.frames.append(0)
            return
        self.shard.frames.append(len(found))
        self._file.write(np.ascontiguousarray(found, dtype=self._owner.dtype).data)


def check_same(
    before: Mapping[str, Any], now: Mapping[str, Any], where: str, refreshable: bool = True
) -> None:
    """Both as json holds them; the first few differences make the message."""
    now = json.loads(json.dumps(dict(now)))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        first = "; ".join(f"`{n}` was {before.get(n)!r} and is now {now.get(n)!r}" for n in names[:3])
        remedy = (
            ", or say --refresh to make this split anew" if refreshable else ": its splits are of one kind"
        )
        raise ShardError(
            f"{where} was begun with other settings: {first}; say the same as then, or name another "
            f"folder{remedy}"
        )


def _publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "wb") as file:
            write(file)
            flush(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def flush(file: BinaryIO) -> None:
    """To the disk: after a power cut a name must not stand for nothing."""
    file.flush()
    os.fsync(file.fileno())
