"""Where a command is told to write: links, devices, pipes, files where folders should be."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attempts import Case, Works
from odd_places import fifo, loop, socket_at, zero


def strange_outputs() -> list[Case]:
    made = {
        "a link to a full device": lambda path: path.symlink_to("/dev/full"),
        "a FIFO": fifo,
        "a link to zeros": zero,
        "a link to itself": loop,
        "a socket": socket_at,
        "a link to nowhere": lambda path: path.symlink_to(path.parent / "no" / "where"),
        "a link": lambda path: path.symlink_to(path.parent / "real"),
        "a link to a folder": _folder_behind_a_link,
        "a file": lambda path: path.write_text("x"),
        "a folder": lambda path: path.mkdir(),
        "a folder that is not there": None,
    }
    named = {
        "stdout": "/dev/stdout",
        "processes": "/proc/x",
        "the system": "/sys/o",
        "a root": "/proc",
        "a long name": "x" * 300,
        "nothing": "",
        "here": ".",
        "no UTF-8": "\udcff/o",
    }
    found = [
        Case(name, partial(_place, place), works=Works.ANY, says=("output", "OUT"))
        for name, place in made.items()
    ]
    found += [Case(name, partial(_word, word), says=("OUT", "empty")) for name, word in named.items()]
    return [*found, Case("below a file", _below_a_file)]


def whole() -> Case:
    return Case("a new name", partial(_place, lambda path: None))


def _place(place: Callable[[Path], object] | None, into: Path) -> str:
    path = into / "output.html"
    if place is None:
        return str(into / "none" / "there" / "output.html")
    place(path)
    return str(path)


def _word(word: str, into: Path) -> str:
    return word


def _folder_behind_a_link(path: Path) -> None:
    os.mkdir(path.parent / "real")
    path.symlink_to(path.parent / "real")


def _below_a_file(into: Path) -> str:
    (into / "file").write_text("")
    return str(into / "file" / "output.html")
