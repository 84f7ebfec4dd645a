"""features ──generator──▶ phones: the text to learn from, a model of it, and what is measured.

No file of labels is opened, but for those of a folder that is named for measuring.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..modules.unpaired.skipgrams import Skipgrams, of_text
from ..stores.frames import TokenFrames
from ..stores.labels import LabelError, extension, read_labels, read_symbol_file
from ..stores.phone_text import DICTIONARY, PhoneTextError, read_phone_lines
from ..text.ngram_score import TextModel, model_of_text
from ..text.units import UNSPOKEN, Units
from .acoustic_data import Decoding, counted_unit
from .answering import Printed
from .datasets.label_join import UnequalRows
from .datasets.labelled import LabelledDataset, Source
from .datasets.unpaired import Clusters, UnpairedDataset, chosen_rows
from .restart import need_folder

logger = logging.getLogger(__name__)

KIND = "phones"
STATE = "acoustic"  # of the task's state, as acoustic models have it


def describe_text(text: Path) -> dict[str, Any]:
    """What a checkpoint says of its columns: the phones of the text."""
    need_folder("text", text, f"train.phn, valid.phn and {DICTIONARY} (`vqw2v phones`)", PhoneTextError)
    symbols = list(read_symbol_file(text / DICTIONARY))
    return {"symbols": symbols, "kind": KIND, "loss": "wav2vec_u", "repeats": 0}


def check_same_text(text: Path, trained_on: Mapping[str, Any] | None) -> None:
    """Refuses other phones than those that a checkpoint was trained on."""
    if trained_on is None:
        raise PhoneTextError("the checkpoint is of another task; expected one of `--task vq_unpaired`")
    path, symbols = text / DICTIONARY, tuple(trained_on["symbols"])
    if path.is_file() and read_symbol_file(path) != symbols:
        raise PhoneTextError(
            f"{path}: differs from the dictionary that the checkpoint was trained with "
            f"({' '.join(symbols[:40])}); use the text that it was trained with"
        )


def spoken(phones: Sequence[str]) -> list[str]:
    """Without silence."""
    return [phone for phone in phones if phone not in UNSPOKEN]


def text_model(text: Path, lm: str | None) -> TextModel:
    """Of a file, or made of train.phn."""
    learnt, unseen = (
        [line for line in map(spoken, read_phone_lines(text, split)) if line] for split in ("train", "valid")
    )
    return model_of_text(learnt, unseen, lm)


class Unpaired:
    """What a training hears and reads."""

    def __init__(self, cfg: Any, units: Units, num_clusters: int) -> None:
        self.cfg, self.units, self.num_clusters = cfg, units, num_clusters
        self.text = Path(cfg.text)

    def dataset(self, split: str, source: Source, trains: bool) -> UnpairedDataset:
        cfg = self.cfg
        rows = chosen_rows(source, cfg.min_frames if trains else 1, cfg.max_frames if trains else None)
        if len(rows) < len(source.sizes):
            logger.info(
                f"{source.name}: left out {len(source.sizes) - len(rows):,} utterances by their length"
            )
        if not len(rows):
            raise ValueError(f"{source.name}: no utterance is left; change `min_frames` or `max_frames`")
        clusters = None
        if trains and cfg.aux is not None:
            clusters = Clusters(
                TokenFrames(Path(cfg.aux), split), cfg.target_downsample_rate, self.num_clusters
            )
        return UnpairedDataset(split, source, rows, self.lines if trains else None, clusters, seed=cfg.seed)

    @cached_property
    def lines(self) -> UnequalRows:
        """Those of train.phn that hold anything."""
        lines = [self.units.columns(line) for line in read_phone_lines(self.text, "train") if line]
        if not lines:
            raise PhoneTextError(
                f"{self.text / 'train.phn'}: holds no phones; make it anew with `vqw2v phones`"
            )
        return UnequalRows(lines)

    def skipgrams(self, reach: int, repeats: float) -> Skipgrams:
        """How often phones follow each other in train.phn."""
        lines = self.lines
        return of_text(
            (torch.from_numpy(lines[i]) for i in range(len(lines))), len(self.units), reach, repeats
        )

    @cached_property
    def model(self) -> TextModel:
        found = text_model(self.text, self.cfg.lm)
        log = logger.info if found.tells else logger.warning
        log(found.describe())
        return found


class Measured:
    """True phones of a split, where a folder is named; nothing is chosen by them."""

    def __init__(self, folder: str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._known: dict[str, dict[str, list[str]]] = {}

    def of(self, split: str) -> Mapping[str, list[str]]:
        """By utterance; empty where nothing is known."""
        if self.folder is None:
            return {}
        if split not in self._known:
            need_folder("measure", self.folder, f"SPLIT.{extension(KIND)} files (`vqw2v labels`)", LabelError)
            held = read_labels(self.folder, split, KIND)
            self._known[split] = dict(zip(held.utts, map(spoken, held.labels), strict=True))
        return self._known[split]


class UnpairedAnswers(Decoding):
    """Every utterance has an answer; the right one is known where a folder is named for measuring."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg, Path(cfg.measure or ""))

    def dataset(self, split: str, source: Source, kind: str) -> LabelledDataset:
        if self.cfg.measure is None:
            logger.info(f"{split} is decoded, not scored: `measure` names no folder of labels")
            return LabelledDataset(source, np.arange(len(source.utts)), None, [None] * len(source.utts))
        return super().dataset(split, source, kind)

    def targets(self, split: str, labels: Any, kind: str) -> Sequence[Printed]:
        self.answers.choose(labels, kind, counted_unit(self.cfg))
        texts = labels.words if self.answers.words and labels.words is not None else labels.labels
        return [self.answers.target(text if isinstance(text, str) else spoken(text)) for text in texts]
