"""states ──acoustic model──▶ letters, what it is fed: batches of utterances of about one length.

Shapes: B batch, T frames of D features, S samples, L labels.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from fairseq.data import FairseqDataset
from torch import Tensor

from ...audio.reading import AudioError, read_audio
from ...corpora.manifest import Manifest
from ...stores.feature_spec import FeatureSpec, read_spec
from ...stores.features import FeatureError, FeatureStore, feature_splits
from .audio import probe_rate
from .label_join import Columns

logger = logging.getLogger(__name__)

_SPREAD = 1.04  # utterances of lengths within this ratio change places from epoch to epoch


Input = npt.NDArray[np.float32]  # [T, D] or [S]


class Source(Protocol):
    """One split: utterances by number; `sizes` are in frames or samples."""

    name: str
    utts: list[str]
    sizes: npt.NDArray[np.int64]

    def read(self, index: int) -> Input: ...


class FeatureSource:
    """A feature folder's split, mapped from the disk."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self.store = FeatureStore(folder, split)
        self.name = os.fspath(Path(folder) / split)
        self.utts = [utt for utt, _ in self.store.rows]
        self.sizes = self.store.sizes

    def read(self, index: int) -> Input:
        return np.array(self.store[index], np.float32)  # [T, D], a copy that may be written to


class AudioSource:
    """A manifest's utterances, whole, at `sample_rate`."""

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        self.manifest, self.sample_rate = manifest, sample_rate
        self.name = manifest.path
        self.utts = [manifest[i].utt for i in range(len(manifest))]
        rates = probe_rate(manifest) if manifest.rates is None else manifest.rates
        self.sizes = manifest.sizes * sample_rate // rates

    def read(self, index: int) -> Input:
        return read_audio(self.manifest[index], self.sample_rate)


def open_source(folder: str | os.PathLike[str], split: str, sample_rate: int) -> FeatureSource | AudioSource:
    """Features where the folder has any, else the audio of its SPLIT.tsv."""
    path = Path(folder) / f"{split}.tsv"
    if feature_splits(folder):
        return FeatureSource(folder, split)
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in Path(folder).glob("*.tsv"))) or "none"
        raise FeatureError(
            f"data={folder}: holds neither features nor {path.name} (the manifests there are: {there}); name "
            "one of these splits, or make features with `vqw2v features`, or a manifest with `vqw2v manifest`"
        )
    return AudioSource(Manifest(path), sample_rate)


def input_dim(folder: str | os.PathLike[str]) -> int:
    """D of a feature folder; 0 of a folder of manifests, whose audio has none."""
    there = feature_splits(folder)
    return FeatureStore(folder, there[0]).dim if there else 0


def input_spec(folder: str | os.PathLike[str], sample_rate: int) -> FeatureSpec:
    """What features.json says, or of audio its rate alone."""
    return read_spec(folder) if feature_splits(folder) else FeatureSpec(sample_rate=sample_rate)


@dataclass(frozen=True)
class Spoken:
    """One utterance: what is heard ([T, D] or [S]; None if it cannot be read), and what was said."""

    index: int
    utt: str
    source: Tensor | None
    columns: Columns | None  # [L] of the model's emissions
    printed: Columns | None  # of fairseq's dictionary, with </s>


class AcousticDataset(FairseqDataset):  # type: ignore[misc]
    """Utterances with the columns to learn (training), or with what to print, if known (decoding)."""

    def __init__(
        self,
        source: Source,
        rows: npt.NDArray[np.int64],
        columns: Sequence[Columns] | None = None,
        printed: Sequence[Columns | None] | None = None,
        pad: int = 1,
        strict_audio: bool = False,
    ) -> None:
        super().__init__()
        self.source, self.rows, self.columns, self.printed = source, rows, columns, printed
        self.pad, self.strict_audio = pad, strict_audio
        self.sizes = source.sizes[rows]
        self._is_bad = torch.zeros(len(rows), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]
        self._num_reported = 0

    def __len__(self) -> int:
        return len(self.rows)

    def utt(self, index: int) -> str:
        return self.source.utts[int(self.rows[index])]

    def __getitem__(self, index: int) -> Spoken:
        index = int(index)
        row = int(self.rows[index])
        heard: Tensor | None
        try:
            heard = torch.from_numpy(self.source.read(row))
        except AudioError as error:
            if self.strict_audio:
                raise
            self._note_bad(index, str(error))
            # whoever decodes gets an answer for every utterance: that of silence
            heard = None if self.columns is not None else torch.zeros(int(self.sizes[index]))
        columns = None if self.columns is None else self.columns[index]
        printed = None if self.printed is None else self.printed[index]
        return Spoken(index, self.source.utts[row], heard, columns, printed)

    def collater(self, samples: Sequence[Spoken]) -> dict[str, Any]:
        """One batch, zeros behind the ends; `{}`, which fairseq passes over, if nothing can be read."""
        kept = [(s, s.source) for s in samples if s.source is not None]
        if not kept:
            return {}
        # fairseq's trainer casts float32 to the precision of training, which audio would not survive
        sources = [s.double() if s.dim() == 1 else s for _, s in kept]
        batch: dict[str, Any] = {
            "id": torch.tensor([s.index for s, _ in kept], dtype=torch.int64),
            "utts": [s.utt for s, _ in kept],
            "nsentences": len(kept),
            "ntokens": sum(map(len, sources)),
            "net_input": {
                "source": torch.nn.utils.rnn.pad_sequence(sources, batch_first=True),  # [B, T, D] or [B, S]
                "lengths": torch.tensor([len(source) for source in sources]),
            },
            "target": _pad([s.printed for s, _ in kept], self.pad),
        }
        columns = [s.columns for s, _ in kept if s.columns is not None]
        if columns:
            batch["targets"] = _pad(columns, 0)  # [B, L]
            batch["target_lengths"] = torch.tensor([len(c) for c in columns])
            batch["ntokens"] = sum(map(len, columns))
        return batch

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: an epoch's batches must depend on that epoch alone, or a resumed run would get others."""
        return False

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> npt.NDArray[np.int64]:
        """Longest first, nearly equal ones in random order (fairseq seeds numpy around this call)."""
        ties = np.random.permutation(len(self))  # noqa: NPY002 (the generator that fairseq seeds)
        steps = np.floor(np.log(np.maximum(self.sizes, 1)) / np.log(_SPREAD))
        return np.lexsort((ties, steps))[::-1]

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """All of them: the task has left out what does not fit, by name."""
        return indices, []

    def batch_by_size(
        self, indices: Any, max_tokens: int | None = None, max_sentences: int | None = None, **_: Any
    ) -> list[npt.NDArray[np.int64]]:
        """Batches of at most `max_tokens` frames or samples, padding counted, the first a readable one."""
        indices = np.asarray(indices)
        longest = int(self.sizes[indices].max(initial=0))
        if max_tokens and longest > max_tokens and self.columns is not None:
            utt = self.utt(int(indices[self.sizes[indices].argmax()]))
            raise ValueError(
                f"max_tokens ({max_tokens}) must be at least the longest utterance's {longest} ({utt}): "
                "raise it, or leave longer ones out by `max_frames`"
            )
        batches: list[npt.NDArray[np.int64]] = []
        has_text = np.array([self.printed is None or self.printed[int(i)] is not None for i in indices], bool)
        for group in (indices[~has_text], indices[has_text]):  # fairseq scores if its last batch has a text
            batches += cut_batches(group, self.sizes[group], max_tokens, max_sentences)
        return batches if self.columns is None else self._readable_first(batches)

    def report_skipped(self) -> None:
        """Logs the number of unreadable utterances if it has grown."""
        if (count := int(self._is_bad.sum())) > self._num_reported:
            self._num_reported = count
            logger.warning(
                f"{self.source.name}: {count} of {len(self)} utterances could not be read so far and were "
                "skipped (each is named above)"
            )

    def _readable_first(self, batches: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
        """fairseq's trainer stands the first batch in wherever one is empty."""
        for i, batch in enumerate(batches):
            if any(self[index].source is not None for index in batch):
                batches[0], batches[i] = batches[i], batches[0]
                return batches
        raise AudioError(f"{self.source.name}: none of its {len(self)} utterances could be read")

    def _note_bad(self, index: int, reason: str) -> None:
        if not self._is_bad[index]:
            self._is_bad[index] = True
            logger.warning("skipped: %s", reason)


def cut_batches(
    indices: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    max_tokens: int | None,
    max_sentences: int | None,
) -> list[npt.NDArray[np.int64]]:
    """Neighbours as long as (number × longest) fits; what is too long by itself is a batch of its own."""
    batches, begin, longest = [], 0, 0
    for end, size in enumerate(sizes.tolist()):
        longest, count = max(longest, size), end - begin + 1
        is_over = bool(max_tokens and count * longest > max_tokens)
        if end > begin and (is_over or (max_sentences and count > max_sentences)):
            batches.append(indices[begin:end])
            begin, longest = end, size
    return [*batches, indices[begin:]] if len(indices) else []


def _pad(rows: Sequence[Columns | None], value: int) -> Tensor | None:
    """[B, L]; None where one of them is unknown."""
    known = [torch.from_numpy(row) for row in rows if row is not None]
    if len(known) < len(rows):
        return None
    return torch.nn.utils.rnn.pad_sequence(known, batch_first=True, padding_value=value)
