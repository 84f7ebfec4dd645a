"""A disk that loses its power: what a run asks of it is written down, and replayed up to a cut.

A name is safe once its folder was synced, bytes are once their file was. Of what is not, any part may be on
the disk after a cut: a suffix of the names is missing, as journals lose them, or any of them; bytes are those
of the last sync, of any moment since, cut short, or zeros.
"""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ROOT = 0
Place = tuple[int, str]  # a folder's number and a name in it


@dataclass(frozen=True)
class Op:
    """`data` or `sync` of a file or folder; `name`, `move` or `drop` of a name."""

    what: str
    number: int
    place: Place = (ROOT, "")
    source: Place | None = None
    content: bytes = b""


@dataclass
class Log:
    """Everything below `root` that was asked for, in order; files and folders go by numbers."""

    root: Path
    ops: list[Op] = field(default_factory=list)
    folders: set[int] = field(default_factory=lambda: {ROOT})
    names: dict[Place, int] = field(default_factory=dict)
    _written: dict[int, bytes] = field(default_factory=dict)
    _count: int = 0

    def see(self, event: str, args: tuple[object, ...]) -> None:
        """What Python is about to do."""
        if event == "open" and not isinstance(args[0], int) and int(args[2] or 0) & _WRITES:  # type: ignore[call-overload]
            self._open(self._place(args[0]), int(args[2] or 0))  # type: ignore[call-overload]
        elif event == "os.mkdir" and (place := self._place(args[0], args[2])) and place not in self.names:
            self.folders.add(self._new(place))
        elif event in ("os.remove", "os.rmdir"):
            self._drop(self._place(args[0], args[1]), event == "os.rmdir")
        elif event == "os.rename":
            self._move(self._place(args[0], args[2]), self._place(args[1], args[3]))

    def sync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if Path(path) == self.root:
            self.ops.append(Op("sync", ROOT))
        elif (place := self._place(path)) and place in self.names:
            self.capture()
            self.ops.append(Op("sync", self.names[place]))

    def capture(self) -> None:
        """The bytes of files as they are by now."""
        for place, number in self.names.items():
            if number in self._written:
                try:
                    content = self._path(place).read_bytes()
                except (FileNotFoundError, IsADirectoryError):
                    continue
                if content != self._written[number]:
                    self._written[number] = content
                    self.ops.append(Op("data", number, content=content))

    def _open(self, place: Place | None, flags: int) -> None:
        if place is None:
            return
        self.capture()
        if place not in self.names and flags & os.O_CREAT:
            self._written[self._new(place)] = b""
        elif place in self.names and flags & os.O_TRUNC:
            self.ops.append(Op("data", self.names[place]))
            self._written[self.names[place]] = b""

    def _new(self, place: Place) -> int:
        self._count += 1
        self.names[place] = self._count
        self.ops.append(Op("name", self._count, place))
        return self._count

    def _drop(self, place: Place | None, is_folder: bool) -> None:
        if place is None or place not in self.names:
            return
        number = self.names[place]
        if is_folder and any(folder == number for folder, _ in self.names):
            return  # it is not empty, and stays
        self.capture()
        self.ops.append(Op("drop", self.names.pop(place), place))

    def _move(self, source: Place | None, place: Place | None) -> None:
        if source is None or place is None or source not in self.names:
            assert (source is None) == (place is None), "moved into or out of what is watched"
            return
        self.capture()
        number = self.names.pop(source)
        self.names[place] = number
        self.ops.append(Op("move", number, place, source))

    def _place(self, path: object, folder: object = -1) -> Place | None:
        text = os.fsdecode(path)  # type: ignore[arg-type]
        if isinstance(folder, int) and folder >= 0:
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        parts = Path(os.path.abspath(text)).parts
        above = self.root.parts
        if parts[: len(above)] != above or len(parts) == len(above):
            return None
        number = ROOT
        for part in parts[len(above) : -1]:
            if (number, part) not in self.names:
                return None
            number = self.names[number, part]
        return number, parts[-1]

    def _path(self, place: Place) -> Path:
        by_number = {number: place for place, number in self.names.items()}
        parts = [place[1]]
        while place[0] != ROOT:
            place = by_number[place[0]]
            parts.append(place[1])
        return self.root.joinpath(*reversed(parts))


_log: Log | None = None
_is_hooked = False


def _hook(event: str, args: tuple[object, ...]) -> None:
    global _log
    if (log := _log) is not None and (event == "open" or event.startswith("os.")):
        _log = None  # what is looked at here is no work of the run's
        try:
            log.see(event, args)
        finally:
            _log = log


@contextmanager
def recorded(root: Path) -> Iterator[Log]:
    """What is done below the folder, which is empty at the beginning, until the block ends."""
    global _log, _is_hooked
    log, fsync = Log(root), os.fsync
    assert not any(root.iterdir())

    def sync(descriptor: int) -> None:
        global _log
        _log = None
        try:
            log.sync(descriptor)
        finally:
            _log = log

    if not _is_hooked:
        sys.addaudithook(_hook)  # for ever: hooks cannot be taken away
        _is_hooked = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        _log = log
        try:
            yield log
        finally:
            _log = None
            log.capture()
    assert os.fsync is fsync


@dataclass(frozen=True)
class Disk:
    """Files by their paths below the root; a folder is None."""

    files: dict[str, bytes | None]

    @property
    def public(self) -> dict[str, bytes]:
        """Files that have their names: no part of the path begins with a dot."""
        return {
            path: content
            for path, content in self.files.items()
            if content is not None and not any(part.startswith(".") for part in path.split("/"))
        }

    def write(self, root: Path) -> None:
        """In place of what is there."""
        shutil.rmtree(root)
        root.mkdir()
        for path, content in sorted(self.files.items()):
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content)


def after_cut(log: Log, cut: int, rng: random.Random, keep_all: bool = False) -> Disk:
    """What is on the disk where the power goes before operation `cut`; with `keep_all`, after a kill."""
    ops = log.ops[:cut]
    names: dict[Place, int] = {}
    kept = [(True, True)] * cut if keep_all else _kept(ops, rng)
    for op, (is_there, source_is_gone) in zip(ops, kept, strict=True):
        if not is_there:
            continue
        if op.what in ("name", "move"):
            names[op.place] = op.number
            if op.source is not None and source_is_gone and names.get(op.source) == op.number:
                del names[op.source]
        elif op.what == "drop" and names.get(op.place) == op.number:
            del names[op.place]
    contents = {number: _content(ops, number, rng, keep_all) for number in names.values()}
    return Disk(
        {
            path: None if number in log.folders else contents[number]
            for path, number in _paths(names, ROOT, "")
        }
    )


def _kept(ops: list[Op], rng: random.Random) -> list[tuple[bool, bool]]:
    """Of each operation on names: whether it is on the disk, and whether the name moved from is gone."""
    last_sync = {op.number: i for i, op in enumerate(ops) if op.what == "sync"}
    places = [i for i, op in enumerate(ops) if op.what in ("name", "move", "drop")]
    safe = [i for i in places if last_sync.get(ops[i].place[0], -1) > i]
    is_journal, share = rng.random() < 0.5, rng.choice((0.1, 0.5, 0.9))
    end = rng.randint(safe[-1] + 1 if safe else 0, len(ops))  # of a journal
    kept = []
    for i, op in enumerate(ops):
        is_there = i in safe or (i < end if is_journal else rng.random() < share)
        is_gone = is_there
        if op.source is not None and op.source[0] != op.place[0] and not is_journal:
            is_gone = last_sync.get(op.source[0], -1) > i or (is_there and rng.random() < share)
        kept.append((is_there, is_gone))
    return kept


def _content(ops: list[Op], number: int, rng: random.Random, keep_all: bool) -> bytes:
    safe, later = b"", [b""]
    for op in ops:
        if op.number == number and op.what == "data":
            later.append(op.content)
        elif op.number == number and op.what == "sync":
            safe, later = later[-1], [later[-1]]
    if keep_all or len(later) == 1:
        return later[-1]
    newest = later[-1]
    return rng.choice([safe, *later, newest[: rng.randint(0, len(newest))], bytes(len(newest))])


def _paths(names: dict[Place, int], folder: int, above: str) -> Iterator[tuple[str, int]]:
    for (where, name), number in names.items():
        if where == folder:
            yield above + name, number
            yield from _paths(names, number, f"{above}{name}/")


def published(log: Log) -> dict[str, set[bytes]]:
    """All bytes that each name stood for when it was given, of names without a dot at their beginning."""
    found: dict[str, set[bytes]] = {}
    for i, op in enumerate(log.ops):
        if op.what in ("name", "move"):
            for path, content in after_cut(log, i + 1, random.Random(0), keep_all=True).public.items():
                found.setdefault(path, set()).add(content)
    return found
