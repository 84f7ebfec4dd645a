"""Damage that is the same for files of any kind: bytes that were lost, doubled, turned or put there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attempts import Case, Works
from structures import mutate

Change = Callable[[bytes, random.Random], bytes]


def _flipped(times: int) -> Change:
    def change(content: bytes, rng: random.Random) -> bytes:
        held = bytearray(content)
        for _ in range(times if held else 0):
            held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
        return bytes(held)

    return change


LOST: dict[str, Change] = {
    "empty": lambda content, rng: b"",
    "a byte": lambda content, rng: content[:1],
    "a third": lambda content, rng: content[: len(content) // 3],
    "half": lambda content, rng: content[: len(content) // 2],
    "less 200 bytes": lambda content, rng: content[:-200],
    "less 23 bytes": lambda content, rng: content[:-23],
    "less a byte": lambda content, rng: content[:-1],
}
DOUBLED: dict[str, Change] = {
    "bytes behind it": lambda content, rng: content + b"x" * 100,
    "zeros behind it": lambda content, rng: content + bytes(70_000),
    "a script before it": lambda content, rng: b"#!/bin/sh\n" + content,
    "twice": lambda content, rng: content + content,
}
TURNED: dict[str, Change] = {
    f"{n} bits turned, {i}": _flipped(n) for n, i in ((1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (30, 0))
}
FOREIGN: dict[str, Change] = {
    "zeros": lambda content, rng: bytes(len(content)),
    "ones": lambda content, rng: b"\xff" * len(content),
    "noise": lambda content, rng: rng.randbytes(len(content) or 9),
}


def mutated(number: int) -> dict[str, Change]:
    """As the fuzzer changes files: by what they are, with sums that are right."""
    return {f"mutated, {i}": lambda content, rng: mutate(content, b"", rng) for i in range(number)}


def damaged(
    path: Path, changes: dict[str, Change], works: Works, seed: int, kind: str = "", like: str = ""
) -> Iterator[Case]:
    """Copies of one file, each changed in one way."""
    for name, change in changes.items():
        called = f"{name}, {like or kind or path.name}"
        yield Case(called, partial(_write, path, change, f"{seed}/{path.name}/{name}"), kind, works)


def _write(path: Path, change: Change, seed: str, into: Path) -> str:
    (into / path.name).write_bytes(change(path.read_bytes(), random.Random(seed)))
    return str(into / path.name)


def text(
    name: str, content: str | bytes, called: str = "it.txt", kind: str = "", works: Works = Works.ANY
) -> Case:
    """A file of that content."""
    held = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return Case(name, partial(_write_bytes, held, called), kind, works)


def _write_bytes(content: bytes, called: str, into: Path) -> str:
    (into / called).write_bytes(content)
    return str(into / called)
