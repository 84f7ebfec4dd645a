"""NeMo's manifests: a JSON object a line with audio_filepath, duration, offset and text."""

from collections.abc import Iterator

from . import json_lines
from .entry import Entry, Refusal, own_split, place
from .folder import Folder


def fits(folder: Folder) -> bool:
    return bool(_tables(folder))


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """The rows of all tables in the folder, each table a split if its name says so."""
    for name in _tables(folder):
        for item in json_lines.rows(folder, name):
            yield item if isinstance(item, Refusal) else _entry(folder, name, *item)


def _tables(folder: Folder) -> list[str]:
    return [name for name, keys in json_lines.tables(folder) if "audio_filepath" in keys]


def _entry(folder: Folder, table: str, where: str, row: json_lines.Row) -> Entry | Refusal:
    path = row.get("audio_filepath")
    if not isinstance(path, str) or not path:
        return Refusal(where, f"has no audio_filepath ({path!r}); mend the row")
    try:
        begin = json_lines.seconds(row, "offset", 0.0) or 0.0
        duration = json_lines.seconds(row, "duration", None)
    except ValueError as error:
        return Refusal(where, f"has a number that is none ({error}); mend the row")
    return Entry(
        path=place(folder.root, "", path),
        unit=path,
        begin=begin,
        end=None if duration is None else begin + duration,
        speaker=json_lines.string(row, "speaker", "speaker_id"),
        lang=json_lines.string(row, "lang", "source_lang"),
        text=json_lines.string(row, "text"),
        split=own_split(json_lines.stem(table)),
    )
