"""The wav of the picture as batches [B, S]: random crops of a manifest's utterances.

B batch, S samples. A batch is cropped to its shortest member: where the encoder's group norm runs over time,
padding would change the codes. A model that knows where padding is has its batches padded to the longest.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import data_utils

from ...audio.clip import Crop
from ...audio.drawn_changes import DrawnChanges
from ...audio.pcm_cache import PcmCache
from ...audio.reading import AudioError, Samples, read_audio
from ...common.bounds import LONGEST, check_between
from ...common.words import sentence
from ...corpora.batches import BatchLimits, Ints
from ...corpora.manifest import Manifest
from ...corpora.sizes import sizes_at
from .base import BatchDataset, Item, pad_batch

logger = logging.getLogger(__name__)

_CHANGES = 1  # tells their draws from those of crops
_NAMED = 3  # how many of the utterances left out are named


@dataclass(frozen=True)
class LoadedClip:
    """A decoded crop [S]; `position` in [0, 1) places the second crop, to the batch's shortest member."""

    index: int
    utt: str
    source: torch.Tensor
    position: float
    begin: int = 0  # of the crop in its utterance, in samples
    changed: torch.Tensor | None = None  # the same, as a context is to hear it
    seed: int = 0  # of its masks


class CropDataset(BatchDataset[Item]):
    """Crops of at most `max_sample_size` samples at `sample_rate`; both sizes count at that rate."""

    unit = "crop"

    def __init__(
        self,
        manifest: Manifest,
        sample_rate: int,
        max_sample_size: int,
        min_sample_size: int = 1,
        normalize: bool = False,
        shuffle: bool = True,
        seed: int = 1,
        cache: PcmCache | None = None,
        strict: bool = False,
        changes: DrawnChanges | None = None,
    ) -> None:
        check_between("max_sample_size", max_sample_size, 1, LONGEST)
        if not 1 <= min_sample_size <= max_sample_size:
            raise ValueError(
                f"min_sample_size ({min_sample_size}) must be at least 1 and at most max_sample_size "
                f"({max_sample_size}): change one of them"
            )
        if not os.path.isdir(manifest.root):
            raise AudioError(
                f"{manifest.path}:1: the root folder {manifest.root} does not exist, expected the folder "
                f"that the paths below start from; correct the line"
            )
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.max_sample_size = max_sample_size
        self.min_sample_size = min_sample_size
        self.normalize = normalize
        self.cache = cache
        self.changes = changes
        self._rows, self._whole = self._select()
        super().__init__(manifest.path, np.minimum(self._whole, max_sample_size), seed, shuffle, strict)

    def crop(self, index: int) -> LoadedClip:
        """Of an utterance, as its draw says."""
        utterance = self.manifest[int(self._rows[index])]
        positions = np.random.default_rng(self.draw_key(index)).random(2)
        crop = Crop(self.max_sample_size, float(positions[0]))
        if self.cache is None:
            wav = read_audio(utterance, self.sample_rate, crop)
        else:
            wav = self.cache.read(utterance, crop)
        self._check_length(wav, utterance.path)
        changed = None
        if self.changes is not None:
            rng = np.random.default_rng([*self.draw_key(index), _CHANGES])
            changed = self._clip(self.changes(wav, rng, self.sample_rate))
        begin, _ = crop.bounds(int(self._whole[index]))
        return LoadedClip(index, utterance.utt, self._clip(wav), float(positions[1]), begin, changed)

    def _clip(self, wav: Samples) -> torch.Tensor:  # [S]
        clip = torch.from_numpy(wav)
        return F.layer_norm(clip, clip.shape) if self.normalize else clip

    def too_long(self, index: int) -> str:
        return f"samples: raise it, or lower max_sample_size ({self.max_sample_size})"

    def digest(self) -> str:
        return self.manifest.rows_digest

    def hours(self, items: Ints) -> tuple[float, float]:
        an_hour = 3600 * self.sample_rate
        return float(self._whole[items].sum() / an_hour), float(self.sizes[items].sum() / an_hour)

    def column(self, name: str) -> list[str]:
        values = self.manifest.column(name)
        return [values[row] for row in self._rows]

    def _select(self) -> tuple[Ints, Ints]:
        """The rows that are long enough, and their sizes at the target rate."""
        manifest = self.manifest
        sizes = sizes_at(manifest, self.sample_rate)
        rows = np.flatnonzero(sizes >= self.min_sample_size)
        short = np.flatnonzero(sizes < self.min_sample_size)
        logger.info(
            "%s: %d utterances, %.2f h", manifest.path, len(rows), sizes[rows].sum() / self.sample_rate / 3600
        )
        if len(short):
            named = ", ".join(f"{manifest[int(i)].utt} ({sizes[i]})" for i in short[:_NAMED])
            logger.warning(
                "%s: left out %d of %d utterances shorter than min_sample_size=%d samples (%.3f s): %s%s",
                *(sentence(str(manifest.path)), len(short), len(manifest), self.min_sample_size),
                *(
                    self.min_sample_size / self.sample_rate,
                    sentence(named),
                    ", …" if len(short) > _NAMED else "",
                ),
            )
        if not len(rows):
            raise AudioError(
                f"{manifest.path}: none of its {len(manifest)} utterances has min_sample_size="
                f"{self.min_sample_size} samples at {self.sample_rate} Hz; lower it or add longer audio"
            )
        return rows, sizes[rows]

    def _check_length(self, wav: Samples, path: str) -> None:
        if len(wav) < self.min_sample_size:
            raise AudioError(
                f"{path}: has {len(wav)} samples at {self.sample_rate} Hz, fewer than min_sample_size="
                f"{self.min_sample_size}; its rate is not the first file's: give the manifest a column rate"
            )


class AudioCropDataset(CropDataset[LoadedClip]):
    """Batches are cropped to their shortest member.

    `pad`: they are as long as their longest, and say where each ends; a crop has a seed for its masks.
    """

    def __init__(self, *args: Any, pad: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pad = pad

    def load(self, index: int) -> LoadedClip:
        clip = self.crop(index)
        return replace(clip, seed=self.draw_seed(index)) if self.pad else clip

    def collate(self, items: Sequence[LoadedClip], num_skipped: int) -> dict[str, Any]:
        return {
            "id": torch.tensor([clip.index for clip in items], dtype=torch.int64),
            "net_input": self._padded(items) if self.pad else self._cropped(items),
            "utts": [clip.utt for clip in items],
            "skipped": num_skipped,
        }

    def _cropped(self, clips: Sequence[LoadedClip]) -> dict[str, torch.Tensor]:
        shortest = min(len(clip.source) for clip in clips)
        pieces, changed = [], []
        for clip in clips:
            begin, end = Crop(shortest, clip.position).bounds(len(clip.source))
            pieces.append(clip.source[begin:end])
            if clip.changed is not None:
                changed.append(clip.changed[begin:end])
        own = {"source": torch.stack(pieces)}  # [B, S]
        return {**own, "changed": torch.stack(changed)} if changed else own

    def _padded(self, clips: Sequence[LoadedClip]) -> dict[str, Any]:
        sources = [clip.source for clip in clips]
        changed = [clip.changed for clip in clips if clip.changed is not None]
        more = {"changed": pad_batch(changed).values} if changed else {}
        return {
            **more,
            "source": pad_batch(sources).values,  # [B, S]
            "lengths": [len(source) for source in sources],  # numbers: nobody waits for a device
            "seeds": [clip.seed for clip in clips],
        }

    def cut_sized(self, indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
        """fairseq's batches, and what it leaves over."""
        batches: list[Ints] = list(data_utils.batch_by_size(indices, None, sizes, *limits))
        rest = indices[sum(map(len, batches)) :]
        if len(rest):  # a last batch below `required_batch_size_multiple`, which fairseq silently drops
            batches.append(rest)
        return batches
