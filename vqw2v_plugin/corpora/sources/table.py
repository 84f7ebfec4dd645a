"""Tables with a header row that names the wavs: SpeechBrain's, Hugging Face's metadata, one's own."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from ...common.words import some_of
from . import delimited
from .columns import SHOWN, match
from .delimited import Table
from .entry import Entry, Refusal, Timed, own_split, place
from .folder import Folder
from .textgrid import parse_times, read_textgrid, within

_MOST_TABLES, _DEEPEST = 1_000, 2
_DATA_FOLDER = re.compile(r"^(?:\$|\{)data_(?:root|folder)\}?/+", re.IGNORECASE)  # SpeechBrain's
_OF_A_PART = ("duration", "stop", "samples")  # without a start the file's own length counts
_OURS = "refused.tsv"  # beside what `vqw2v manifest` wrote
_WHOLE = re.compile(r"[0-9]{1,18}")


def fits(folder: Folder) -> bool:
    return bool(Tables(folder).used)


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """The rows of the tables that name splits or, if none does, of all tables."""
    yield from Tables(folder).entries()


def about(folder: Folder) -> list[str]:
    """Which column of each table was taken for what, and which were not used."""
    said, tables = [], Tables(folder)
    for table in tables.used:
        known = match(table.columns, folder.columns)
        taken = ", ".join(f"{what} from {known[what]}" for what in SHOWN if what in known)
        has_part = "start" in known or "offset" in known
        used = {name for what, name in known.items() if has_part or what not in _OF_A_PART}
        left = [name for name in table.columns if name not in used and name.strip()]
        split = tables._split(table)
        parts = [f"{table.name}: {taken}"]
        parts += [f"its split is {split}"] if split and split not in re.split(r"[/._-]", table.name) else []
        parts += [f"not used: {some_of(left)}"] if left else []
        said.append("; ".join([*parts, *([] if "text" in known else [_NO_TEXT])]))
    return said


_NO_TEXT = "no column of text is known among its names: `--column text=NAME` says which it is"


class _Line(NamedTuple):
    table: Table
    where: str
    values: dict[str, str]  # by what they are


class Tables:
    """A folder's tables, and how their rows' names are found among its files."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.all = [table for table in map(self._open, self._names()) if table is not None]

    @cached_property
    def used(self) -> list[Table]:
        """Those that name audio, if any of it is there; of these the ones that name splits, if any does."""
        firsts = [(table, self._first_path(table)) for table in self.all]
        found = [table for table, path in firsts if os.path.isfile(self.folder.join(path))]
        if not found:
            found = self.all if self.folder.is_file or not self._has_audio else []
        endings = tuple(f".{suffix}" for suffix in self.folder.suffixes)
        named = [
            table for table, path in firsts if table in found or (found and path.lower().endswith(endings))
        ]
        return [table for table in named if self._split(table) is not None] or named

    def entries(self) -> Iterator[Entry | Refusal]:
        lines = []
        for table in self.used:
            for item in delimited.rows(self.folder, table):
                if isinstance(item, Refusal):
                    yield item
                else:
                    lines.append(_Line(table, item[0], self._values(table, item[1])))
        utts = Counter(line.values.get("utt", "") for line in lines)
        has_ids = all(count == 1 and utt for utt, count in utts.items())
        for line in lines:
            try:
                yield self._entry(line, has_ids)
            except (ValueError, OSError) as error:
                said = getattr(error, "strerror", None) or error
                yield Refusal(line.where, f"has a value that cannot be read ({said}); mend the row")

    def _names(self) -> list[str]:
        if self.folder.is_file:
            return list(self.folder.files)
        ours = {os.path.dirname(name) for name in self.folder.files if os.path.basename(name) == _OURS}
        names = (
            name
            for name in self.folder.files
            if name.lower().endswith(delimited.ENDINGS) and name.count("/") <= _DEEPEST
        )
        return [name for name in names if os.path.dirname(name) not in ours][:_MOST_TABLES]

    def _open(self, name: str) -> Table | None:
        table = delimited.open_table(self.folder, name)
        return table if table is not None and self._path_column(table) else None

    def _path_column(self, table: Table) -> str | None:
        """Names without a path are those of files where there are files."""
        known = match(table.columns, self.folder.columns)
        by_name = known.get("utt") if "text" in known and self._has_audio else None
        return known.get("path", by_name)

    def _values(self, table: Table, row: delimited.Row) -> dict[str, str]:
        known = match(table.columns, self.folder.columns)
        values = {what: row.get(name, "") for what, name in known.items()}
        return {**values, "path": row.get(self._path_column(table) or "", "")}

    def _first_path(self, table: Table) -> str:
        for item in delimited.rows(self.folder, table):
            if not isinstance(item, Refusal):
                return self._find(table, self._values(table, item[1])["path"])
        return ""

    def _split(self, table: Table) -> str | None:
        """The table's own, or that of a folder it lies in; empty: its rows say; None: nothing does."""
        if "split" in match(table.columns, self.folder.columns):
            return ""
        parts = reversed([*os.path.dirname(table.name).split("/"), os.path.basename(table.stem)])
        return next((found for found in map(own_split, parts) if found), None)

    def _find(self, table: Table, value: str) -> str:
        """The file of this name: beside the table, or the one of the folder whose path ends so."""
        value = _DATA_FOLDER.sub("", value)
        path = place(self.folder.root, os.path.dirname(table.name), value)
        if not value or os.path.isfile(self.folder.join(path)):
            return path
        for found in (value, os.path.basename(value), os.path.splitext(os.path.basename(value))[0]):
            if there := self._by_name.get(found):
                return there
        return path

    @cached_property
    def _has_audio(self) -> bool:
        return bool(self.folder.elsewhere) or next(self.folder.audio(), None) is not None

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Audio by its name, with its suffix and without; empty where two files have it."""
        found: dict[str, str] = {}
        for path in (*self.folder.audio(), *self.folder.elsewhere):
            stem, base = os.path.splitext(path)[0], os.path.basename(path)
            for name in {path, stem, base, os.path.splitext(base)[0]}:
                found[name] = "" if found.get(name, path) != path else path
        return found

    def _entry(self, line: _Line, has_ids: bool) -> Entry | Refusal:
        values = line.values
        if not values["path"]:
            return Refusal(line.where, "names no audio file; mend the row")
        path = self._find(line.table, values["path"])
        begin, end, counted = _span(values, line.table.columns)
        split = self._split(line.table)
        own = own_split(values["split"]) if "split" in values else split
        return Entry(
            path=path,
            unit=path,
            utt=values.get("utt", "") if has_ids else "",
            begin=begin,
            end=end,
            counted=counted,
            speaker=values.get("speaker", ""),
            lang=values.get("lang", ""),
            subset=values.get("subset", ""),
            text=values.get("text", ""),
            split=_split_of_path(values["path"]) if own is None else own,
            **self._times(values, line.table, (0.0, None) if counted else (begin, end)),
        )

    def _times(
        self, values: dict[str, str], table: Table, span: tuple[float, float | None]
    ) -> dict[str, tuple[Timed, ...]]:
        found = {what: parse_times(values[what]) for what in ("words", "phones") if values.get(what)}
        if values.get("textgrid"):
            path = place(self.folder.root, os.path.dirname(table.name), values["textgrid"])
            found = {**within(read_textgrid(self.folder.join(path)), *span), **found}
        return found


def _split_of_path(path: str) -> str:
    """Of folders called train, test and the like, such as Hugging Face's."""
    parts = [part for part in path.split("/")[:-1] if part not in ("", ".", "..")]
    return next((found for found in map(own_split, parts[:2]) if found), "")


def _span(values: dict[str, str], columns: tuple[str, ...]) -> tuple[float, float | None, bool]:
    """Where the piece begins and ends, and whether in samples; a length alone is the file's."""
    start = values.get("start") or values.get("offset")
    if not start:
        return 0.0, None, False
    begin, stop, samples = float(start), values.get("stop"), values.get("samples")
    if samples:
        return begin, begin + float(samples), True
    if stop:
        named = {name.lower() for name in columns}
        counted = "stop" in named and bool(_WHOLE.fullmatch(start) and _WHOLE.fullmatch(stop))
        return begin, float(stop), counted
    duration = values.get("duration")
    return begin, begin + float(duration) if duration else None, False
