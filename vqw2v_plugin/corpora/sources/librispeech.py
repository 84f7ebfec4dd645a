"""LibriSpeech: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac, *.trans.txt with the words beside them."""

import os
from collections.abc import Iterator

from .entry import Entry, Refusal, own_split, table_lines
from .folder import Folder

_TRANSCRIPTS = ".trans.txt"


def fits(folder: Folder) -> bool:
    return not folder.is_file and any(name.endswith(_TRANSCRIPTS) for name in folder.files)


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """Every audio file; a file in another place and a transcript without its file are refused."""
    texts: dict[str, str] = {}  # the utterance with its folder: its words
    for name in folder.files:
        if name.endswith(_TRANSCRIPTS):
            for _, line in table_lines(folder.join(name)):
                utt, _, text = line.partition(" ")
                texts[os.path.join(os.path.dirname(name), utt)] = text
    for name in folder.audio():
        yield _entry(folder, name, texts.pop(os.path.splitext(name)[0], ""))
    for stem in sorted(texts):
        yield Refusal(stem, "has a transcript but no audio file; restore the file")


def _entry(folder: Folder, name: str, text: str) -> Entry | Refusal:
    # From the whole path, so that one subset or one speaker may be named as the corpus, too.
    parts = folder.join(name).split("/")
    utt = os.path.splitext(parts[-1])[0]
    if len(parts) < 5 or not utt.startswith(f"{parts[-3]}-{parts[-2]}-"):
        return Refusal(name, "does not lie in SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER; try `--kind plain`")
    subset = parts[-4]
    return Entry(name, utt, utt, speaker=parts[-3], subset=subset, text=text, split=own_split(subset))
