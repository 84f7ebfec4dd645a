"""Tables of wavs with a header row: values between commas, tabs, semicolons or bars; or JSON lines."""

import csv
import os
from collections.abc import Iterator
from typing import NamedTuple

from . import json_lines
from .entry import Refusal, SourceError, table_lines
from .folder import Folder

ENDINGS = (".csv", ".tsv", *json_lines.ENDINGS)
_DELIMITERS = ("\t", ",", ";", "|")
Row = dict[str, str]


class Table(NamedTuple):
    """A table's name in its folder, its columns and what stands between them (none: JSON)."""

    name: str
    columns: tuple[str, ...]
    delimiter: str = ""

    @property
    def stem(self) -> str:
        return json_lines.stem(self.name) if not self.delimiter else os.path.splitext(self.name)[0]


def open_table(folder: Folder, name: str) -> Table | None:
    """None for what has no row of names over a row of values."""
    if name.lower().endswith(json_lines.ENDINGS):
        keys = json_lines.first_row(folder.join(name))
        return Table(name, tuple(keys)) if keys else None
    try:
        lines = table_lines(folder.join(name))
        head, below = next(lines, (0, ""))[1], next(lines, None)
    except SourceError:
        return None
    found = next((each for each in _DELIMITERS if each in head), None)
    if below is None or found is None:
        return None
    try:
        names = next(iter(_split([head], found)))
    except csv.Error:
        return None
    columns = tuple(field.strip() for field in names)
    columns = (columns[0].lstrip("#").strip(), *columns[1:])
    return Table(name, columns, found) if len({*columns, ""}) == len(columns) + 1 else None


def rows(folder: Folder, table: Table) -> Iterator[tuple[str, Row] | Refusal]:
    """(`file:line`, values by column); a row of another number of values is refused."""
    if not table.delimiter:
        for item in json_lines.rows(folder, table.name):
            yield item if isinstance(item, Refusal) else (item[0], _plain(item[1]))
        return
    lines = table_lines(folder.join(table.name))
    next(lines)
    numbers = [1]
    reader = _split(_noted(lines, numbers), table.delimiter)
    while True:
        first = numbers[0] + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Refusal(
                f"{table.name}:{first}",
                f"is no row of values ({error}, up to line {numbers[0]}); are its quotation marks in pairs?",
            )
            continue
        where = f"{table.name}:{numbers[0]}"
        if fields is None:
            return
        if len(fields) != len(table.columns):
            yield Refusal(
                where,
                f"row has another number of fields than the table's header ({len(fields)} for "
                f"{len(table.columns)}); mend the row",
            )
        else:
            yield where, dict(zip(table.columns, fields, strict=True))


def _plain(row: json_lines.Row) -> Row:
    """Values as text; lists of times stay JSON."""
    return {
        key: value if isinstance(value, str) else "" if value is None else json_lines.as_text(value)
        for key, value in row.items()
    }


def _noted(lines: Iterator[tuple[int, str]], numbers: list[int]) -> Iterator[str]:
    for numbers[0], line in lines:
        yield f"{line}\n"


def _split(lines: Iterator[str] | list[str], delimiter: str) -> Iterator[list[str]]:
    """Tabs: a value is quoted as a whole or not at all, as tables of sentences may begin with a quotation."""
    if delimiter != "\t":
        return csv.reader(lines, delimiter=delimiter, strict=True)
    return ([_unquoted(field) for field in line.rstrip("\n").split("\t")] for line in lines)


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner:
        return field[1:-1].replace('""', '"')
    return field
