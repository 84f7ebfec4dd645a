"""The tokens of the picture on disk, the ids of them: SPLIT.bin and SPLIT.idx, fairseq's indexed data set.

`.idx` holds, behind a header of 26 bytes, each utterance's number of ids (int32) and its place in `.bin`
(int64); `.bin` holds the ids, each utterance's followed by </s> as fairseq-preprocess writes it. Opening maps
these files and reads none of them; neither torch nor fairseq is needed.
"""

from __future__ import annotations

import os
import shutil
import struct
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from .symbols import EOS, Codes, Ids, TokenError, read_ids, splits, symbols_of

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
        self.folder, self.split = Path(folder), split
        index, self.path = self.folder / f"{split}.idx", self.folder / f"{split}.bin"
        self._kind, count = _read_header(index, self.folder)
        self._raw_sizes = _map(index, np.int32, count, _HEADER.size)
        self._places = _map(index, np.int64, count, _HEADER.size + 4 * count)
        width = np.dtype(self._kind).itemsize
        end = int(self._places[-1]) + int(self._raw_sizes[-1]) * width if count else 0
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
        return self._ids[begin : begin + int(self.sizes[index])].astype(np.int64)

    @cached_property
    def sizes(self) -> Ids:
        """Tokens of each utterance."""
        return np.asarray(self._raw_sizes, dtype=np.int64) - self._tail

    @cached_property
    def rows(self) -> list[tuple[str, int]]:
        """(utterance, frames) of each, from SPLIT.ids."""
        return read_ids(self.folder / f"{self.split}.ids", len(self))

    def __getstate__(self) -> tuple[Path, str]:
        return self.folder, self.split  # maps are opened anew in another process, not copied into it

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]


class TokenWriter:
    """Writes one split in the order of `add`; it appears under its names when whole, on leaving `with`.

    Until then it lies beside them. A killed run's part is taken up again: `num_done` utterances need no other
    `add`, and the end result is that of an uninterrupted run. `refresh` starts from nothing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str,
        num_symbols: int | None = None,
        refresh: bool = False,
        distinct: bool = False,
    ) -> None:
        """`distinct`: the caller vouches for ids of their own, which need not be remembered then."""
        self.folder, self.split = Path(folder), split
        self.folder.mkdir(parents=True, exist_ok=True)
        self._kind = _fitting_type(num_symbols)
        self._limit = np.iinfo(self._kind).max  # type: ignore[type-var]
        self._bin_part, self._ids_part = self._part("bin"), self._part("ids")
        rows = [] if refresh else self._kept_rows()
        self._sizes = array("i", (size for _, _, size in rows))  # four bytes each: there may be millions
        self._seen = None if distinct else {utt for utt, _, _ in rows}
        self._bin: BinaryIO = open(self._bin_part, "r+b" if rows else "wb")
        self._bin.truncate(sum(self._sizes) * np.dtype(self._kind).itemsize)
        self._bin.seek(0, os.SEEK_END)
        self._ids: TextIO = open(self._ids_part, "w", encoding="utf-8", newline="\n")
        self._ids.writelines(f"{utt}\t{frames}\t{size}\n" for utt, frames, size in rows)

    @property
    def num_done(self) -> int:
        """Utterances written so far, those of a killed run among them."""
        return len(self._sizes)

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
        self._bin.flush()  # before the line that says it is there
        self._ids.write(f"{utt}\t{frames}\t{len(values)}\n")
        self._ids.flush()
        self._sizes.append(len(values))
        if self._seen is not None:
            self._seen.add(utt)

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bin.close()
        self._ids.close()
        if kind is None:
            self._publish()

    def _publish(self) -> None:
        """`.idx` last: without it there is no split."""
        sizes = np.asarray(self._sizes, dtype=np.int32)
        ends = np.cumsum(sizes, dtype=np.int64) * np.dtype(self._kind).itemsize
        places = np.append(np.zeros(1, dtype=np.int64), ends)[: len(sizes)]
        header = _HEADER.pack(_MAGIC, 1, _CODES[self._kind], len(sizes))
        index, ids = self._part("idx"), self._part("ids.final")
        index.write_bytes(header + sizes.tobytes() + places.tobytes())
        with (
            open(ids, "w", encoding="utf-8", newline="\n") as file,
            open(self._ids_part, encoding="utf-8") as part,
        ):
            file.writelines(line.rpartition("\t")[0] + "\n" for line in part)
        os.replace(self._bin_part, self.folder / f"{self.split}.bin")
        os.replace(ids, self.folder / f"{self.split}.ids")
        os.replace(index, self.folder / f"{self.split}.idx")
        self._ids_part.unlink()

    def _part(self, name: str) -> Path:
        # ids of another width are another run's
        return self.folder / f".{self.split}.{self._kind.__name__}.{name}.part"

    def _kept_rows(self) -> list[tuple[str, int, int]]:
        """What a killed run left whole."""
        if not (self._bin_part.is_file() and self._ids_part.is_file()):
            return []
        held = self._bin_part.stat().st_size // np.dtype(self._kind).itemsize
        rows: list[tuple[str, int, int]] = []
        for line in self._ids_part.read_text(encoding="utf-8").split("\n")[:-1]:
            utt, frames, size = line.split("\t")
            held -= int(size)
            if held < 0:
                break
            rows.append((utt, int(frames), int(size)))
        return rows


def _read_header(path: Path, folder: Path) -> tuple[type[np.generic], int]:
    try:
        with open(path, "rb") as file:
            magic, version, kind, count = _HEADER.unpack(file.read(_HEADER.size))
    except FileNotFoundError:
        there = ", ".join(splits(folder)) or "none"
        raise TokenError(
            f"{path}: is missing; the splits in {folder} are: {there}; name one of these, or make it "
            f"with `vqw2v discretize`"
        ) from None
    except struct.error:
        magic, version, kind, count = b"", 0, 0, 0
    size = path.stat().st_size
    if magic != _MAGIC or version != 1 or kind not in _TYPES or size != _HEADER.size + 12 * count:
        raise TokenError(
            f"{path}: is no index of a memory-mapped fairseq data set, or is cut short ({size} bytes); "
            f"make it with `vqw2v discretize`, or fairseq-preprocess --dataset-impl mmap"
        )
    return _TYPES[kind], int(count)


def _map(path: Path, kind: type[np.generic], count: int, offset: int) -> npt.NDArray[Any]:
    if not count:  # an empty range cannot be mapped
        return np.zeros(0, dtype=kind)
    return np.memmap(path, dtype=kind, mode="r", offset=offset, shape=(count,))


def _fitting_type(num_symbols: int | None) -> type[np.generic]:
    """As fairseq chooses it; unsigned 32 bits where the number of symbols is not known."""
    return np.uint16 if num_symbols is not None and num_symbols < 65_500 else np.uint32


_NPY_HEADER = 128  # bytes of a .npy file before its numbers


class TokenExtras:
    """Takes each utterance of a split in turn; what it writes gets its names on `publish`."""

    def __init__(self, out: Path, split: str, run_length: bool, text: bool, npy: bool) -> None:
        self.out, self.split, self.npy = out, split, npy
        self._text = open(self._part("txt"), "w", encoding="utf-8", newline="\n") if text else None
        self._durations = open(self._part("durations.npy"), "wb") if run_length else None
        if self._durations is not None:
            self._durations.seek(_NPY_HEADER)
        if npy:
            shutil.rmtree(self._part("codes"), ignore_errors=True)
            self._part("codes").mkdir()

    def add(self, utt: str, codes: Codes, kept: Codes, lengths: Ids) -> None:
        """`codes` [T, G] of all frames, `kept` [N, G] of the tokens, `lengths` [N] the frames of each."""
        if self._durations is not None:
            self._durations.write(lengths.astype("<i4").tobytes())
        if self._text is not None:
            symbols, inverse = symbols_of(kept)
            self._text.write(" ".join(symbols[i] for i in inverse.tolist()) + "\n")
        if self.npy:
            steps = [step if step.strip(".") else step.replace(".", "%2E") for step in utt.split("/") if step]
            path = self._part("codes").joinpath(*steps[:-1], (steps[-1] if steps else "%2F") + ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, codes)

    def publish(self) -> None:
        if self._text is not None:
            self._text.close()
            os.replace(self._part("txt"), self.out / f"{self.split}.txt")
        if self._durations is not None:
            count = (self._durations.tell() - _NPY_HEADER) // 4
            self._durations.seek(0)
            header = {"descr": "<i4", "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(self._durations, header)
            assert self._durations.tell() == _NPY_HEADER
            self._durations.close()
            os.replace(self._part("durations.npy"), self.out / f"{self.split}.durations.npy")
        if self.npy:
            shutil.rmtree(self.out / f"{self.split}.codes", ignore_errors=True)
            os.replace(self._part("codes"), self.out / f"{self.split}.codes")

    def _part(self, name: str) -> Path:
        return self.out / f".{self.split}.{name}.part"
