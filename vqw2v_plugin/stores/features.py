"""z, c, quantized vectors, BERT's states or spectra on disk: a row a frame, mapped, none read at opening.

SPLIT.npy holds all frames [N, D] (fp16 or fp32), SPLIT.ends.npy where each utterance's end (int64), SPLIT.ids
`utt⇥frames` a line, features.json what they are. numpy alone reads them: `np.load(…, mmap_mode="r")`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .shards import Rows, Shard, ShardFolder, Span, flush
from .symbols import read_ids

ABOUT = "features.json"


class FeatureError(ValueError):
    """A feature folder that cannot be used; the message names the file and the reason."""


class FeatureStore:
    """One split: `store[i]` are utterance i's frames [T, D], `store.sizes` the numbers of them."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self.folder, self.split = Path(folder), split
        self.frames, self.ends = self._map("npy"), self._map("ends.npy")  # [N, D], [utterances]
        last = int(self.ends[-1]) if len(self.ends) else 0
        if self.frames.ndim != 2 or last != len(self.frames):
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
        return read_ids(self.folder / f"{self.split}.ids", len(self))

    def __getstate__(self) -> tuple[Path, str]:
        return self.folder, self.split  # maps are opened anew in another process, not copied into it

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _map(self, suffix: str) -> npt.NDArray[Any]:
        path = self.folder / f"{self.split}.{suffix}"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except FileNotFoundError:
            there = ", ".join(feature_splits(self.folder)) or "none"
            raise FeatureError(
                f"{path}: is missing; the splits in {self.folder} are: {there}; name one of these, or make "
                f"it with `vqw2v features`"
            ) from None
        except (ValueError, EOFError) as error:
            raise FeatureError(f"{path}: {error}; expected a whole file of numpy's: make it anew") from error


def feature_splits(folder: str | os.PathLike[str]) -> list[str]:
    """The splits there are."""
    return sorted(path.name.removesuffix(".ends.npy") for path in Path(folder).glob("*.ends.npy"))


def read_features_about(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What features.json says; empty where there is none."""
    path = Path(folder) / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise FeatureError(f"{path}: {error}; expected a JSON object") from error
    return dict(about)


def gather_features(
    folder: Path, split: str, shards: ShardFolder, spans: Sequence[Span], utts: Iterable[str]
) -> int:
    """Shards → one store, `.ends.npy` last; answers the number of frames. `utts` are those that have frames.

    Where no utterance failed a shard is deleted once it is in the store, so the disk need not hold all twice;
    a killed run goes on with the first shard that is still there.
    """
    held = [shards.read(span.index) or Shard() for span in spans]
    sizes = np.array([n for shard in held for n in shard.frames if n], dtype=np.int64)
    num_frames, width = int(sizes.sum()), shards.width * shards.dtype.itemsize
    part, whole = folder / f".{split}.npy.part", folder / f"{split}.npy"
    gathered = [
        not shards.has_rows(span.index) and any(s.frames) for span, s in zip(spans, held, strict=True)
    ]
    if any(gathered) and not part.exists() and whole.exists():
        os.replace(whole, part)  # killed between the renames below
    with open(part, "r+b" if part.exists() else "w+b") as file:
        before = file.seek(0, os.SEEK_END)
        file.seek(0)
        header = {"descr": np.lib.format.dtype_to_descr(shards.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (num_frames, shards.width)})
        place = file.tell()
        spare = not any(shard.failed for shard in held)
        for span, shard, is_there in zip(spans, held, gathered, strict=True):
            end = place + sum(shard.frames) * width
            if is_there and before < end:
                raise FeatureError(f"{part}: lacks frames that were in it; make it anew with --refresh")
            if not is_there:
                file.seek(place)
                file.write(np.ascontiguousarray(shards.rows(span.index, shard)).data)
                if spare:
                    flush(file)
                    shards.drop_rows(span.index)
            place = end
        file.truncate(place)
    ids = folder / f".{split}.ids.part"
    with open(ids, "w", encoding="utf-8", newline="\n") as text:
        text.writelines(f"{utt}\t{frames}\n" for utt, frames in zip(utts, sizes.tolist(), strict=True))
    ends = folder / f".{split}.ends.part"
    with open(ends, "wb") as file:
        np.save(file, np.cumsum(sizes), allow_pickle=False)
    (folder / f"{split}.ends.npy").unlink(missing_ok=True)
    os.replace(part, whole)
    os.replace(ids, folder / f"{split}.ids")
    os.replace(ends, folder / f"{split}.ends.npy")
    return num_frames
