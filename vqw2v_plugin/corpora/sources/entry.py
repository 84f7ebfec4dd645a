"""What a corpus tells about an utterance before its wav is looked at, or why that has to be left out."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ...common.inputs import UTF8_MARK, check_file, lines_of

_SPLIT_WORD = re.compile(r"(?<![a-z])(train|dev|valid|validation|val|test|eval)(?![a-z])", re.IGNORECASE)
_TABLE_WORD = re.compile(r"[_.-]?(?<![a-z])(manifest|cuts|recordings|supervisions)(?![a-z])", re.IGNORECASE)


class SourceError(ValueError):
    """A folder that no manifest can be made from; the message names it and the remedy."""


class Timed(NamedTuple):
    """A word or a phone, in seconds from the utterance's beginning."""

    start: float
    end: float
    label: str


class Entry(NamedTuple):
    """One utterance: `begin` to `end` seconds of `path`; an empty string is what the corpus does not tell."""

    path: str  # from the corpus' folder, or absolute
    unit: str  # the recording's name, the same wherever the corpus lies; no split divides a recording
    utt: str = ""
    begin: float = 0.0
    end: float | None = None  # None: the file's end
    speaker: str = ""
    lang: str = ""
    subset: str = ""
    text: str = ""
    split: str = ""  # the corpus' own
    phones: tuple[Timed, ...] = ()
    words: tuple[Timed, ...] = ()
    counted: bool = False  # `begin` and `end` are samples, in the file's own rate


class Refusal(NamedTuple):
    """What is left out and why; reasons that agree up to a bracket or semicolon are counted together."""

    path: str
    reason: str

    @property
    def group(self) -> str:
        return self.reason.split(" (")[0].split(";")[0]


def own_split(name: str) -> str:
    """The split that a folder or a table is named for: train, valid, a test set's own name, or none."""
    name = _TABLE_WORD.sub("", name)
    words = list(_SPLIT_WORD.finditer(name))
    if not words:
        return ""
    word = words[-1]  # `train_dev` is a development set, `test_dev93` too
    if word[1].lower() in ("test", "eval"):
        return re.sub(r"[^\w.-]", "_", name[word.start() :])
    return "train" if word[1].lower() == "train" else "valid"


def place(root: str, folder: str, path: str) -> str:
    """A path in a table: from the table's folder or, if nothing is there, from the working folder."""
    if not os.path.isabs(path):
        beside = os.path.join(root, folder, path)
        here = os.path.abspath(path)
        path = here if not os.path.exists(beside) and os.path.exists(here) else beside
    return path.removeprefix(root.rstrip("/") + "/")


def table_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a text table that are not blank, with their numbers; names in it need not be UTF-8."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            for number, blob in enumerate(lines_of(file, path), start=1):
                line = blob.removeprefix(UTF8_MARK if number == 1 else b"").decode("utf-8", "surrogateescape")
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise SourceError(
            f"{path}: {(error.strerror or str(error)).lower()}, expected a readable table; make it readable"
        ) from error
