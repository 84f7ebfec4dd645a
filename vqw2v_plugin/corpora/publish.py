"""Manifests of wavs, written in full before they get their names: a killed run leaves none half-written."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .manifest import write_manifest
from .rows import COLUMNS, TIMED, Row
from .sources import Refusal, SourceError

REFUSED = "refused.tsv"
_UNFINISHED, _LOCK = ".unfinished", ".lock"


@contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """The folder to write into, created if need be and locked until this run ends or dies."""
    if out.exists() and not out.is_dir():
        raise SourceError(f"{out} is a file, expected a folder to write manifests into; name another")
    out.mkdir(parents=True, exist_ok=True)
    foreign = [name for name in ("train.tsv", "valid.tsv", "test.tsv") if (out / name).exists()]
    if foreign and not (out / REFUSED).exists():
        raise SourceError(
            f"{out / foreign[0]} is there and was not written by this command, which writes {REFUSED} first; "
            f"name another folder, or move that file away"
        )
    with open(out / _LOCK, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise SourceError(
                    f"{out} is being written by another run; wait for it, or name another"
                ) from None
            # Some network disks have no locks; a lone run needs none.
        yield out


def publish(
    out: Path, root: str, splits: Mapping[str, Sequence[Row]] | None, refused: Sequence[Refusal]
) -> None:
    """Writes refused.tsv and, unless `splits` is None, SPLIT.tsv for each, all with the same columns.

    Where the corpus has times of words or phones, SPLIT.words.ctm and SPLIT.phones.ctm as well.
    """
    folder = out / _UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)  # a killed run's
    folder.mkdir()
    try:
        _write_refused(folder / REFUSED, refused)
        columns = _columns(splits or {})
        for split, rows in (splits or {}).items():
            write_manifest(folder / f"{split}.tsv", root, (row.fields() for row in rows), columns)
            for column in TIMED:
                if column in columns:
                    _write_ctm(folder / f"{split}.{column}.ctm", rows, column)
        for name in sorted(os.listdir(folder), key=lambda name: (name != REFUSED, name)):
            os.replace(folder / name, out / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
