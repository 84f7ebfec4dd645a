"""Files that others wrote, about any arrow: looked at before they are read, whatever lies under their names.

What cannot be read is an OSError whose `strerror` goes on from the name: `X: is a pipe`.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
from collections.abc import Iterator
from typing import IO, Any

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
UTF8_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 1 << 26  # bytes
_MOST_BRACKETS = 1 << 22  # of a JSON: lists take the time; a dictionary of a million symbols has a quarter
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def check_file(path: str | os.PathLike[str]) -> os.stat_result:
    """What is known of a file of bytes; pipes wait for ever, and devices may never end."""
    try:
        state = os.stat(path)
    except ValueError as error:  # a NUL, or half a character
        raise _error(path, errno.EINVAL, f"is no name of a file ({error})") from None
    if not stat.S_ISREG(state.st_mode):
        kind = stat.S_IFMT(state.st_mode)
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise _error(path, number, _KINDS.get(kind, "is no file"))
    return state


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file."""
    check_file(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except MemoryError:
        raise _error(path, errno.EFBIG, "is larger than the memory that there is") from None


def read_text(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """UTF-8, with a mark at its beginning or without; UnicodeDecodeError if it is something else."""
    blob = read_bytes(path)
    if blob[:2] in _UTF16_MARKS:
        raise UnicodeDecodeError("utf-8", blob[:2], 0, 1, "a mark of UTF-16")
    return blob.removeprefix(UTF8_MARK).decode("utf-8", errors).replace("\r\n", "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a file of JSON holds; ValueError if it is none."""
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """ValueError for what is no JSON, and for lists in lists: deeper than Python follows, or far too many."""
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError(f"holds more than {_MOST_BRACKETS:,} lists and objects")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep to be read") from None


def lines_of(file: IO[bytes], name: str | os.PathLike[str]) -> Iterator[bytes]:
    """The lines, each of a length that memory has room for: packed files may hold one that never ends."""
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise _error(name, errno.EFBIG, f"has more than {LONGEST_LINE:,} bytes in line {number}")
        if not line:
            return
        yield line


def _error(path: str | os.PathLike[str], number: int, said: str) -> OSError:
    return OSError(number, said, os.fspath(path))
