"""Where wavs come from: a table of kinds of corpora; a new kind is a file here and a line in the table."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import common_voice, kaldi, lhotse, librispeech, nemo, plain, stock_manifest, table, timit, wsj
from .entry import Entry, Refusal, SourceError, own_split
from .folder import SUFFIXES, Folder, open_folder

__all__ = [
    "KINDS",
    "SUFFIXES",
    "Entry",
    "Folder",
    "Refusal",
    "SourceError",
    "find_kind",
    "open_folder",
    "own_split",
]


class Kind(NamedTuple):
    """How to recognize a corpus in a folder, how to read it, and what it looks like."""

    fits: Callable[[Folder], bool]
    read: Callable[[Folder], Iterator[Entry] | Iterator[Entry | Refusal]]
    looks: str
    walks: bool = False  # finds its files by suffix, not in a table
    weak: bool = False  # taken where no other kind fits, in the order of the table
    about: Callable[[Folder], list[str]] = lambda folder: []  # how its columns were understood


KINDS: dict[str, Kind] = {
    "kaldi": Kind(kaldi.fits, kaldi.read, "wav.scp, here, in its subfolders or in those of data/"),
    "librispeech": Kind(librispeech.fits, librispeech.read, "*.trans.txt beside the audio", walks=True),
    "timit": Kind(timit.fits, timit.read, "TRAIN and TEST/DRn/SPEAKER/*.PHN beside the audio", walks=True),
    "wsj": Kind(wsj.fits, wsj.read, "wsj0 and wsj1 with *.dot or *.lsn transcripts"),
    "commonvoice": Kind(common_voice.fits, common_voice.read, "train.tsv with client_id, path, sentence"),
    "lhotse": Kind(lhotse.fits, lhotse.read, "*.jsonl(.gz) of cuts, recordings or supervisions"),
    "nemo": Kind(nemo.fits, nemo.read, "*.json(l) with audio_filepath"),
    "table": Kind(
        table.fits,
        table.read,
        "*.csv, *.tsv or *.jsonl with a header that names path, file_name, wav …",
        weak=True,
        about=table.about,
    ),
    "fairseq": Kind(
        stock_manifest.fits, stock_manifest.read, "SPLIT.tsv under a root line, as fairseq has it", weak=True
    ),
    "plain": Kind(plain.fits, plain.read, "audio files", walks=True, weak=True),
}


def find_kind(folder: Folder, forced: str | None = None) -> str:
    """The name of the folder's kind; a table or `plain` where there is no sign of another kind."""
    if forced is not None:
        if not KINDS[forced].fits(folder):
            raise SourceError(f"{folder.root} is not of kind {forced}: expected {KINDS[forced].looks}")
        return forced
    found = [name for name, kind in KINDS.items() if not kind.weak and kind.fits(folder)]
    if len(found) > 1:
        signs = "; ".join(f"{name} ({KINDS[name].looks})" for name in found)
        raise SourceError(f"{folder.root} looks like several kinds: {signs}; say which with `--kind`")
    found = found or [name for name, kind in KINDS.items() if kind.weak and kind.fits(folder)][:1]
    if not found:
        looks = "; ".join(f"{name}: {kind.looks}" for name, kind in KINDS.items())
        raise SourceError(
            f"{folder.root} holds nothing to list among its {len(folder.files):,} files; expected one of: "
            f"{looks}. Audio is what ends in {', '.join(folder.suffixes)}; `--ext` names other suffixes"
        )
    return found[0]
