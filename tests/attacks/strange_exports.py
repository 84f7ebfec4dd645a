"""Exported folders: a config that says what nobody can mean, a safetensors header that lies."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attempts import Case, Works
from odd_places import PLACES
from seed_files import TRAINED
from strange_pickles import LIKE
from structures import CODECS

_SAFETENSORS = CODECS[2]
Change = Callable[[Path], object]
JSON: dict[str, bytes] = {
    "a list": b"[]",
    "nothing": b"",
    "half": b"{",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deep dicts": b'{"a":' * 200_000,
    "closed, deep": b"[" * 950 + b"]" * 950,
    "a long number": b"1" * 6_000,
    "half a character": b'"\\ud800"',
    "NaN": b'{"format":NaN}',
    "no UTF-8": b"\xff\xfe{",
    "a mark before it": b"\xef\xbb\xbf{}",
    "no field": b"{}",
    "1e999": b"1e999",
}
_HEADERS: dict[str, tuple[Any, bytes]] = {  # (header, bytes behind it)
    "no tensor": ({}, b""),
    "half": (b"{", b""),
    "more than memory": ({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}, b""),
    "less than nothing": ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
    "backwards": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234"),
    "no type": ({"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    "deep": (b"[" * 100_000, b""),
    "100,000 dimensions": ({"a": {"dtype": "F32", "shape": [0] * 100_000, "data_offsets": [0, 0]}}, b""),
    "metadata 5": ({"__metadata__": {"a": 5}}, b""),
    "an odd name": ({"\n\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
}
_ODD: dict[str, Any] = {
    "null": None,
    "a list": [],
    "x": "x",
    "-1": -1,
    "NaN": math.nan,
    "true": True,
}
_RATES = (0, 10**12, 1e5, "16000", -16_000)


def strange_exports(good: Path) -> list[Case]:
    return [case for number, kind in enumerate(LIKE) for case in _of_kind(good, kind, number)]


def whole(good: Path, kind: str) -> Case:
    return Case(f"the whole folder, {kind}", partial(_copy, good / f"x_{kind}", lambda folder: None), kind)


def _copy(source: Path, change: Change, into: Path) -> str:
    shutil.copytree(source, into / "exported")
    change(into / "exported")
    return str(into / "exported")


def _of_kind(good: Path, kind: str, number: int) -> Iterator[Case]:
    source = good / f"x_{kind}"

    def case(name: str, change: Change, works: Works = Works.NEVER) -> Case:
        return Case(f"{name}, {kind}", partial(_copy, source, change), kind, works)

    for file in ("model.safetensors", "config.json"):
        for place in PLACES:
            yield case(f"{file}: {place.__name__}", partial(_replaced, file, place))
        yield case(f"{file}: a bit turned", partial(_turned, file), Works.SAME)
    for name, content in list(JSON.items())[number::3]:
        yield case(f"config.json is {name}", partial(_written, "config.json", content))
    for name, (header, data) in _HEADERS.items():
        yield case(f"safetensors of {name}", partial(_with_header, header, data))
    for field in json.loads((source / "config.json").read_text()):
        value = list(_ODD)[(len(field) + number) % len(_ODD)]
        yield case(f"{field} is {value}", partial(_edited, {field: _ODD[value]}), Works.ANY)
    for rate in _RATES if kind == "gumbel" else ():
        yield case(f"{rate!r} Hz", partial(_edited, {"sample_rate": rate}), Works.ANY)


def _replaced(file: str, place: Change, folder: Path) -> None:
    (folder / file).unlink()
    place(folder / file)


def _turned(file: str, folder: Path) -> None:
    content = bytearray((folder / file).read_bytes())
    content[-40] ^= 4
    (folder / file).write_bytes(content)


def _written(file: str, content: bytes, folder: Path) -> None:
    (folder / file).write_bytes(content)


def _edited(changes: dict[str, Any], folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def _with_header(header: Any, data: bytes, folder: Path) -> None:
    """Without the sum by which any of it would be refused."""
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "model.safetensors"
    if isinstance(header, bytes):
        path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    else:
        path.write_bytes(_SAFETENSORS.write({"header": header, "data": data}))


def packed_folder() -> Case:
    """As an earlier version exported it."""
    return Case("an older folder", partial(_copy, TRAINED / "folder", lambda f: None), "gumbel")
