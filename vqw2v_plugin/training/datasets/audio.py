"""The wav of the picture as batches [B, S]: random crops of a manifest's utterances, without padding.

B batch, S samples. A crop depends on (seed, epoch, index) alone, not on the worker that draws it. A batch is
cropped to its shortest member: the encoder's group norm runs over time, so padding would change the codes.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from fairseq.data import FairseqDataset

from ...audio.clip import Crop
from ...audio.pcm_cache import PcmCache
from ...audio.reading import AudioError, Samples, audio_info, read_audio
from ...corpora.manifest import Manifest

logger = logging.getLogger(__name__)

DEFAULT_RATE = 16_000
_PROBES = 10  # files to ask for their rate before the default is taken
_NAMED = 3  # how many of the utterances left out are named


@dataclass(frozen=True)
class LoadedClip:
    """A decoded crop [S]; `position` in [0, 1) places the second crop, to the batch's shortest member."""

    index: int
    utt: str
    source: torch.Tensor
    position: float


@dataclass(frozen=True)
class BadClip:
    """An utterance that could not be read."""

    index: int
    reason: str


class AudioCropDataset(FairseqDataset):  # type: ignore[misc]
    """Crops of at most `max_sample_size` samples at `sample_rate`; both sizes count at that rate."""

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
    ) -> None:
        super().__init__()
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
        self.shuffle = shuffle
        self.seed = seed
        self.cache = cache
        self.strict = strict
        self._rows, self.sizes = self._select()
        # Shared with the worker processes: they may outlive an epoch, and what they find is counted here.
        self._epoch = _shared(torch.ones(1, dtype=torch.int64))
        self._is_bad = _shared(torch.zeros(len(self._rows), dtype=torch.bool))
        self._num_reported = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> LoadedClip | BadClip:
        index = int(index)
        utterance = self.manifest[int(self._rows[index])]
        positions = np.random.default_rng([abs(self.seed), int(self._epoch), index]).random(2)
        crop = Crop(self.max_sample_size, float(positions[0]))
        try:
            if self.cache is None:
                wav = read_audio(utterance, self.sample_rate, crop)
            else:
                wav = self.cache.read(utterance, crop)
            self._check_length(wav, utterance.path)
        except AudioError as error:
            if self.strict:
                raise
            self._note_bad(index, str(error))
            return BadClip(index, str(error))
        source = torch.from_numpy(wav)  # [S]
        if self.normalize:
            source = F.layer_norm(source, source.shape)
        return LoadedClip(index, utterance.utt, source, float(positions[1]))

    def collater(self, samples: Sequence[LoadedClip | BadClip]) -> dict[str, Any]:
        """One batch [B, S]; `{}`, which fairseq's trainer passes over, if nothing in it could be read."""
        clips = [sample for sample in samples if isinstance(sample, LoadedClip)]
        if not clips:
            return {}
        shortest = min(len(clip.source) for clip in clips)
        pieces = []
        for clip in clips:
            begin, end = Crop(shortest, clip.position).bounds(len(clip.source))
            pieces.append(clip.source[begin:end])
        return {
            "id": torch.tensor([clip.index for clip in clips], dtype=torch.int64),
            "net_input": {"source": torch.stack(pieces)},  # [B, S]
            "utts": [clip.utt for clip in clips],
            "skipped": len(samples) - len(clips),
        }

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: an epoch's batches must depend on that epoch alone, or a resumed run would get others."""
        return False

    def set_epoch(self, epoch: int) -> None:
        """Draws other crops; fairseq always gives validation sets epoch 1, so theirs stay the same."""
        self.report_skipped()
        self._epoch[0] = epoch

    @property
    def num_skipped(self) -> int:
        """How many different utterances could not be read so far, in all worker processes."""
        return int(self._is_bad.sum())

    def report_skipped(self) -> None:
        """Logs the number of unreadable utterances if it has grown."""
        if self.num_skipped > self._num_reported:
            self._num_reported = self.num_skipped
            logger.warning(
                "%s: %d of %d utterances could not be read so far and were skipped (each is named above)",
                *(self.manifest.path, self._num_reported, len(self)),
            )

    def num_tokens(self, index: int) -> int:
        """Samples of the crop."""
        return int(min(self.sizes[index], self.max_sample_size))

    def num_tokens_vec(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Samples of the crops."""
        return np.minimum(self.sizes[indices], self.max_sample_size)

    def size(self, index: int) -> int:
        """Samples of the crop."""
        return self.num_tokens(index)

    def ordered_indices(self) -> npt.NDArray[np.int64]:
        """Longest crops first, equally long ones in random order (fairseq seeds numpy around this call)."""
        if not self.shuffle:
            return np.arange(len(self))
        ties = np.random.permutation(len(self))  # noqa: NPY002 (the generator that fairseq seeds)
        return np.lexsort((ties, np.minimum(self.sizes, self.max_sample_size)))[::-1]

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """All of them: crops fit by construction."""
        return indices, []

    def batch_by_size(self, indices: Any, max_tokens: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """fairseq's batches, the first a readable one: the trainer stands it in wherever a batch is empty."""
        longest = int(self.num_tokens_vec(indices).max())
        if max_tokens and longest > max_tokens:
            raise ValueError(
                f"max_tokens ({max_tokens}) must be at least the longest crop's {longest} samples: "
                f"raise it, or lower max_sample_size ({self.max_sample_size})"
            )
        batches = list(super().batch_by_size(indices, max_tokens, *args, **kwargs))
        rest = indices[sum(map(len, batches)) :]
        if len(rest):  # a last batch below `required_batch_size_multiple`, which fairseq silently drops
            batches.append(rest)
        reason = ""
        for i, batch in enumerate(batches):
            for index in batch:
                sample = self[index]
                if isinstance(sample, LoadedClip):
                    batches[0], batches[i] = batches[i], batches[0]
                    return batches
                reason = reason or sample.reason
        raise AudioError(
            f"{self.manifest.path}: none of its {len(self)} utterances could be read; "
            f"the first of these errors: {reason}"
        )

    def _select(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows that are long enough, and their sizes at the target rate."""
        manifest = self.manifest
        rates = probe_rate(manifest) if manifest.rates is None else manifest.rates
        sizes = manifest.sizes * self.sample_rate // rates
        rows = np.flatnonzero(sizes >= self.min_sample_size)
        short = np.flatnonzero(sizes < self.min_sample_size)
        logger.info(
            "%s: %d utterances, %.2f h", manifest.path, len(rows), sizes[rows].sum() / self.sample_rate / 3600
        )
        if len(short):
            named = ", ".join(f"{manifest[int(i)].utt} ({sizes[i]})" for i in short[:_NAMED])
            logger.warning(
                "%s: left out %d of %d utterances shorter than min_sample_size=%d samples (%.3f s): %s%s",
                *(manifest.path, len(short), len(manifest), self.min_sample_size),
                *(self.min_sample_size / self.sample_rate, named, ", …" if len(short) > _NAMED else ""),
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

    def _note_bad(self, index: int, reason: str) -> None:
        if not self._is_bad[index]:
            self._is_bad[index] = True
            logger.warning("skipped: %s", reason)


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.share_memory_()  # type: ignore[no-untyped-call, no-any-return]


def probe_rate(manifest: Manifest) -> int:
    """Without a rate column, the rate of the first file that opens stands for all sizes."""
    for i in range(min(_PROBES, len(manifest))):
        try:
            return audio_info(manifest[i].path).sample_rate
        except AudioError:
            continue
    return DEFAULT_RATE
