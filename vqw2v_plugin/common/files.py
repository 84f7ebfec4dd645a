"""How the files of every arrow get their names: written beside them, synced, renamed.

While it is being written, `NAME` is called `.NAME.part`; what a killed run left there is overwritten by
whoever writes `NAME` next. A name is on the disk only after all bytes of its file are, so that no power cut
leaves one that stands for half a file. A link stays, and what it points to is written (`targets.py`).
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from .targets import followed, for_a_file, pour, stream_behind, target_of

_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


def part_of(path: Path) -> Path:
    """What `path` is called until it is whole."""
    return path.with_name(f".{path.name}.part")


def write_whole(path: Path, content: str | bytes, sync: bool = True) -> None:
    """A file of this text (UTF-8) or of these bytes."""
    with writing(path, sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy_whole(source: str | os.PathLike[str], path: Path) -> None:
    """A copy of a file's bytes."""
    with open(source, "rb") as read, writing(path) as file:
        shutil.copyfileobj(read, file)


@contextmanager
def writing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """An open file that gets its name when the block ends well, and is dropped otherwise.

    `sync=False` is for caches: what can be made anew at any time need not outlive a power cut.
    """
    with beside(path, sync) as part, open(part, "wb") as file:
        yield file


@contextmanager
def writing_text(path: Path, errors: str = "strict", sync: bool = True) -> Iterator[TextIO]:
    """As `writing`, for text in UTF-8 whose lines end in \\n everywhere."""
    with (
        beside(path, sync) as part,
        open(part, "w", encoding="utf-8", errors=errors, newline="\n") as file,
    ):
        yield file


@contextmanager
def beside(path: Path, sync: bool = True) -> Iterator[Path]:
    """The name to write under, for a block or program that opens the file itself.

    What goes to a stream, such as /dev/stdout, goes there when the block has ended well.
    """
    if (stream := stream_behind(path)) is not None:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part"
            part.touch()
            yield part
            pour(part, stream)
        return
    path = for_a_file(path)
    make_folder(path.parent)
    part, claim = _claim(path)
    if sync and part == part_of(path):
        _sweep_own(path)
    with claim:
        try:
            yield part
            if sync:
                publish_in_order([(part, path)])
            else:
                os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def _claim(path: Path) -> tuple[Path, BinaryIO]:
    """`.NAME.part`, locked as long as the file is open, or a name of this thread's own.

    Two processes may write the same file at once: ranks that fill one cache, say.
    """
    part = part_of(path)
    with suppress(OSError):
        return part, _locked(part)
    part = path.with_name(f".{path.name}.{threading.get_native_id()}.part")
    for _ in range(3):  # somebody may take it for a killed one's until it is locked
        with suppress(OSError):
            return part, _locked(part)
    return part, open(part, "ab")


def _sweep_own(path: Path) -> None:
    """Names of their own that killed writers of the same file left go."""
    for other in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if other.name.removeprefix(f".{path.name}.").removesuffix(".part").isdecimal():
            with suppress(OSError), _locked(other):
                other.unlink()


def _locked(part: Path) -> BinaryIO:
    """The file, emptied and locked; an error where another is at it, or where there are no locks."""
    file = open(part, "ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
            raise BlockingIOError(errno.EAGAIN, "was renamed in between", str(part))
        file.truncate(0)
    except BaseException:
        file.close()
        raise
    return file


def publish_in_order(parts: Iterable[tuple[Path, Path]]) -> None:
    """Files or folders `(part, path)`: all are synced, then get their names in this order.

    Each name is on the disk before the next file gets its own, so the last one may vouch for all.
    """
    pairs = [(part, target_of(path)) for part, path in parts]
    for part, _ in pairs:
        sync_tree(part)
    for part, path in pairs:
        if part.is_dir() and path.is_dir():  # a folder does not give way to another by itself
            shutil.rmtree(path)
        _rename(part, path)
        sync_folder(path.parent)


def _rename(part: Path, path: Path) -> None:
    """Onto another disk, where a link may point, by way of a copy there."""
    try:
        os.replace(part, path)
    except OSError as error:
        if error.errno != errno.EXDEV or part.is_dir():
            raise
        copy_whole(part, path)
        part.unlink()


@contextmanager
def scratch_folder(out: Path, name: str) -> Iterator[Path]:
    """An empty folder `.NAME.part` for files that are published together; gone after the block."""
    folder = part_of(out / name)
    shutil.rmtree(folder, ignore_errors=True)  # a killed run's
    make_folder(out)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove(path: Path) -> None:
    """The file or folder of that name and what a killed run was writing under it, on the disk too.

    A link stays, and what it points to goes.
    """
    path = followed(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    sweep(path)
    if path.parent.is_dir():
        sync_folder(path.parent)


def sweep(path: Path) -> None:
    """Drops what killed runs were writing under that name; for those who hold the folder's lock."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """With those above it, their names on the disk; where a link points to, if it is one."""
    if folder.is_dir():
        return
    folder = followed(folder)
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_file(file: BinaryIO) -> None:
    """What was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Its names are on the disk, where a folder can be synced: on some network disks it cannot."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """A file, or a folder with all that it holds, is on the disk."""
    if path.is_dir():
        for below in path.iterdir():
            sync_tree(below)
        sync_folder(path)
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())
