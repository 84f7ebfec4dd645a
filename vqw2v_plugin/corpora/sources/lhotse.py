"""lhotse's manifests: cuts, or recordings with or without supervisions, a JSON object a line."""

from collections.abc import Iterator
from typing import Any

from . import json_lines
from .entry import Entry, Refusal, own_split, place
from .folder import Folder
from .json_lines import Row


def fits(folder: Folder) -> bool:
    return any(_tables(folder).values())


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """An entry a cut, if there are cuts; else one a supervision; else one a recording."""
    tables = _tables(folder)
    if tables["cuts"]:
        for item, split in _rows(folder, tables["cuts"]):
            yield item if isinstance(item, Refusal) else _guard(_cut, folder, item, split)
    else:
        yield from _joined(folder, tables["recordings"], tables["supervisions"])


def _tables(folder: Folder) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"cuts": [], "recordings": [], "supervisions": []}
    for name, keys in json_lines.tables(folder):
        if {"id", "sources", "sampling_rate"} <= keys:
            found["recordings"].append(name)
        elif {"id", "recording_id", "start", "duration"} <= keys:
            found["supervisions"].append(name)
        elif {"id", "type"} <= keys and ("recording" in keys or "tracks" in keys or "supervisions" in keys):
            found["cuts"].append(name)
    return found


def _rows(folder: Folder, names: list[str]) -> Iterator[tuple[tuple[str, Row] | Refusal, str]]:
    for name in names:
        split = own_split(json_lines.stem(name))
        yield from ((item, split) for item in json_lines.rows(folder, name))


def _joined(folder: Folder, recordings: list[str], supervisions: list[str]) -> Iterator[Entry | Refusal]:
    known: dict[str, Entry | Refusal] = {}
    num_channels: dict[str, int] = {}
    for item, split in _rows(folder, recordings):
        if isinstance(item, Refusal):
            yield item
        elif str(item[1].get("id")) in known:
            yield Refusal(item[0], f"recording is listed already ({item[1]['id']}); rename one")
        else:
            name = str(item[1].get("id"))
            known[name] = _guard(_recording, folder, item, split)
            num_channels[name] = _num_channels(item[1])
    if not supervisions:
        yield from known.values()
        return
    used = set()
    for item, split in _rows(folder, supervisions):
        if isinstance(item, Refusal):
            yield item
            continue
        name = str(item[1].get("recording_id"))
        used.add(name)
        yield _supervised(known.get(name), num_channels.get(name, 1), item, split)
    unused = (entry for name, entry in known.items() if name not in used)
    for entry in unused:
        silent = Refusal(
            entry.path, "recording has no supervision; take the supervisions away to use it whole"
        )
        yield entry if isinstance(entry, Refusal) else silent


def _supervised(
    recording: Entry | Refusal | None, num_channels: int, item: tuple[str, Row], split: str
) -> Entry | Refusal:
    where, row = item
    if recording is None:
        return Refusal(where, f"is of a recording that no table lists ({row.get('recording_id')}); list it")
    if isinstance(recording, Refusal):
        return Refusal(where, recording.reason)
    if num_channels > 1:
        return _one_channel(where, num_channels)
    try:
        begin, end = _span(row)
    except ValueError as error:
        return Refusal(where, f"has a number that is none ({error}); mend the row")
    return recording._replace(
        utt=json_lines.string(row, "id"),
        begin=begin,
        end=end,
        split=split or recording.split,
        **_about([row]),
    )


def _guard(make: Any, folder: Folder, item: tuple[str, Row], split: str) -> Entry | Refusal:
    """What `make` returns; a row that is not built like lhotse's is refused instead of a crash."""
    try:
        entry: Entry | Refusal = make(folder, item[0], item[1], split)
        return entry
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        return Refusal(
            item[0], f"is not built like lhotse's rows ({type(error).__name__}: {error}); mend the row"
        )


def _recording(folder: Folder, where: str, row: Row, split: str) -> Entry | Refusal:
    sources = row["sources"]
    if row.get("transforms"):
        return Refusal(where, f"has transforms ({row['transforms']}); save the audio as lhotse transforms it")
    if len(sources) != 1 or sources[0]["type"] != "file":
        kinds = ", ".join(str(source["type"]) for source in sources)
        return Refusal(where, f"is not a single audio file ({kinds}); save it as one")
    path, name = str(sources[0]["source"]), json_lines.string(row, "id")
    end = json_lines.seconds(row, "duration", None)
    return Entry(place(folder.root, "", path), unit=name, utt=name, end=end, split=split)


def _cut(folder: Folder, where: str, row: Row, split: str) -> Entry | Refusal:
    if row["type"] != "MonoCut":
        return Refusal(where, f"is no cut of one channel of one recording ({row['type']}); save it as audio")
    recording = _recording(folder, where, row["recording"], split)
    if isinstance(recording, Refusal):
        return recording
    if _num_channels(row["recording"]) > 1:
        return _one_channel(where, _num_channels(row["recording"]))
    begin, end = _span(row)
    about = _about(row.get("supervisions") or [])
    return recording._replace(utt=json_lines.string(row, "id"), begin=begin, end=end, **about)


def _num_channels(recording: Row) -> int:
    """The channels of all its files; 1 for a malformed row, which is refused elsewhere."""
    sources = recording.get("sources")
    found = [source for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    channels = [source.get("channels") for source in found]
    return max(1, sum(len(some) for some in channels if isinstance(some, list)))


def _one_channel(where: str, num_channels: int) -> Refusal:
    # A manifest's wav is the mean of a file's channels.
    return Refusal(where, f"is one channel of several ({num_channels}); make a file of each channel")


def _span(row: Row) -> tuple[float, float | None]:
    begin = json_lines.seconds(row, "start", 0.0) or 0.0
    duration = json_lines.seconds(row, "duration", None)
    return begin, None if duration is None else begin + duration


def _about(supervisions: list[Row]) -> dict[str, Any]:
    """Text, speaker and language; the last two only if all supervisions agree."""
    about = {"text": " ".join(json_lines.string(row, "text") for row in supervisions).strip()}
    for column, key in (("speaker", "speaker"), ("lang", "language")):
        values = {json_lines.string(row, key) for row in supervisions}
        about[column] = values.pop() if len(values) == 1 else ""
    return about
