"""A Kaldi data folder: wav.scp, and segments, utt2spk, utt2lang and text if they exist."""

import re
from collections.abc import Iterator

from .entry import Entry, Refusal, own_split, place, table_lines
from .folder import Folder

_LIST = "wav.scp"
_DEEPEST = 2  # folders: `data/train/wav.scp` of a recipe's folder


def fits(folder: Folder) -> bool:
    return not folder.is_file and bool(_data_folders(folder))


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """The utterances of the folder or, if it has no wav.scp itself, of its subfolders, each a split."""
    for data in _data_folders(folder):
        subset = data.rstrip("/")
        speakers, langs, texts = (_pairs(folder, data + table) for table in ("utt2spk", "utt2lang", "text"))
        for entry in _utterances(folder, data):
            if isinstance(entry, Entry):
                entry = entry._replace(
                    speaker=speakers.get(entry.utt, ""),
                    lang=langs.get(entry.utt, ""),
                    text=texts.get(entry.utt, ""),
                    subset=subset,
                    split=own_split(subset.rpartition("/")[2]),
                )
            yield entry


def _data_folders(folder: Folder) -> list[str]:
    """Prefixes of paths: the folder itself (""), else the subfolders (`train/` or `data/train/`) that have a
    wav.scp; deeper ones repeat these, as in split10/1.
    """
    if _LIST in folder.files:
        return [""]
    found = [name.removesuffix(_LIST) for name in folder.files if name.endswith(f"/{_LIST}")]
    depth = min((data.count("/") for data in found), default=0)
    return [data for data in found if data.count("/") == depth <= _DEEPEST]


def _pairs(folder: Folder, name: str) -> dict[str, str]:
    if not folder.has(name):
        return {}
    pairs = (line.strip().split(maxsplit=1) for _, line in table_lines(folder.join(name)))
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def _utterances(folder: Folder, data: str) -> Iterator[Entry | Refusal]:
    recordings: dict[str, str | Refusal] = {}
    for number, line in table_lines(folder.join(data + _LIST)):
        name, command = [*line.strip().split(maxsplit=1), ""][:2]
        if name in recordings:
            yield Refusal(f"{data}{_LIST}:{number}", f"recording is listed already ({name}); rename one")
            continue
        recordings[name] = _path(folder, data, command)
    if folder.has(f"{data}segments"):
        yield from _segments(folder, data, recordings)
        return
    for name, path in recordings.items():
        yield Refusal(name, path.reason) if isinstance(path, Refusal) else Entry(path, name, name)


def _path(folder: Folder, data: str, command: str) -> str | Refusal:
    if command.endswith("|") or command.startswith("|"):
        return Refusal(
            command, f"is a piped command, not a file ({command}); run it once into files and list those"
        )
    if re.search(r"\.ark:\d+$", command):
        return Refusal(
            command, f"is a place in an archive, not a file ({command}); copy it out with wav-copy"
        )
    return place(folder.root, data, command) if command else Refusal(command, "has no path; mend the row")


def _segments(folder: Folder, data: str, recordings: dict[str, str | Refusal]) -> Iterator[Entry | Refusal]:
    used = set()
    for number, line in table_lines(folder.join(f"{data}segments")):
        where, fields = f"{data}segments:{number}", line.split()
        try:
            utt, name, begin, end = fields[0], fields[1], float(fields[2]), float(fields[3])
        except (IndexError, ValueError):
            yield Refusal(where, f"is no segment ({line}); expected `utterance recording begin end`")
            continue
        path = recordings.get(name)
        used.add(name)
        if path is None:
            yield Refusal(where, f"is of a recording that wav.scp does not list ({name}); list it there")
        elif isinstance(path, Refusal):
            yield Refusal(utt, path.reason)
        else:
            yield Entry(path, name, utt, begin, None if end == -1 else end)
    unheard = "recording has no segment; leave `segments` out to take recordings whole"
    for name, path in recordings.items():
        if name not in used:
            yield Refusal(name, path.reason if isinstance(path, Refusal) else unheard)
