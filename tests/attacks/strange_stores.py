"""Folders that commands leave and read again: tokens, features, labels, emissions, a run, shards."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attempts import Case, Works
from damage import DOUBLED, FOREIGN, LOST, TURNED, Change, mutated
from odd_places import PLACES
from strange_exports import JSON

_PLACES = (".idx", ".ends.npy")  # whatever is wrong with them shows
_COUNTED = (*_PLACES, ".ids", ".npy", ".bin")  # as does what is lost of these, or too much
_TABLES = (".txt", ".ids", ".ltr", ".wrd", ".tsv", ".log", ".jsonl", ".ctm", ".utt", ".rows")
_TEXTS: dict[str, Change] = {
    "NUL": lambda content, rng: b"\0",
    "NUL in a word": lambda content, rng: b"a\0b\n",
    "no UTF-8": lambda content, rng: b"\xff\xfe\n",
    "a mark before it": lambda content, rng: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content, rng: content.replace(b"\n", b"\r\n"),
    "blanks for tabs": lambda content, rng: content.replace(b"\t", b" "),
    "tabs for blanks": lambda content, rng: content.replace(b" ", b"\t"),
    "half a million words": lambda content, rng: b"x " * 500_000,
    "10,000 lines": lambda content, rng: b"\n" * 10_000,
    "lines that break": lambda content, rng: "\u2028".encode() * 9,
    "less than nothing": lambda content, rng: b"a -5\n",
    "a long number": lambda content, rng: b"a " + b"9" * 400 + b"\n",
    "escapes": lambda content, rng: b"\x1b[31m\n",
}
_VALUES: tuple[Any, ...] = (
    *(None, [], {}, "x", -1, math.nan, 10**30, True, 0, [[{}]], "\ud800", math.inf, "../x", "x" * 10_000),
)


def strange_stores(
    folder: Path, seed: int, skip: tuple[str, ...] = (), works: Works | None = None
) -> list[Case]:
    """The folder with one of its files changed; `works` says what that means, whichever file it is."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith((".lock", *skip))]
    return [case for path in files for case in _of_file(folder, path, seed, works)]


def whole(folder: Path) -> Case:
    return Case("the whole folder", partial(_copied, folder, "", lambda path: None))


def _of_file(folder: Path, path: Path, seed: int, works: Works | None) -> Iterator[Case]:
    name = str(path.relative_to(folder))
    lost = works or (Works.SAME if name.endswith(_COUNTED) else Works.ANY)
    turned = works or (Works.SAME if name.endswith(_PLACES) else Works.ANY)
    changes = {**LOST, **DOUBLED, **TURNED, **FOREIGN, **mutated(2)}
    changes |= _TEXTS if path.suffix in _TABLES else {}
    if path.suffix == ".json":
        changes |= {f"json: {called}": _becoming(content) for called, content in JSON.items()}
        changes |= _fields(path)
    for called, change in changes.items():
        means = lost if called in LOST or called in DOUBLED else turned
        make = partial(_changed, folder, name, change, f"{seed}/{name}/{called}")
        yield Case(f"{name}: {called}", make, works=means, says=("file",))
    for place in PLACES:
        yield Case(
            f"{name}: {place.__name__}", partial(_copied, folder, name, place), works=works or Works.ANY
        )


def _becoming(content: bytes) -> Change:
    return lambda held, rng: content


def _fields(path: Path) -> dict[str, Change]:
    """One field that says something odd; what, is drawn."""
    said = _json_of(path.read_bytes())
    return {f"field {field}, {i}": partial(_field, field) for field in said for i in range(3)}


def _json_of(content: bytes) -> dict[str, Any]:
    """The first object: a shard's has its sum before it, a table is a list of rows."""
    said, _ = json.JSONDecoder().raw_decode(content[content.index(b"{") :].decode())
    assert isinstance(said, dict)
    return said


def _field(field: str, content: bytes, rng: random.Random) -> bytes:
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    return json.dumps({**_json_of(content), field: rng.choice((*_VALUES, deep))}).encode()


def _changed(folder: Path, name: str, change: Change, seed: str, into: Path) -> str:
    def write(path: Path) -> None:
        path.write_bytes(change((folder / name).read_bytes(), random.Random(seed)))

    return _copied(folder, name, write, into)


def _copied(folder: Path, name: str, place: Any, into: Path) -> str:
    shutil.copytree(folder, into / "store", symlinks=True)
    if name:
        (into / "store" / name).unlink()
        place(into / "store" / name)
    return str(into / "store")
