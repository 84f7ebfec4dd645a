"""Codes or features of consecutive utterances, on disk while a long run is under way, so that none is lost.

A shard is its frames one after the other (`000012.rows`) and what they are of (`000012.json`), written last
and by rename: with it the shard is whole. Both are known by their checksums when they are met again. Which
utterances a shard has depends on the manifest alone, so any number of processes may share the work, and
another number may go on with it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..common.files import make_folder, part_of, publish_in_order, remove, sync_file, sync_folder, write_whole
from ..common.inputs import read_bytes
from .folder import StoreError, check_same

Rows = npt.NDArray[Any]  # [T, D]
MOST_ROWS = 256
_SETTINGS = "settings.json"


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
    """Frames of each utterance, 0 where it failed, and why it did, by its place in the shard.

    `audio` is what its file was known by when it was read; `checksum` is that of the frames.
    """

    frames: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    audio: list[str] = field(default_factory=list)
    checksum: int = 0


class MissingShardError(RuntimeError):
    """A shard that was there is being made anew by another process."""


class DamagedShardError(StoreError):
    """Frames that are not those that were written; the message names the file."""


class ShardFolder:
    """The shards of one split, `width` numbers a frame.

    With `gathers` the frames of a shard may have been moved to where they stay.
    """

    def __init__(self, folder: Path, dtype: npt.DTypeLike, width: int, gathers: bool = True) -> None:
        self.folder, self.dtype, self.width, self._gathers = folder, np.dtype(dtype), width, gathers

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begins, or goes on with what was begun with the same settings."""
        path = self.folder / _SETTINGS
        if path.is_file():
            check_same(_read_settings(path), settings, str(self.folder))
            return
        make_folder(self.folder)
        write_whole(path, json.dumps(dict(settings), sort_keys=True))

    def remove(self) -> None:
        """Gone at once by its name; a removal that is cut short is ended by the next."""
        aside = self.folder.with_name(self.folder.name + ".done")
        shutil.rmtree(aside, ignore_errors=True)
        if self.folder.exists():
            os.replace(self.folder, aside)
            sync_folder(self.folder.parent)  # before anything in it goes: half of it would be no shards
            shutil.rmtree(aside, ignore_errors=True)

    def read(self, index: int) -> Shard | None:
        """What the shard holds, if it is there and whole."""
        try:
            shard = _parse(read_bytes(self._path(index, "json")), index)
        except (FileNotFoundError, ValueError):
            return None
        try:
            size = self._path(index, "rows").stat().st_size
        except FileNotFoundError:
            return shard if self._gathers or not any(shard.frames) else None
        return shard if size == sum(shard.frames) * self.width * self.dtype.itemsize else None

    def is_damaged(self, index: int) -> bool:
        """There is something of it, which `read` does not take for a shard."""
        return self._path(index, "json").exists() and self.read(index) is None

    def whole(self, index: int) -> Shard:
        """What the shard holds; it is to be there."""
        shard = self.read(index)
        if shard is None:
            raise MissingShardError(f"{self._path(index, 'json')}: is gone; run the same command again")
        return shard

    def rows(self, index: int, shard: Shard) -> Rows:
        """Its frames [sum of frames, D], mapped; where they are damaged, the shard is no longer there."""
        shape, path = (sum(shard.frames), self.width), self._path(index, "rows")
        if not shape[0]:
            return np.zeros(shape, dtype=self.dtype)
        rows = np.memmap(path, dtype=self.dtype, mode="r", shape=shape)
        if zlib.crc32(rows.data) != shard.checksum:
            remove(self._path(index, "json"))
            raise DamagedShardError(
                f"{path}: is damaged, its checksum is another than when it was written; run the same command "
                f"again, which makes this shard anew"
            )
        return rows

    def has_rows(self, index: int) -> bool:
        return self._path(index, "rows").is_file()

    def drop_rows(self, index: int) -> None:
        self._path(index, "rows").unlink(missing_ok=True)

    @contextmanager
    def writing(self, index: int) -> Iterator[ShardWriter]:
        """The shard appears whole when the block ends well, and not at all otherwise."""
        rows, about = self._path(index, "rows"), self._path(index, "json")
        part = part_of(rows)
        try:
            with open(part, "wb") as file:
                writer = ShardWriter(self, file)
                yield writer
                sync_file(file)
            if about.exists():  # that of a shard which is made anew
                remove(about)
            publish_in_order([(part, rows)])
        finally:
            part.unlink(missing_ok=True)
        write_whole(about, _format(writer.shard, index))

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"{index:06d}.{suffix}"


class ShardWriter:
    """Takes the utterances of a shard in their order."""

    def __init__(self, owner: ShardFolder, file: BinaryIO) -> None:
        self._owner, self._file, self.shard = owner, file, Shard()

    def add(self, found: Rows | str, audio: str = "") -> None:
        """An utterance's frames [T, D], or why there are none; and what its file is known by."""
        self.shard.audio.append(audio)
        if isinstance(found, str):
            self.shard.failed[len(self.shard.frames)] = found
            self.shard.frames.append(0)
            return
        self.shard.frames.append(len(found))
        rows = np.ascontiguousarray(found, dtype=self._owner.dtype)
        self.shard.checksum = zlib.crc32(rows.data, self.shard.checksum)
        self._file.write(rows.data)


def _format(shard: Shard, index: int) -> str:
    """The json, with a checksum of its own before it."""
    text = json.dumps({"shard": index, **dataclasses.asdict(shard)})
    return f"{zlib.crc32(text.encode()):08x} {text}"


def _parse(content: bytes, index: int) -> Shard:
    checksum, _, text = content.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        raise ValueError("is damaged")
    raw = json.loads(text)
    if raw.pop("shard") != index:
        raise ValueError("is another shard's")
    return Shard(**{**raw, "failed": {int(i): why for i, why in raw["failed"].items()}})


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(settings, dict):
            return settings
        reason = f"holds a {type(settings).__name__}"
    except ValueError as error:
        reason = str(error)
    raise StoreError(
        f"{path}: {reason}; expected a JSON object with the settings of the run that was begun: say "
        f"--refresh to make this split anew"
    )
