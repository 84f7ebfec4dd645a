"""Who may write a folder of tokens or features: one run, of one rank or several; locks die with it.

A lone run holds `.lock` for itself; ranks share it, and each holds `.lock.RANK-of-RANKS` for itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .files import make_folder

_LOCK = ".lock"


class LockedError(ValueError):
    """Another run writes here; the message names the folder."""


@dataclass(frozen=True)
class Rank:
    """Which of how many processes this is."""

    number: int = 0
    total: int = 1

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Rank:
        """As torchrun says it in RANK and WORLD_SIZE."""
        try:
            rank = cls(int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1")))
        except ValueError:
            rank = cls(-1, 0)
        if not 0 <= rank.number < rank.total:
            raise ValueError(
                f"RANK={environ.get('RANK')!r} and WORLD_SIZE={environ.get('WORLD_SIZE')!r} in the "
                f"environment; expected numbers such as 0 and 4, as torchrun sets them, or neither"
            )
        return rank


@contextmanager
def claimed(out: Path, rank: Rank) -> Iterator[None]:
    """The folder, made if need be, kept from other runs until this one ends or dies."""
    _make_folder(out)
    with ExitStack() as stack:
        _take(stack, out, _LOCK, fcntl.LOCK_EX if rank.total == 1 else fcntl.LOCK_SH)
        if rank.total > 1:
            own = f"{_LOCK}.{rank.number}-of-{rank.total}"
            _take(stack, out, own, fcntl.LOCK_EX)
            for path in sorted(out.glob(f"{_LOCK}.*-of-*")):  # ranks of a run of another size
                if not path.name.endswith(f"-of-{rank.total}"):
                    with ExitStack() as briefly:
                        _take(briefly, out, path.name, fcntl.LOCK_EX)
        yield


@contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Ranks of one run wait here for each other."""
    with open(out / f"{_LOCK}.merge", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


_NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EINVAL,
)  # some network disks; a lone run needs none


@contextmanager
def lock_file(out: Path, name: str) -> Iterator[int]:
    """A lock of its own name in the folder; its descriptor, for child processes that are to hold it too."""
    _make_folder(out)
    with ExitStack() as stack:
        yield _take(stack, out, name, fcntl.LOCK_EX)


def check_folder(out: Path) -> None:
    """Refuses what is there and no folder."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file, expected a folder to write into; name another")


def _make_folder(out: Path) -> None:
    check_folder(out)
    make_folder(out)


def _take(stack: ExitStack, out: Path, name: str, how: int) -> int:
    file: BinaryIO = stack.enter_context(open(os.path.join(out, name), "ab"))
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise LockedError(
                f"{out} is being written by another run; wait for it, or name another folder"
            ) from None
        if error.errno not in _NO_LOCKS:
            raise
    return file.fileno()
