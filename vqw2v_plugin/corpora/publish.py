"""Manifests of wavs, written in full before they get their names: a killed run leaves none half-written."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common.files import publish_in_order, scratch_folder
from .manifest import write_manifest
from .rows import COLUMNS, TIMED, Row
from .sources import Refusal, SourceError

REFUSED = "refused.tsv"


def check_own(out: Path) -> None:
    """Manifests that no run of ours has written stay as they are."""
    foreign = [name for name in ("train.tsv", "valid.tsv", "test.tsv") if (out / name).exists()]
    if foreign and not (out / REFUSED).exists():
        raise SourceError(
            f"{out / foreign[0]} is there and was not written by this command, which writes {REFUSED} first; "
            f"name another folder, or move that file away"
        )


def publish(
    out: Path, root: str, splits: Mapping[str, Sequence[Row]] | None, refused: Sequence[Refusal]
) -> None:
    """Writes refused.tsv and, unless `splits` is None, SPLIT.tsv for each, all with the same columns.

    Where the corpus has times of words or phones, SPLIT.words.ctm and SPLIT.phones.ctm as well.
    """
    with scratch_folder(out, "manifests") as scratch:
        _write_refused(scratch / REFUSED, refused)
        columns = _columns(splits or {})
        for split, rows in (splits or {}).items():
            write_manifest(scratch / f"{split}.tsv", root, (row.fields() for row in rows), columns)
            for column in TIMED:
                if column in columns:
                    _write_ctm(scratch / f"{split}.{column}.ctm", rows, column)
        names = sorted(os.listdir(scratch), key=lambda name: (name != REFUSED, name))
        publish_in_order((scratch / name, out / name) for name in names)


def _columns(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    needed = {"path", "samples", "rate"}
    for rows in splits.values():
        for row in rows:
            if row.start:
                needed.add("start")
            needed.update(
                name
                for name in ("utt", "speaker", "lang", "subset", "text", *TIMED)
                if getattr(row.entry, name)
            )
    return [name for name in COLUMNS if name in needed]


def _write_ctm(path: Path, rows: Sequence[Row], column: str) -> None:
    """Lines `utterance 1 start duration label`, in seconds from the utterance's beginning."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for row in rows:
            for start, end, label in getattr(row.entry, column):
                file.write(f"{row.entry.utt} 1 {start:.5f} {end - start:.5f} {label}\n")


def _write_refused(path: Path, refused: Sequence[Refusal]) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write("path\treason\n")
        for refusal in sorted(refused):
            file.write("\t".join(_escape(field) for field in refusal) + "\n")


def _escape(field: str) -> str:
    """The text on one line, with `\\t` for a tab."""
    for character, name in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        field = field.replace(character, name)
    return "".join(
        c if not 0xD800 <= ord(c) < 0xDC80 and ord(c) not in range(0xDD00, 0xE000) else "?" for c in field
    )
