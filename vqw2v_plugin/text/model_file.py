"""letters ──decoder──▶ text: a language model's file, looked at before KenLM trusts its counts.

ARPA begins with a line `data` between backslashes and `ngram N=COUNT` lines; KenLM's binary with a magic
line, test values and its counts. What a binary holds behind these cannot be checked: it is mapped as it is.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

from ..common.inputs import UTF8_MARK, check_file, lines_of
from .ngram import MAX_ORDER

BINARY = b"mmap lm http://kheafield.com/code format version 5\n\0"
_TESTED = struct.pack("<56sfffIIIQ", BINARY, 0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
_ABOUT = struct.Struct("<B3xfIB3xI")  # order, multiplier, type, has words, version
_TYPES, _MOST_MULTIPLIED = 6, 1_000
_LEAST_LINE = 4  # bytes of an n-gram in ARPA: `-1⇥a` and its line's end
_DENSEST = 1_032  # bytes that a byte of gzip stands for, at most
_COUNT = re.compile(rb"ngram\s+(\d{1,2})\s*=\s*(\d{1,18})\s*", re.ASCII)
_LONGEST_HEAD = 10_000  # lines before the first n-gram: comments and counts


def check_model(path: str | os.PathLike[str]) -> None:
    """ValueError for what KenLM would not survive, or could not be."""
    try:
        size = check_file(path).st_size
        with open(path, "rb") as file:
            head = file.read(2)
            file.seek(0)
            if head == b"mm":
                _check_binary(path, file, size)
            elif head == b"\x1f\x8b":
                with gzip.open(file) as packed:
                    _check_counts(path, _arpa_counts(path, packed), size * _DENSEST // _LEAST_LINE)
            else:
                _check_counts(path, _arpa_counts(path, file), size // _LEAST_LINE)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file, expected an n-gram model; `vqw2v lm` trains one") from None
    except OSError as error:
        said = error.strerror or str(error)
        raise ValueError(f"{path}: {said}, expected an n-gram model; `vqw2v lm` trains one") from None
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{path}: is no whole gzipped model ({error}); pack it anew") from None


def _arpa_counts(path: str | os.PathLike[str], file: IO[bytes] | Any) -> list[int]:
    """The counts of the header, order 1 first."""
    counts: list[int] = []
    for line in _head(path, file):
        found = _COUNT.fullmatch(line)
        if not found or int(found[1]) != len(counts) + 1:
            raise ValueError(
                f"{path}: its header has the line {_shown(line)}, expected `ngram {len(counts) + 1}=` and a "
                f"count; write the model anew"
            )
        counts.append(int(found[2]))
    return counts


def _head(path: str | os.PathLike[str], file: IO[bytes] | Any) -> Iterator[bytes]:
    r"""The lines between `\data\` and the blank one behind the counts."""
    is_inside = False
    for number, blob in enumerate(lines_of(file, path)):
        line = blob.removeprefix(UTF8_MARK if not number else b"").strip()
        if number > _LONGEST_HEAD:
            break
        if is_inside:
            if not line:
                return
            yield line
        elif line == b"\\data\\":
            is_inside = True
        elif line and not line.startswith(b"#"):
            raise ValueError(
                f"{path}: KenLM cannot read it, as it begins with {_shown(line)}; expected ARPA, whose first "
                f"line is `\\data\\`, or KenLM's binary"
            )
    raise ValueError(f"{path}: ends in its header; expected ARPA with n-grams, or KenLM's binary")


def _check_binary(path: str | os.PathLike[str], file: IO[bytes], size: int) -> None:
    """The header alone, by which KenLM finds its way in the rest."""
    head = file.read(len(_TESTED) + _ABOUT.size)
    if len(head) < len(_TESTED) + _ABOUT.size or not head.startswith(_TESTED):
        raise ValueError(
            f"{path}: is KenLM's binary of another version or machine, or broken; expected one of this "
            f"machine's: make it of ARPA with `vqw2v lm --binary` or build_binary"
        )
    order, multiplier, kind, _, _ = _ABOUT.unpack(head[len(_TESTED) :])
    if not 1 <= multiplier <= _MOST_MULTIPLIED or kind >= _TYPES:
        raise ValueError(f"{path}: is a broken binary of KenLM's; make it anew with build_binary")
    blob = file.read(8 * order) if order <= MAX_ORDER else b""
    if len(blob) < 8 * order and order <= MAX_ORDER:
        raise ValueError(f"{path}: breaks off in its header; make it anew with build_binary")
    counts = struct.unpack(f"<{order}Q", blob) if order <= MAX_ORDER else [1] * order
    _check_counts(path, counts, 8 * size)  # a bit each, at least


def _check_counts(path: str | os.PathLike[str], counts: Sequence[int], most: int) -> None:
    if not 2 <= len(counts) <= MAX_ORDER:
        raise ValueError(
            f"{path}: KenLM cannot read it, as its order is {len(counts)}; expected 2 to {MAX_ORDER}"
        )
    for order, count in enumerate(counts, 1):
        if not 1 <= count <= most:
            raise ValueError(
                f"{path}: its header counts {count:,} {order}-grams, expected 1 to {most:,} in a file of its "
                f"size; the file is cut short or broken: make it anew"
            )


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "backslashreplace"))
