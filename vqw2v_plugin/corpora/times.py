"""Times of words and phones in wavs, from a folder of TextGrids such as the Montreal aligner's output."""

import os
from collections import Counter
from collections.abc import Sequence

from ..common.words import sentence, some_of
from .sources import Entry, SourceError, open_folder
from .sources.textgrid import read_textgrid, within

_NAMED = 4


class TextGrids:
    """TextGrids by name: of an utterance's path from the corpus' folder, of its id, or of its file's stem."""

    def __init__(self, path: str) -> None:
        folder = open_folder(path)
        self.notes: list[str] = []
        self._by_path: dict[str, str] = {}
        self._by_name: dict[str, str] = {}  # empty where two have it
        for name in folder.files:
            stem, ending = os.path.splitext(name)
            if ending.lower() == ".textgrid":
                base = os.path.basename(stem)
                self._by_path[stem] = name
                self._by_name[base] = "" if base in self._by_name else name
        if not self._by_path:
            raise SourceError(f"`--times` is {path}, which holds no *.TextGrid; name the folder that does")
        self._folder = folder

    def add_to(self, entries: Sequence[Entry]) -> list[Entry]:
        """Entries with their times; those that have none are counted in `notes`."""
        named = with_names(entries)
        made, without, broken = [], [], []
        for entry in named:
            name = self._name_of(entry)
            try:
                if entry.counted and entry.begin:
                    raise ValueError("is of a piece that is counted in samples; expected seconds")
                found = within(read_textgrid(self._folder.join(name)), entry.begin, entry.end) if name else {}
            except (ValueError, OSError) as error:
                found = {}
                broken.append(f"{name} ({getattr(error, 'strerror', None) or error})")
            if not name:
                without.append(entry.utt)
            words, phones = found.get("words", entry.words), found.get("phones", entry.phones)
            made.append(entry._replace(words=words, phones=phones))
        if without:
            self.notes.append(f"{len(without):,} utterances have no TextGrid: {some_of(without, _NAMED)}")
        if broken:
            self.notes.append(
                sentence(f"{len(broken):,} TextGrids cannot be used: {some_of(broken, _NAMED)}; mend them")
            )
        return made

    def _name_of(self, entry: Entry) -> str:
        stem = os.path.splitext(entry.path)[0]
        names = (stem, entry.utt, os.path.basename(stem))
        found = (self._by_path.get(name) or self._by_name.get(name) for name in names)
        return next(filter(None, found), "")


def with_names(entries: Sequence[Entry]) -> list[Entry]:
    """Every entry has an id, as CTM lines need: its file's stem or, where two files have it, its path's."""
    stems = Counter(os.path.basename(os.path.splitext(path)[0]) for path in {each.path for each in entries})
    made = []
    for entry in entries:
        stem = os.path.splitext(entry.path)[0]
        base = os.path.basename(stem)
        name = "_".join((base if stems[base] == 1 else stem).split())
        if entry.begin or entry.end is not None:
            name = f"{name}_{entry.begin:g}"
        made.append(entry if entry.utt else entry._replace(utt=name))
    return made
