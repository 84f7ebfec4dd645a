"""Tables with a JSON object a line, plain or gzipped, as lhotse and NeMo write them."""

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any

from ...common.inputs import UTF8_MARK, check_file, lines_of, parse_json
from .entry import Refusal
from .folder import Folder

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_LONGEST_FIRST_LINE = 1 << 20
_LEAST_BOUND, _DENSEST = 1 << 27, 200  # bytes of a table, and those that one byte of it may stand for
_MOST_BROKEN = 10_000  # lines
_LONGEST_SECONDS = 1e12  # JSON's integers may be larger than any float

Row = dict[str, Any]


def tables(folder: Folder) -> list[tuple[str, frozenset[str]]]:
    """The folder's own tables (no subfolder's), with the keys of each one's first row."""
    firsts = ((name, first_row(folder.join(name))) for name in folder.at_top(*ENDINGS))
    return [(name, frozenset(row)) for name, row in firsts if row]


def rows(folder: Folder, name: str) -> Iterator[tuple[str, Row] | Refusal]:
    """(`file:line`, object) of each line; a line that is not JSON is refused, and so is a broken end."""
    number, broken, path = 0, 0, folder.join(name)
    try:
        with _open(path) as file:
            most = _LEAST_BOUND + _DENSEST * os.stat(path).st_size
            for number, line in enumerate(lines_of(file, path), start=1):
                most -= len(line)
                if most < 0:
                    yield Refusal(
                        f"{name}:{number}", "table holds far more than its size promises; unpack it"
                    )
                    return
                if line.strip():
                    item = _parse(f"{name}:{number}", line)
                    broken += isinstance(item, Refusal)
                    yield item
                if broken > _MOST_BROKEN:
                    yield Refusal(f"{name}:{number}", "table is none of JSON objects; the rest is left out")
                    return
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or error
        yield Refusal(f"{name}:{number + 1}", f"table breaks off ({said}); restore it")


def stem(name: str) -> str:
    return name[: len(name) - max(len(ending) for ending in ENDINGS if name.lower().endswith(ending))]


def seconds(row: Row, key: str, otherwise: float | None) -> float | None:
    """A number of seconds, or `otherwise` if the row has none; ValueError if it is not a number."""
    value = row.get(key)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} is {value!r}, expected seconds")
    return float(value) if abs(value) < _LONGEST_SECONDS else math.inf


def string(row: Row, *keys: str) -> str:
    """The first of these keys that the row has; names may be numbers."""
    values = (row.get(key) for key in keys)
    return next((str(value) for value in values if isinstance(value, (str, int))), "")


def as_text(value: Any) -> str:
    """A value of a row as a table of text would hold it."""
    return json.dumps(value, ensure_ascii=False)


def _open(path: str) -> IO[bytes]:
    check_file(path)
    file: Any = gzip.open(path) if path.lower().endswith(".gz") else open(path, "rb")
    return file  # type: ignore[no-any-return]


def _parse(where: str, line: bytes) -> tuple[str, Row] | Refusal:
    try:
        row = parse_json(line.removeprefix(UTF8_MARK).decode("utf-8", "surrogateescape"))
    except ValueError as error:
        return Refusal(where, f"is not JSON ({error}); expected an object a line")
    if not isinstance(row, dict):
        return Refusal(where, f"is not a JSON object ({type(row).__name__}); expected an object a line")
    return where, row


def first_row(path: str) -> Row:
    """Empty where there is none."""
    try:
        with _open(path) as file:
            first = _parse(path, file.readline(_LONGEST_FIRST_LINE))
    except (OSError, EOFError, zlib.error):
        return {}
    return {} if isinstance(first, Refusal) else first[1]
