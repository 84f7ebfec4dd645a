"""z, c, quantized vectors, BERT's states or spectra on disk: a row a frame, mapped, none read at opening.

SPLIT.npy holds all frames [N, D] (fp16 or fp32), SPLIT.ends.npy where each utterance's end (int64), SPLIT.ids
`utt⇥frames` a line, features.json what they are. numpy alone reads them: `np.load(…, mmap_mode="r")`.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..common.files import make_folder, part_of, publish_in_order, sync_file, sync_folder
from ..common.splits import split_there
from .folder import SplitFormat, StoreError, ids_line
from .numbers import map_numbers
from .shards import Rows, ShardFolder, Span


class FeatureError(StoreError):
    """A feature folder that cannot be used; the message names the file and the reason."""


FEATURES = SplitFormat(
    about="features.json",
    files=("ends.npy", "npy", "ids", "refused.tsv"),
    made_with="vqw2v features",
    error=FeatureError,
    later=("normalize",),
    earlier_parts=("ends",),
)


class FeatureStore:
    """One split: `store[i]` are utterance i's frames [T, D], `store.sizes` the numbers of them."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        split = split_there(folder, split, "npy")
        self.folder, self.split = Path(folder), split
        self.frames = self._map("npy", (np.float16, np.float32), 2)  # [N, D]
        self.ends = self._map("ends.npy", (np.int64,), 1)  # [utterances]
        self._check_kind()
        last = int(self.ends[-1]) if len(self.ends) else 0
        if (np.diff(self.ends, prepend=0) < 0).any():
            raise FeatureError(
                f"{self.folder / split}.ends.npy: an utterance ends before it begins; the file is damaged: "
                f"make the split anew"
            )
        if last != len(self.frames):
            raise FeatureError(
                f"{self.folder / split}.npy: has the shape {list(self.frames.shape)}, {split}.ends.npy "
                f"expects {last} frames; the two are not of one run: make both anew"
            )

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Rows:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.folder / self.split} has {len(self)} utterances, asked for {index}")
        index %= len(self)
        begin = int(self.ends[index - 1]) if index else 0
        return self.frames[begin : int(self.ends[index])]

    @property
    def dim(self) -> int:
        return int(self.frames.shape[1])

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Frames of each utterance."""
        return np.diff(np.asarray(self.ends), prepend=0)

    @cached_property
    def rows(self) -> list[tuple[str, int]]:
        """(utterance, frames) of each, from SPLIT.ids."""
        rows = FEATURES.read_ids(self.folder, self.split, len(self))
        FEATURES.check_frames(self.folder, self.split, rows, self.sizes.tolist())
        return rows

    def __getstate__(self) -> tuple[Path, str]:
        return self.folder, self.split  # maps are opened anew in another process, not copied into it

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _check_kind(self) -> None:
        """The json names the numbers' type and how many a frame has, too."""
        about = FEATURES.read_about(self.folder)
        got = {"dim": self.dim, "store": "fp16" if self.frames.dtype == np.float16 else "fp32"}
        if found := [name for name in got if about.get(name, got[name]) != got[name]]:
            raise FeatureError(
                f"{self.folder / self.split}.npy: its `{found[0]}` is {got[found[0]]}, {FEATURES.about} says "
                f"{about[found[0]]}; the two are not of one run: make the split anew"
            )

    def _map(self, suffix: str, kinds: Sequence[type[np.generic]], num_axes: int) -> npt.NDArray[Any]:
        path = self.folder / f"{self.split}.{suffix}"
        try:
            return map_numbers(path, kinds, num_axes)
        except FileNotFoundError:
            raise FEATURES.missing(path) from None
        except ValueError as error:
            raise FeatureError(f"{path}: {error}; make the split anew") from None


class FeatureWriter:
    """Writes one split, frame after frame in the utterances' order; `publish` gives its files their names.

    Until then the frames lie in `.SPLIT.npy.part`. With `resume` those of a killed writer stay: `skip` them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str,
        dtype: npt.DTypeLike,
        dim: int,
        split_format: SplitFormat = FEATURES,
        resume: bool = False,
    ) -> None:
        self.folder, self.split, self.format = Path(folder), split, split_format
        self._dtype, self._dim = np.dtype(dtype), dim
        self._npy, self._ids, self._ends = (
            self.folder / f"{split}.{suffix}" for suffix in ("npy", "ids", "ends.npy")
        )
        make_folder(self.folder)
        part = part_of(self._npy)
        self._file: BinaryIO = open(part, "r+b" if resume and part.exists() else "w+b")
        self._write_header(0)
        sync_folder(self.folder)  # once its name is there, `sync` makes what is in it safe

    def add(self, rows: Rows) -> None:  # [T, D]
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)

    def skip(self, num_frames: int, checksum: int) -> None:
        """Passes over frames that a killed writer has written and synced."""
        left, found = num_frames * self._dim * self._dtype.itemsize, 0
        while left and (block := self._file.read(min(left, 1 << 20))):
            left, found = left - len(block), zlib.crc32(block, found)
        if left or found != checksum:
            raise FeatureError(
                f"{part_of(self._npy)}: lacks frames that were in it; make it anew with --refresh"
            )

    def sync(self) -> None:
        """What was added may be deleted elsewhere."""
        sync_file(self._file)

    def publish(self, rows: Iterable[tuple[str, int]], about: Mapping[str, Any]) -> None:
        """`rows` are utterances and their frames, `about` the json; `.ends.npy` goes first and comes last."""
        sizes = array("q")  # eight bytes each: there may be millions
        with open(part_of(self._ids), "w", encoding="utf-8", newline="\n") as ids:
            for utt, frames in rows:
                ids.write(ids_line(utt, frames))
                sizes.append(frames)
        with open(part_of(self._ends), "wb") as ends:
            np.save(ends, np.cumsum(np.array(sizes, np.int64)), allow_pickle=False)
        self._file.truncate()
        self._write_header(sum(sizes))
        self.sync()
        self._file.close()
        self.format.hide(self.folder, self.split)
        self.format.write_about(self.folder, about)
        publish_in_order((part_of(path), path) for path in (self._npy, self._ids, self._ends))

    def close(self) -> None:
        """What was added stays for another writer to resume."""
        self._file.close()

    def discard(self) -> None:
        """Drops what was not published."""
        self._file.close()
        for path in (self._npy, self._ids, self._ends):
            part_of(path).unlink(missing_ok=True)

    def _write_header(self, num_frames: int) -> None:
        self._file.seek(0)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        # of one length, whatever the number of frames is
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (num_frames, self._dim)})


def gather_features(
    folder: Path,
    split: str,
    shards: ShardFolder,
    spans: Sequence[Span],
    utts: Iterable[str],
    about: Mapping[str, Any],
) -> None:
    """Shards → one store; `utts` are those that have frames, `about` is what features.json will say.

    Where no utterance failed a shard is deleted once it is in the store, so the disk need not hold all twice;
    a killed run goes on with the first shard that is still there.
    """
    held = [shards.whole(span.index) for span in spans]
    gathered = [
        not shards.has_rows(span.index) and any(s.frames) for span, s in zip(spans, held, strict=True)
    ]
    part, whole = part_of(folder / f"{split}.npy"), folder / f"{split}.npy"
    if any(gathered) and not part.exists() and whole.exists():
        os.replace(whole, part)  # killed while the files got their names
    is_spare = not any(shard.failed for shard in held)
    writer = FeatureWriter(folder, split, shards.dtype, shards.width, resume=True)
    try:
        for span, shard, is_there in zip(spans, held, gathered, strict=True):
            if is_there:
                writer.skip(sum(shard.frames), shard.checksum)
                continue
            writer.add(shards.rows(span.index, shard))
            if is_spare:
                writer.sync()
                shards.drop_rows(span.index)
        sizes = [n for shard in held for n in shard.frames if n]
        writer.publish(zip(utts, sizes, strict=True), about)
    finally:
        writer.close()
