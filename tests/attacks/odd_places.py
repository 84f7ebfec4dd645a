"""What may lie under a file's name instead of a file, and names that are none."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attempts import Case, Works

_SPARSE = 1 << 40
_LINKS = {
    "zero": "/dev/zero",
    "random": "/dev/random",
    "tty": "/dev/tty",
    "terminals": "/dev/ptmx",
    "loop": "loop",
    "dangling": "nowhere",
    "memory": "/proc/self/mem",  # says that it is a file
}
NAMES = {
    "NUL": "a\0b",
    "long": "x" * 300,
    "slashes": "/" * 10,
    "dash": "-",
    "no UTF-8": "\udcff",
    "home": "~",
    "here": ".",
    "above": "..",
    "stdin": "/dev/stdin",
    "descriptor": "/proc/self/fd/0",
    "missing": "none/at/all",
    "escape": "\x1b[31m",
}


def odd_places(suffix: str, kind: str = "", works: Works = Works.NEVER) -> Iterator[Case]:
    """As a file of that ending, of that kind."""
    for name in _LINKS:
        yield Case(f"{name} under the name", partial(_linked, name, suffix), kind, works, (_LINKS[name],))
    for place in (fifo, folder, sparse, socket_at):
        yield Case(f"{place.__name__} under the name", partial(_made, place, suffix), kind, works)
    for name, word in NAMES.items():
        says = ("standard input",) if name == "dash" else ()
        yield Case(f"the name: {name}", partial(_named, word), kind, works, says)


def _linked(name: str, suffix: str, into: Path) -> str:
    path = into / (name.replace(" ", "-") + suffix)
    path.symlink_to(path if name == "loop" else _LINKS[name])
    return str(path)


def _made(place: Callable[[Path], None], suffix: str, into: Path) -> str:
    path = into / f"{place.__name__}{suffix}"
    place(path)
    return str(path)


def _named(word: str, into: Path) -> str:
    return word


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, _SPARSE)


def socket_at(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def gone(path: Path) -> None:
    """Nothing there."""


PLACES = (fifo, folder, sparse, zero, loop, gone)
