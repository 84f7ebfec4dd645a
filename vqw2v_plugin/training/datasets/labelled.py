"""states ──acoustic model──▶ letters, what it is fed: batches of utterances of about one length.

Shapes: B batch, T frames of D features, S samples, L labels.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...audio.reading import AudioError, read_audio
from ...common.splits import split_there
from ...corpora.batches import BatchLimits, Ints, cut_padded, nearly_equal
from ...corpora.manifest import Manifest
from ...corpora.sizes import sizes_at
from ...features.speakers import RowClip
from ...stores.feature_spec import FeatureSpec, read_spec
from ...stores.features import FEATURES, FeatureError, FeatureStore
from .base import BatchDataset, digest_of, pad_batch
from .label_join import Columns, UnequalRows

Input = npt.NDArray[np.float32]  # [T, D] or [S]


class Source(Protocol):
    """One split: utterances by number; `sizes` are in frames or samples."""

    name: str
    utts: list[str]
    sizes: Ints

    def read(self, index: int) -> Input: ...

    @property
    def says_who(self) -> bool: ...  # speaks

    def clip(self, index: int) -> RowClip: ...  # of audio

    def digest(self) -> str: ...


class FeatureSource:
    """A feature folder's split, mapped from the disk."""

    def __init__(self, folder: str | os.PathLike[str], split: str) -> None:
        self.store = FeatureStore(folder, split)
        self.name = os.fspath(Path(folder) / split)
        self.utts = [utt for utt, _ in self.store.rows]
        self.sizes = self.store.sizes

    def read(self, index: int) -> Input:
        return np.array(self.store[index], np.float32)  # [T, D], a copy that may be written to

    @property
    def says_who(self) -> bool:
        return False

    def clip(self, index: int) -> RowClip:
        raise TypeError(f"{self.name} holds features; which clips they are of is not known")

    def digest(self) -> str:
        """By how they were made: of the same audio the last bits may differ with the machine."""
        spec = json.dumps(read_spec(self.store.folder).to_json(), sort_keys=True)
        return digest_of(spec, "\n".join(self.utts), self.sizes)


class AudioSource:
    """A manifest's utterances, whole, at `sample_rate`."""

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        self.manifest, self.sample_rate = manifest, sample_rate
        self.name = manifest.path
        self.utts = [manifest[i].utt for i in range(len(manifest))]
        self.sizes = sizes_at(manifest, sample_rate)

    def read(self, index: int) -> Input:
        return read_audio(self.manifest[index], self.sample_rate)

    @property
    def says_who(self) -> bool:
        return "speaker" in self.manifest.columns

    def clip(self, index: int) -> RowClip:
        """Known by its place."""
        it = self.manifest[index]
        return RowClip(it.path, it.samples, it.start, it.rate, os.path.abspath(self.name), index)

    def digest(self) -> str:
        return self.manifest.rows_digest


def open_source(folder: str | os.PathLike[str], split: str, sample_rate: int) -> FeatureSource | AudioSource:
    """Features where the folder has any, else the audio of its SPLIT.tsv."""
    path = Path(folder) / f"{split_there(folder, split, 'tsv')}.tsv"
    if FEATURES.splits(folder):
        return FeatureSource(folder, split)
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in Path(folder).glob("*.tsv"))) or "none"
        raise FeatureError(
            f"data={folder}: holds neither features nor {path.name} (the manifests there are: {there}); name "
            "one of these splits, or make features with `vqw2v features`, or a manifest with `vqw2v manifest`"
        )
    return AudioSource(Manifest(path), sample_rate)


def unknown_speakers(source: Source) -> str | None:
    """Of audio that goes by speaker: a sentence where nobody says who speaks."""
    if source.says_who:
        return None
    return (
        f"{source.name}: has no column speaker, so each utterance goes by its own mean and scale; list the "
        "corpus with its speakers, or set `front_standardize` to utterance"
    )


def input_dim(folder: str | os.PathLike[str]) -> int:
    """D of a feature folder; 0 of a folder of manifests, whose audio has none."""
    there = FEATURES.splits(folder)
    return FeatureStore(folder, there[0]).dim if there else 0


def input_spec(folder: str | os.PathLike[str], sample_rate: int) -> FeatureSpec:
    """What features.json says, or of audio its rate alone."""
    return read_spec(folder) if FEATURES.splits(folder) else FeatureSpec(sample_rate=sample_rate)


@dataclass(frozen=True)
class LabelledUtterance:
    """What is heard and what was said."""

    index: int
    utt: str
    source: Tensor  # [T, D] or [S]
    columns: Columns | None  # [L] of the model's emissions
    printed: Columns | None  # of fairseq's dictionary, with </s>


class LabelledDataset(BatchDataset[LabelledUtterance]):
    """Utterances with the columns to learn (training), or with what to print, if known (decoding)."""

    def __init__(
        self,
        source: Source,
        rows: Ints,
        columns: UnequalRows | None = None,
        printed: Sequence[Columns | None] | None = None,
        pad: int = 1,
        strict_audio: bool = False,
        mask_seed: int | None = None,
    ) -> None:
        """`mask_seed`: with it each utterance has a seed for its masks, another one in each epoch."""
        seed = 1 if mask_seed is None else mask_seed
        super().__init__(source.name, source.sizes[rows], seed, strict=strict_audio)
        self.draws = mask_seed is not None
        self.tells_clips = False  # for a model that goes by who speaks
        self.source, self.rows, self.columns, self.printed, self.pad = source, rows, columns, printed, pad

    def utt(self, index: int) -> str:
        return self.source.utts[int(self.rows[index])]

    def load(self, index: int) -> LabelledUtterance:
        row = int(self.rows[index])
        try:
            heard = torch.from_numpy(self.source.read(row))
        except AudioError as error:
            if self.columns is not None:
                raise
            # whoever decodes gets an answer for every utterance: that of silence
            self.note_unreadable(index, error)
            heard = torch.zeros(int(self.sizes[index]))
        columns = None if self.columns is None else self.columns[index]
        printed = None if self.printed is None else self.printed[index]
        return LabelledUtterance(index, self.source.utts[row], heard, columns, printed)

    def collate(self, items: Sequence[LabelledUtterance], num_skipped: int) -> dict[str, Any]:
        """Zeros behind the ends."""
        # fairseq's trainer casts float32 to the precision of training, which audio would not survive
        sources = [s.double() if s.dim() == 1 else s for s in (item.source for item in items)]
        heard = pad_batch(sources)  # [B, T, D] or [B, S]
        batch: dict[str, Any] = {
            "id": torch.tensor([item.index for item in items], dtype=torch.int64),
            "utts": [item.utt for item in items],
            "nsentences": len(items),
            "ntokens": int(heard.lengths.sum()),
            "net_input": {"source": heard.values, "lengths": heard.lengths},
            "target": _targets([item.printed for item in items], self.pad),
        }
        columns = [torch.from_numpy(item.columns) for item in items if item.columns is not None]
        if columns:
            said = pad_batch(columns)
            batch |= {"targets": said.values, "target_lengths": said.lengths}  # [B, L], [B]
            batch["ntokens"] = int(said.lengths.sum())
        if self.tells_clips:
            batch["net_input"]["clips"] = [self.source.clip(int(self.rows[item.index])) for item in items]
        if self.draws:
            batch["net_input"]["seeds"] = [self.draw_seed(item.index) for item in items]
        return batch

    def digest(self) -> str:
        """Of what is heard, and of what is learnt from it."""
        said = () if self.columns is None else (self.columns.ends, self.columns.values)
        return digest_of(self.source.digest(), self.rows, *said)

    def order(self, indices: Ints) -> npt.NDArray[Any]:
        """By length, nearly equal ones as if they were equal."""
        return nearly_equal(self.sizes[indices])

    def check_fits(self, indices: Ints, max_tokens: int) -> None:
        """In decoding, what is too long is a batch of its own."""
        if self.columns is not None:
            super().check_fits(indices, max_tokens)

    def too_long(self, index: int) -> str:
        return f"({self.utt(index)}): raise it, or leave longer ones out by `max_frames`"

    def cut(self, indices: Ints, limits: BatchLimits) -> list[Ints]:
        """Those without a text first: fairseq scores if its last batch has one."""
        has_text = np.array([self.printed is None or self.printed[int(i)] is not None for i in indices], bool)
        return [
            batch
            for group in (indices[~has_text], indices[has_text])
            for batch in cut_padded(group, self.sizes[group], limits)
        ]


def _targets(rows: Sequence[Columns | None], value: int) -> Tensor | None:
    """[B, L]; None where one of them is unknown."""
    known = [torch.from_numpy(row) for row in rows if row is not None]
    return pad_batch(known, value).values if len(known) == len(rows) else None
