"""Checkpoints as bytes, looked at before anything reads them: are they files, and what was written?

`torch.save` writes a zip archive whose members are stored as they are, each with its CRC-32, which
`torch.load` does not look at: without it a flipped bit is another code.
"""

from __future__ import annotations

import os
import pickletools
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_MARK, _OPEN = -1, -2  # on the stack: a mark; a list, dict or set that may be filled
_FILLED = {"EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "LIST", "DICT"}  # and what fills them
_FILLED |= {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"}
_DEEPEST_TUPLE, _DEEPEST = 100, 10_000
_MOST_STEPS = 30_000_000  # minutes, and more values than a checkpoint may hold
_PICKLES_OF_2018 = 5  # one after the other: a number, a version, a system, the content, its storages
_PLAIN = ("torch", "collections", "_codecs")  # modules that a checkpoint of weights may well name


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


def special_file(path: str | os.PathLike[str]) -> str:
    """What a path names, where opening it may never end; "" for files, folders and nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # not there, or with a NUL in its name: whoever opens it says so
        return ""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def is_archive(path: Path) -> bool:
    """Whether it is a zip archive, damaged or not, with a table of contents at its end."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # found, and not understood
        return True


def damage(path: Path) -> str:
    """Why a zip archive is not what `torch.save` wrote; "" if it is, or is of 2018's format without sums."""
    if not is_archive(path):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:  # a few bytes may become as many as they like
                    return f"its part {member.filename} is compressed, which torch.save never does"
                with archive.open(member) as part:
                    while part.read(_BLOCK):
                        pass
    except zipfile.BadZipFile as error:
        return f"it is damaged: {str(error).rstrip('.')}"
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"it is damaged: {str(error).rstrip('.') or type(error).__name__}"
    return ""


def foreign_globals(path: Path) -> Iterator[str]:
    """What else than tensors a pickle of an unusual protocol names; it is looked at, never loaded."""
    try:
        if is_archive(path):
            with zipfile.ZipFile(path) as archive:
                pickles = [archive.open(name) for name in archive.namelist() if name.endswith("data.pkl")]
                for stream in pickles:
                    yield from _globals(stream)
        else:
            with path.open("rb") as stream:
                while stream.peek(1):
                    yield from _globals(stream)
    except Exception:  # whatever is wrong with it, the file is refused anyway, only with a vaguer sentence
        return


def unsound_pickle(path: Path) -> str:
    """Why reading its pickles might end the process, or never end; "" if nothing speaks against it.

    Whoever hashes a tuple follows it as deep as it goes, unguarded: too deep is a segmentation fault.
    """
    try:
        if not is_archive(path):
            with path.open("rb") as stream:
                return next(filter(None, (_unsound(stream) for _ in range(_PICKLES_OF_2018))), "")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return next(filter(None, (_unsound(archive.open(name)) for name in names)), "")
    except Exception:  # no pickle: whoever reads it says so
        return ""


def _unsound(stream: IO[bytes]) -> str:
    """Goes through one pickle with nothing but how deep the tuples are that would lie on its stack.

    Lists and dicts are filled from inside out: as many lie there as they are deep.
    """
    stack: list[int] = []
    memo: dict[int, int] = {}
    open_ones = 0
    for number, (opcode, value, _) in enumerate(pickletools.genops(stream)):
        if number > _MOST_STEPS:
            return f"its pickle has more than {_MOST_STEPS:,} steps"
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if opcode.name == "MEMOIZE" else int(value or 0)] = max(0, stack[-1])
            continue
        taken = _take(stack, opcode)
        open_ones -= taken.count(_OPEN)
        if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(int(value or 0), 0))
        elif opcode.name == "MARK":
            stack.append(_MARK)
        elif opcode.name == "DUP":
            stack += [max([0, *taken])] * 2
        elif opcode.name.endswith(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")):
            stack.append(1 + max([0, *taken]))
            if stack[-1] > _DEEPEST_TUPLE:
                return f"it holds tuples in tuples, more than {_DEEPEST_TUPLE} deep"
        elif opcode.name in _FILLED:
            stack.append(_OPEN)
            open_ones += 1
            if open_ones > _DEEPEST:
                return f"it holds lists in lists, more than {_DEEPEST:,} deep"
        else:
            stack += [0] * len(opcode.stack_after)
    return ""


def _take(stack: list[int], opcode: pickletools.OpcodeInfo) -> list[int]:
    """What an instruction takes from the stack: a few values, or all above a mark and the next."""
    below = list(opcode.stack_before)
    taken: list[int] = []
    if pickletools.markobject in below:
        while stack and (top := stack.pop()) != _MARK:
            taken.append(top)
        below = below[: below.index(pickletools.markobject)]
    for _ in below:
        taken.append(stack.pop())
    return taken


def _globals(stream: IO[bytes]) -> Iterator[str]:
    texts: list[str] = []
    for opcode, value, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            texts = str(value).split(" ")
        elif isinstance(value, str):
            texts = [*texts[-1:], value]
        if opcode.name in ("GLOBAL", "STACK_GLOBAL") and not texts[0].startswith(_PLAIN):
            yield ".".join(texts)
