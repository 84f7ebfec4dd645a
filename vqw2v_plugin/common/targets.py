"""Where the files of every arrow go: the file behind a link, and no device but standard output and such."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import TextIO

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/fd/(\d{1,6})|/proc/self/fd/(\d{1,6})")
_NOWHERE = "/dev/null"
_KINDS = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))


class OutputError(ValueError):
    """A name that nothing can be written under; the message says what it is."""


def target_of(path: Path) -> Path:
    """What is written when `path` is: the file or folder that a link points to, there or not; no device."""
    target = followed(path)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = next((name for is_kind, name in _KINDS if is_kind(mode)), "device")
        raise OutputError(f"{path}: is a {what}, expected a file to write; name one, or /dev/stdout")
    return target


def for_a_file(path: Path) -> Path:
    """The same, where a folder is in the way as well."""
    target = target_of(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return target


def check_output(path: Path) -> None:
    """Refuses what no file can be written under, before there is anything to write."""
    if stream_behind(path) is None:
        for_a_file(path)


def followed(path: Path) -> Path:
    """The end of a chain of links; what is no link as it is."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def stream_behind(path: Path) -> int | None:
    """The descriptor that /dev/stdout, /dev/stderr or /dev/fd/N names; -1 for /dev/null, None for files."""
    name = os.path.abspath(path)
    if name == _NOWHERE:
        return -1
    if found := _DESCRIPTOR.fullmatch(name):
        return int(found[1] or found[2])
    return _STREAMS.get(name)


def pour(part: Path, stream: int) -> None:
    """The bytes of a file, behind what was printed before."""
    if stream < 0:
        return
    for printed in (sys.stdout, sys.stderr):
        printed.flush()
    with open(part, "rb") as source, os.fdopen(os.dup(stream), "wb") as out:
        shutil.copyfileobj(source, out)


def beside_output(out: Path) -> TextIO:
    """Where to print what is said about an output: not between its own bytes."""
    return sys.stderr if stream_behind(out) == 1 else sys.stdout
