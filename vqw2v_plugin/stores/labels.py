"""The label folder: SPLIT.ltr, .phn, .pcs, .word or .cls, a line an utterance; words, ids, dictionary.

SPLIT.utt names the utterance of each line, SPLIT.wrd holds its normalized words, SPLIT.seconds and SPLIT.spk
its length and its speaker where the manifest knows them, dict.ltr.txt a line `label count` for each label,
labels.json how all was made. A line of SPLIT.cls is the class of the whole utterance, whatever is said in it.
Neither torch nor fairseq is needed here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..common.files import publish_in_order, remove, scratch_folder
from ..common.locks import Rank, claimed
from ..common.splits import split_there
from .folder import SplitFormat, StoreError, text_lines
from .symbols import TokenError, read_dict

EXTENSIONS = {"letters": "ltr", "phones": "phn", "pieces": "pcs", "words": "word"}  # of what is said
CLASS = "class"  # of the utterance
_ALL = {**EXTENSIONS, CLASS: "cls"}
PIECES = "pieces.model"


class LabelError(StoreError):
    """A label folder that cannot be used; the message names the file and the reason."""


LABELS = SplitFormat(
    about="labels.json",
    files=("utt", "wrd", *_ALL.values(), "seconds", "spk"),
    made_with="vqw2v labels",
    error=LabelError,
)


@dataclass(frozen=True)
class Labels:
    """One split, in the manifest's order, without the utterances that have no text."""

    utts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] | None = None  # where the transcripts were words
    seconds: tuple[float, ...] | None = None  # where the manifest knew them
    speakers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        columns = (self.utts, self.labels, self.words, self.seconds, self.speakers)
        sizes = {len(column) for column in columns if column is not None}
        if len(sizes) > 1:
            raise LabelError(f"labels, words and utterances are of different numbers: {sorted(sizes)}")


def dict_name(kind: str) -> str:
    """`dict.ltr.txt` for letters."""
    return f"dict.{extension(kind)}.txt"


def lexicon_name(kind: str) -> str:
    """`lexicon.ltr.txt` for letters."""
    return f"lexicon.{extension(kind)}.txt"


def read_symbols(folder: str | os.PathLike[str], kind: str) -> tuple[str, ...]:
    """The dictionary's labels in their order."""
    return read_symbol_file(Path(folder) / dict_name(kind))


def read_symbol_file(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The labels of a dictionary, lines `label count`."""
    if not Path(path).is_file():
        raise LabelError(f"{path}: is missing; expected the labels' dictionary, which `vqw2v labels` writes")
    try:
        symbols = read_dict(path)
    except TokenError as error:
        raise LabelError(str(error)) from None
    if not symbols:
        raise LabelError(f"{path}: is empty; expected the labels' dictionary, which `vqw2v labels` writes")
    return symbols


def read_labels(folder: str | os.PathLike[str], split: str, kind: str) -> Labels:
    """One split's labels; a file of another number of lines than the others is an error."""
    base, split = Path(folder), split_there(folder, split, "utt")
    utts = _lines(base / f"{split}.utt")
    labels = _lines(base / f"{split}.{extension(kind)}")
    words, lengths, speakers = (
        _lines(base / f"{split}.{name}") if (base / f"{split}.{name}").is_file() else None
        for name in ("wrd", "seconds", "spk")
    )
    named = ((extension(kind), labels), ("wrd", words), ("seconds", lengths), ("spk", speakers))
    for name, lines in named:
        if lines is not None and len(lines) != len(utts):
            raise LabelError(
                f"{base / f'{split}.{name}'}: has {len(lines)} lines, {split}.utt {len(utts)}; expected one "
                "an utterance in both: make both anew with `vqw2v labels`"
            )
    spelled = tuple(tuple(line.split()) for line in labels)
    if kind == CLASS and any(len(names) != 1 for names in spelled):
        number = next(i for i, names in enumerate(spelled, 1) if len(names) != 1)
        raise LabelError(
            f"{base / f'{split}.{extension(kind)}'}:{number}: {labels[number - 1][:60]!r}, expected one "
            "class in every line, without spaces: make the labels anew"
        )
    seconds = None if lengths is None else _numbers(base / f"{split}.seconds", lengths)
    known = (None if lines is None else tuple(lines) for lines in (words, speakers))
    return Labels(tuple(utts), spelled, next(known), seconds, next(known))


def read_joined_labels(folder: str | os.PathLike[str], splits: str, kind: str) -> Labels:
    """Those of one split, or of several by commas, one behind the other."""
    first, *others = [read_labels(folder, split, kind) for split in splits.split(",")]
    if not others:
        return first

    def joined(name: str) -> Any:
        columns = [getattr(each, name) for each in (first, *others)]
        return None if None in columns else tuple(value for column in columns for value in column)

    return Labels(*(joined(f.name) for f in fields(Labels)))


def read_words(path: str | os.PathLike[str]) -> Labels:
    """The words of one split, without its labels, by its file SPLIT.wrd."""
    words = Path(path)
    if words.suffix != ".wrd" or not words.with_suffix(".utt").is_file():
        raise LabelError(
            f"{path}: is no SPLIT.wrd of a label folder, which names its utterances in SPLIT.utt; `vqw2v "
            "labels` writes both"
        )
    utts, said = _lines(words.with_suffix(".utt")), _lines(words)
    seconds = words.with_suffix(".seconds")
    lengths = _numbers(seconds, _lines(seconds)) if seconds.is_file() else None
    speakers = tuple(_lines(words.with_suffix(".spk"))) if words.with_suffix(".spk").is_file() else None
    return Labels(tuple(utts), ((),) * len(utts), tuple(said), lengths, speakers)


def write_labels(
    out: str | os.PathLike[str],
    kind: str,
    splits: Mapping[str, Labels],
    counts: Sequence[tuple[str, int]],
    about: Mapping[str, Any],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """All files of the splits, made beside and then given their names, labels.json last."""
    files = dict(extra or {})
    files[dict_name(kind)] = _text(f"{label} {count}" for label, count in counts)
    for split, made in splits.items():
        files[f"{split}.utt"] = _text(made.utts)
        files[f"{split}.{extension(kind)}"] = _text(map(" ".join, made.labels))
        if made.words is not None:
            files[f"{split}.wrd"] = _text(made.words)
        if made.seconds is not None:
            files[f"{split}.seconds"] = _text(f"{length:.3f}" for length in made.seconds)
        if made.speakers is not None:
            files[f"{split}.spk"] = _text(made.speakers)
    folder = Path(out)
    with claimed(folder, Rank()):
        _check_dictionary(folder, kind, [label for label, _ in counts])
        files[LABELS.about] = _merged_about(folder, kind, about)
        for name in (f"{split}.{suffix}" for split in splits for suffix in ("seconds", "spk")):
            if name not in files:  # those of other manifests
                remove(folder / name)
        with scratch_folder(folder, "labels") as scratch:
            for name, data in files.items():
                (scratch / name).write_bytes(data)
            publish_in_order((scratch / name, folder / name) for name in files)


def _merged_about(folder: Path, kind: str, about: Mapping[str, Any]) -> bytes:
    """What other runs said of other kinds and other splits stays."""
    known = LABELS.read_about(folder)
    held = known.get(kind, {})
    before = held.get("splits", {}) if isinstance(held, dict) else None
    if not isinstance(before, dict):
        raise LabelError(
            f"{folder / LABELS.about}: its `{kind}` are {held!r:.80}; expected an object with splits"
        )
    known[kind] = {**about, "splits": {**before, **about.get("splits", {})}}
    return LABELS.about_bytes(known)


def _check_dictionary(folder: Path, kind: str, symbols: Sequence[str]) -> None:
    """Other splits of the folder may have been made with the dictionary that is there."""
    path = folder / dict_name(kind)
    if path.exists() and read_symbol_file(path) != tuple(symbols):
        raise LabelError(
            f"{path}: is there and differs from the dictionary asked for, and labels of two cannot share a "
            "folder; name another"
        )


def _text(lines: Any) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _lines(path: Path) -> list[str]:
    try:
        lines = text_lines(path, "surrogateescape")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LabelError(f"{path}: {reason}; `vqw2v labels` writes it") from error
    return [
        line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines)
    ]  # an editor's mark


def _numbers(path: Path, lines: Sequence[str]) -> tuple[float, ...]:
    try:
        found = tuple(map(float, lines))
        if all(0 <= length < math.inf for length in found):
            return found
        bad = next(line for line, length in zip(lines, found, strict=True) if not 0 <= length < math.inf)
    except ValueError as error:
        bad = str(error)
    raise LabelError(f"{path}: holds {bad[:60]}, expected seconds in every line; make the labels anew")


def extension(kind: str) -> str:
    """`ltr` for letters."""
    if kind not in _ALL:
        raise LabelError(f"`unit` is {kind!r}; expected one of {', '.join(_ALL)}")
    return _ALL[kind]
