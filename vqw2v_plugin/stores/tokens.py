"""The tokens of the picture on disk, the ids of them: SPLIT.bin and SPLIT.idx, fairseq's indexed data set.

`.idx` holds, behind a header of 26 bytes, each utterance's number of ids (int32) and its place in `.bin`
(int64); `.bin` holds the ids, each utterance's followed by </s> as fairseq-preprocess writes it. Opening maps
these files and reads but the index; neither torch nor fairseq is needed.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from ..common.files import make_folder, part_of, publish_in_order
from ..common.inputs import check_file
from ..common.splits import split_there
from .folder import ids_line
from .symbols import EOS, TOKENS, Ids, TokenError

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQ")  # magic, version, type of the ids, number of utterances
_TYPES: dict[int, type[np.generic]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
    9: np.uint32,
}
_CODES = {kind: code for code, kind in _TYPES.items()}


class TokenStore:
    """One split: `store[i]` are utterance i's ids without </s>, `store.sizes` the numbers of them."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        split = split_there(folder, split, "idx")
        self.folder, self.split = Path(folder), split
        index, self.path = self.folder / f"{split}.idx", self.folder / f"{split}.bin"
        self._kind, count = _read_header(index)
        self._raw_sizes = _map(index, np.int32, count, _HEADER.size)
        self._places = _map(index, np.int64, count, _HEADER.size + 4 * count)
        width = np.dtype(self._kind).itemsize
        end = _check_places(index, self._raw_sizes, self._places, width)
        held = self.path.stat().st_size if self.path.is_file() else -1
        if held != end:
            got = "is missing" if held < 0 else f"has {held} bytes"
            raise TokenError(
                f"{self.path}: {got}, {index.name} expects {end}; the two are not of one run: make both anew"
            )
        self._ids = _map(self.path, self._kind, end // width, 0)
        # all utterances or none end in </s>: whoever wrote the first wrote the others
        self._tail = int(count > 0 and self._raw_sizes[0] > 0 and self._ids[self._raw_sizes[0] - 1] == EOS)

    def __len__(self) -> int:
        return len(self._raw_sizes)

    def __getitem__(self, index: int) -> Ids:
        begin = int(self._places[index]) // np.dtype(self._kind).itemsize
        end = begin + int(self._raw_sizes[index])
        ids = self._ids[begin:end].astype(np.int64)
        if (int(ids[-1]) == EOS if len(ids) else 0) != self._tail or (len(ids) and ids.min() < 0):
            raise TokenError(
                f"{self.path}: ids of utterance {index} are below 0, or one of it and the first alone ends "
                f"in </s>; the file is damaged or not of its index's run: make both anew"
            )
        return ids[: len(ids) - self._tail]

    @cached_property
    def sizes(self) -> Ids:
        """Tokens of each utterance."""
        return np.asarray(self._raw_sizes, dtype=np.int64) - self._tail

    @cached_property
    def rows(self) -> list[tuple[str, int]]:
        """(utterance, frames) of each, from SPLIT.ids."""
        rows = TOKENS.read_ids(self.folder, self.split, len(self))
        about = TOKENS.read_about(self.folder)
        if about.get("run_length") is False and self.split in about.get("splits", {}):
            TOKENS.check_frames(self.folder, self.split, rows, self.sizes.tolist())
        return rows

    def __getstate__(self) -> tuple[Path, str]:
        return self.folder, self.split  # maps are opened anew in another process, not copied into it

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]


class TokenWriter:
    """Writes one split in the order of `add`; it appears under its names when whole, on leaving `with`.

    What a block that fails has written is dropped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str,
        num_symbols: int | None = None,
        distinct: bool = False,
    ) -> None:
        """`distinct`: the caller vouches for ids of their own, which need not be remembered then."""
        self.folder, self.split = Path(folder), split
        make_folder(self.folder)
        self._kind = _fitting_type(num_symbols)
        self._limit = np.iinfo(self._kind).max  # type: ignore[type-var]
        self._sizes = array("i")  # four bytes each: there may be millions
        self._seen: set[str] | None = None if distinct else set()
        self._paths = [self.folder / f"{split}.{suffix}" for suffix in ("bin", "ids", "idx")]
        self._bin: BinaryIO = open(part_of(self._paths[0]), "wb")
        self._ids: TextIO = open(part_of(self._paths[1]), "w", encoding="utf-8", newline="\n")

    def add(self, utt: str, frames: int, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> None:
        """Appends an utterance: its ids without <s> and </s>, and how many frames they stand for."""
        where = f"{self.folder / self.split}: utterance {utt!r}"
        if (self._seen and utt in self._seen) or not utt or any(character in utt for character in "\t\n\r"):
            raise TokenError(f"{where}: expected an id of its own, without tab and line break")
        values = np.append(np.asarray(ids, dtype=np.int64), EOS)
        if values.min() < 0 or values.max() > self._limit:
            raise TokenError(
                f"{where}: has ids {values.min()} to {values.max()}; expected 0 to {self._limit}"
            )
        self._bin.write(values.astype(self._kind).tobytes())
        self._ids.write(ids_line(utt, frames))
        self._sizes.append(len(values))
        if self._seen is not None:
            self._seen.add(utt)

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._bin.close()
            self._ids.close()
            if kind is None:
                self._publish()
        finally:
            for path in self._paths:
                part_of(path).unlink(missing_ok=True)

    def _publish(self) -> None:
        """`.idx` last: without it there is no split."""
        sizes = np.asarray(self._sizes, dtype=np.int32)
        ends = np.cumsum(sizes, dtype=np.int64) * np.dtype(self._kind).itemsize
        places = np.append(np.zeros(1, dtype=np.int64), ends)[: len(sizes)]
        header = _HEADER.pack(_MAGIC, 1, _CODES[self._kind], len(sizes))
        part_of(self._paths[2]).write_bytes(header + sizes.tobytes() + places.tobytes())
        publish_in_order((part_of(path), path) for path in self._paths)


def _read_header(path: Path) -> tuple[type[np.generic], int]:
    try:
        check_file(path)
        with open(path, "rb") as file:
            magic, version, kind, count = _HEADER.unpack(file.read(_HEADER.size))
    except FileNotFoundError:
        raise TOKENS.missing(path) from None
    except struct.error:
        magic, version, kind, count = b"", 0, 0, 0
    size = path.stat().st_size
    if magic != _MAGIC or version != 1 or kind not in _TYPES or size != _HEADER.size + 12 * count:
        raise TokenError(
            f"{path}: is no index of a memory-mapped fairseq data set, or is cut short ({size} bytes); "
            f"make it with `vqw2v discretize`, or fairseq-preprocess --dataset-impl mmap"
        )
    return _TYPES[kind], int(count)


def _check_places(
    index: Path, sizes: npt.NDArray[np.int32], places: npt.NDArray[np.int64], width: int
) -> int:
    """Where `.bin` ends; each utterance is to begin where the one before it ends."""
    ends = np.cumsum(sizes, dtype=np.int64) * width
    wrong = (sizes < 0) | (places != ends - np.asarray(sizes, np.int64) * width)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise TokenError(
            f"{index}: utterance {first} has {int(sizes[first])} ids from byte {int(places[first])} on, "
            f"expected it to begin where the one before it ends; the file is damaged: make the split anew"
        )
    return int(ends[-1]) if len(ends) else 0


def _map(path: Path, kind: type[np.generic], count: int, offset: int) -> npt.NDArray[Any]:
    if not count:  # an empty range cannot be mapped
        return np.zeros(0, dtype=kind)
    return np.memmap(path, dtype=kind, mode="r", offset=offset, shape=(count,))


def _fitting_type(num_symbols: int | None) -> type[np.generic]:
    """As fairseq chooses it; unsigned 32 bits where the number of symbols is not known."""
    return np.uint16 if num_symbols is not None and num_symbols < 65_500 else np.uint32
