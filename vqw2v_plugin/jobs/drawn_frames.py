"""wav → features for a corpus, a sample of them: frames drawn from a manifest's audio and kept in shards.

What is drawn depends on the seed and the utterances' names alone, and not on who draws it, in which order, or
how often a run was killed. Where few frames are wanted of much audio, most of it is not even read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..corpora.sizes import sizes_at
from ..features.base import Features
from ..stores.shards import ShardFolder, plan
from .shard_run import complete, make_shards
from .split_job import JobOptions, Refused, one_thread, refused_of, shard_samples
from .work import Work

_BATCH = 1 << 14  # frames
_EVERY = 2  # of an utterance's frames one in so many, if there are enough: neighbours are alike
_FEWEST = 200  # utterances that are read at least, of as many voices

Frames = npt.NDArray[np.float32]  # [n, D]


@dataclass(frozen=True)
class DrawOptions(JobOptions):
    """How many frames, and which."""

    frames: int = 500_000  # that are drawn at most
    seed: int = 1


class DrawnFrames:
    """Frames of `frames_of`, of which the manifest has about as many as `features` say."""

    def __init__(
        self,
        features: Features,
        frames_of: Callable[[Utterance], Tensor],
        width: int,
        manifest: Manifest,
        folder: Path,
        options: DrawOptions,
    ) -> None:
        self.folder, self._manifest, self._options, self._frames_of = folder, manifest, options, frames_of
        self._width = width
        self._shards = ShardFolder(folder, np.float32, width, gathers=False)
        self._spans = plan(
            manifest.sizes, shard_samples(manifest, options.shard_minutes, features.sample_rate)
        )
        wanted = sum(map(features.frames, sizes_at(manifest, features.sample_rate).tolist()))
        share = min(1.0, options.frames / max(1, wanted))
        self._utterances = min(1.0, max(_EVERY * share, _FEWEST / max(1, len(manifest))))  # are read, ...
        self._of_each = share / self._utterances  # ... and of each so many frames kept
        prepare = one_thread if features.device.type == "cpu" else lambda: None
        self._work = Work(self.draw, options.workers, prepare)

    def make(self, settings: Mapping[str, Any]) -> list[Refused]:
        """Draws what is missing; answers the utterances that gave nothing."""
        manifest = self._manifest
        self._shards.open({**settings, "every": _EVERY})
        make_shards(manifest, self._shards, self._spans, self._work, Rank())
        if not complete(self._shards, self._spans):
            raise ValueError(f"{self.folder}: shards are missing; run the same command again")
        refused = refused_of(self._shards, self._spans, manifest)
        if refused and self._options.strict:
            raise ValueError(
                f"{len(refused)} of {len(manifest)} utterances of {manifest.path} gave nothing "
                f"and `--strict` wants all of them: {refused[0].reason}; mend them and run this again"
            )
        return refused

    def rows(self) -> list[Frames]:
        """The frames of each shard, mapped."""
        found = [self._shards.rows(span.index, self._shards.whole(span.index)) for span in self._spans]
        return [rows for rows in found if len(rows)]

    def checksums(self) -> list[int]:
        """By which frames are known again."""
        return [self._shards.whole(span.index).checksum for span in self._spans]

    def remove(self) -> None:
        self._shards.remove()

    def draw(self, utterance: Utterance) -> Frames:
        """An utterance's frames, those that its name and the seed draw."""
        seed = [self._options.seed, zlib.crc32(utterance.utt.encode("utf-8", "surrogateescape"))]
        rng = np.random.default_rng(seed)
        if rng.random() >= self._utterances:
            return np.empty((0, self._width), np.float32)
        frames = self._frames_of(utterance).cpu().float()
        rows: Frames = frames.numpy()[rng.random(len(frames)) < self._of_each]
        return rows


def batches_of(rows: Sequence[Frames]) -> Iterator[Frames]:
    """A few thousand frames at a time."""
    for part in rows:
        for start in range(0, len(part), _BATCH):
            yield part[start : start + _BATCH]
