"""One or several corpora → the entries of their wavs, under one root, with what was seen and not used."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..common.words import some_of
from .rows import name_speaker, named_by, path_finder, tidy
from .sources import KINDS, SUFFIXES, Entry, Folder, Refusal, SourceError, find_kind, open_folder, own_split
from .sources.table import Tables
from .times import TextGrids, with_names

_NAMED = 4


@dataclass(frozen=True)
class Sources:
    """What is asked of the corpora's folders; None leaves the choice to what they are."""

    kind: str | None = None
    suffixes: tuple[str, ...] | None = None
    columns: Mapping[str, str] | None = None  # {what: a table's name of it}
    audio: str | None = None  # where the tables' files lie
    times: str | None = None  # where TextGrids lie
    speaker_from: str | None = None
    split_from: str | None = None


@dataclass(frozen=True)
class Gathered:
    """Entries sorted by name, paths from `root`; `notes` are what a user may want to know."""

    root: str
    kind: str
    entries: list[Entry]
    refused: list[Refusal]
    notes: list[str]


def gather(paths: Sequence[str], asked: Sources, tick: Callable[[int], None] = lambda _: None) -> Gathered:
    """Reads every corpus; ids that two of them share get their corpus' name in front."""
    folders = [open_folder(path, asked.suffixes or SUFFIXES, tick) for path in paths]
    _check_apart(folders)
    folders = [replace(each, elsewhere=_elsewhere(asked), columns=asked.columns or {}) for each in folders]
    kinds = [find_kind(folder, asked.kind) for folder in folders]
    _check_options(asked, kinds)
    root = os.path.commonpath([folder.root for folder in folders])
    read: list[list[Entry]] = []
    refused: list[Refusal] = []
    notes: list[str] = []
    finder = _Finder(asked)
    for folder, kind in zip(folders, kinds, strict=True):
        entries: list[Entry] = []
        for item in (*folder.refused, *KINDS[kind].read(folder)):
            made = finder(item) if isinstance(item, Entry) else item
            if isinstance(made, Entry):
                entries.append(made)
            else:
                refused.append(made)
        notes += [*KINDS[kind].about(folder), *_unused(folder, kind, entries, asked)]
        read.append([_under(root, folder.root, entry) for entry in entries])
    merged, told = _with_own_ids(read, folders, root)
    if asked.times is not None:
        grids = TextGrids(asked.times)
        checked = [tidy(entry) for entry in grids.add_to(merged)]
        refused += [item for item in checked if isinstance(item, Refusal)]
        merged = [item for item in checked if isinstance(item, Entry)]
        told += grids.notes
    elif any(entry.words or entry.phones for entry in merged):
        merged = with_names(merged)  # by which the files of times know them
    merged.sort(key=lambda entry: (entry.path, entry.begin, entry.utt))
    return Gathered(root, " and ".join(dict.fromkeys(kinds)), merged, refused, notes + told)


class _Finder:
    """What the path of an entry says, and whether a manifest can hold it."""

    def __init__(self, asked: Sources) -> None:
        speaker, split = asked.speaker_from, asked.split_from
        self.speaker = None if speaker is None else path_finder(speaker)
        self.split = None if split is None else path_finder(split, "--split-from")

    def __call__(self, entry: Entry) -> Entry | Refusal:
        if self.split is not None:
            split = own_split(named_by(entry.path, self.split))
            if not split:
                return Refusal(entry.path, "path names no split; widen `--split-from`")
            entry = entry._replace(split=split)
        found = entry if self.speaker is None else name_speaker(entry, self.speaker)
        return tidy(found) if isinstance(found, Entry) else found


def _elsewhere(asked: Sources) -> tuple[str, ...]:
    if asked.audio is None:
        return ()
    folder = open_folder(asked.audio)
    found = tuple(folder.join(name) for name in folder.audio())
    if not found:
        raise SourceError(f"`--audio` is {asked.audio}, which holds no audio; name the folder that does")
    return found


def _check_options(asked: Sources, kinds: Sequence[str]) -> None:
    if asked.suffixes is not None:
        for kind in kinds:
            if not KINDS[kind].walks:
                raise SourceError(
                    f"`--ext` chooses files of a folder; {kind} lists its files itself: leave it out"
                )
    for option, value in (("--audio", asked.audio), ("--column", asked.columns)):
        if value and "table" not in kinds:
            raise SourceError(
                f"`{option}` is for tables with a header, and there is none here ({', '.join(kinds)}); "
                "name the table, or leave it out"
            )


def _check_apart(folders: Sequence[Folder]) -> None:
    walked = [folder.root for folder in folders if not folder.is_file]
    for i, one in enumerate(walked):
        for other in walked[i + 1 :]:
            if os.path.commonpath([one, other]) in (one, other):
                raise SourceError(
                    f"{one} and {other} hold the same files; name each folder once, and none within another"
                )


def _under(root: str, folder: str, entry: Entry) -> Entry:
    """The entry's path from the common root."""
    if root == folder or os.path.isabs(entry.path):
        return entry._replace(path=entry.path.removeprefix(root.rstrip("/") + "/"))
    return entry._replace(path=os.path.relpath(os.path.join(folder, entry.path), root))


def _with_own_ids(
    read: Sequence[list[Entry]], folders: Sequence[Folder], root: str
) -> tuple[list[Entry], list[str]]:
    """Tables of one folder are one corpus; ids that several corpora have get their folders' names."""
    of_root: dict[str, list[Entry]] = {}
    for folder, entries in zip(folders, read, strict=True):
        of_root.setdefault(folder.root, []).extend(entries)
    ids = ({entry.utt for entry in entries if entry.utt} for entries in of_root.values())
    seen = Counter(utt for held in ids for utt in held)
    if not any(count > 1 for count in seen.values()):
        return [entry for entries in of_root.values() for entry in entries], []
    made = []
    for folder_root, entries in of_root.items():
        name = os.path.relpath(folder_root, root).replace("/", "-").strip(".") or "all"
        made += [entry._replace(utt=f"{name}-{entry.utt}") if entry.utt else entry for entry in entries]
    shared = [utt for utt, count in seen.items() if count > 1]
    return made, [
        f"ids are there in several corpora ({some_of(shared, _NAMED)}), so all begin with their folder"
    ]


def _unused(folder: Folder, kind: str, entries: Sequence[Entry], asked: Sources) -> Iterator[str]:
    """What lies in the folder, looks as if it were meant, and was not taken."""
    tables = Tables(folder)
    left = tables.all if kind == "plain" else []
    if kind == "table":
        left = [table for table in tables.all if table not in tables.used]
        listed = {entry.path for entry in entries}
        if more := [name for name in folder.audio() if name not in listed]:
            yield f"{len(more):,} audio files are in no table and not used: {some_of(more, _NAMED)}"
    if left:
        names = some_of([table.name for table in left], _NAMED)
        yield f"not used though a table of audio: {names}; name it alone to have it"
    if kind == "plain" and asked.split_from is None:
        yield from _split_folders(folder)
    grids = sum(name.lower().endswith(".textgrid") for name in folder.files)
    if grids and asked.times is None and not any(entry.words or entry.phones for entry in entries):
        yield f"{grids:,} TextGrids were not used: `--times {folder.root}` takes times of words and phones"


def _split_folders(folder: Folder) -> Iterator[str]:
    for depth in (0, 1):
        parts = [name.split("/") for name in folder.audio()]
        names = sorted({each[depth] for each in parts if len(each) > depth + 1 and own_split(each[depth])})
        if names:
            yield (
                f"folders named for splits ({some_of(names, _NAMED)}) were divided like all others: "
                f"`--split-from {depth + 1}` keeps them apart"
            )
            return
