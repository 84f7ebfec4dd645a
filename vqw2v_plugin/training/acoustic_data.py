"""states ──acoustic model──▶ letters: what a split holds to learn from, and what to decode.

Shapes: N utterances.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fairseq.data import Dictionary

from ..checkpoints.stock_wav2vec_ctc import NO_LABELS
from ..stores.label_share import Share, draw
from ..stores.labels import EXTENSIONS, LabelError, Labels, dict_name, read_joined_labels, read_symbols
from ..text.loss_kinds import LOSS_KINDS
from ..text.units import MOST_REPEATS
from .answering import Answering, Printed
from .datasets.label_join import JoinedLabels, Selection, Target, join, report
from .datasets.labelled import LabelledDataset, Source
from .generator import AcousticGenerator, AnswerDictionary
from .restart import need_folder
from .resumed import as_mapping

logger = logging.getLogger(__name__)


def describe_labels(labels: Path, unit: str | None, criterion: str, num_repeats: int) -> dict[str, Any]:
    """What a checkpoint says of its labels: those of the folder, and the loss of the criterion's name."""
    by_criterion = {kind.criterion: kind for kind in LOSS_KINDS.values()}
    if criterion not in by_criterion:
        raise LabelError(f"`criterion` is {criterion}; expected one of {', '.join(by_criterion)}")
    need_folder("labels", labels, "SPLIT.utt and dict.*.txt files (`vqw2v labels`)")
    loss, kind = by_criterion[criterion], unit or _only_kind(labels)
    symbols = list(read_symbols(labels, kind))
    if loss.has_repeats and not 1 <= num_repeats <= MOST_REPEATS:
        raise LabelError(
            f"`asg_repeats` is {num_repeats}; expected 1 to {MOST_REPEATS}, "
            f"{loss.title} tells equal neighbours by them"
        )
    repeats = num_repeats if loss.has_repeats else 0
    return {"symbols": symbols, "kind": kind, "loss": loss.name, "repeats": repeats}


def check_same_labels(labels: Path, trained_on: Mapping[str, Any] | None) -> None:
    """Refuses labels that mean something else than those that a checkpoint was trained on."""
    if trained_on is None:
        raise LabelError("the checkpoint is of another task; expected one of `--task vq_acoustic`")
    kind, symbols = trained_on["kind"], tuple(trained_on["symbols"])
    path = labels / dict_name(kind)
    said = tuple(symbol for symbol in symbols if symbol not in NO_LABELS)
    if path.is_file() and read_symbols(labels, kind) not in (symbols, said):
        raise LabelError(
            f"{path}: differs from the dictionary that the checkpoint was trained with "
            f"({' '.join(symbols[:40])}); make labels with `vqw2v labels … --dict FILE`"
        )


def _only_kind(labels: Path) -> str:
    kinds = [kind for kind in EXTENSIONS if (labels / dict_name(kind)).is_file()]
    if len(kinds) != 1:
        found = (
            f"dictionaries of {' and '.join(kinds)}: say `unit`" if kinds else "no dictionary (dict.*.txt)"
        )
        raise LabelError(f"labels={labels}: holds {found}; `vqw2v labels` writes one of each unit")
    return kinds[0]


def counted_unit(cfg: Any) -> str:
    """What the scorer beside this task counts: words, characters or phones."""
    scoring = as_mapping(cfg).get("scoring")
    return str(scoring.get("error_unit", "words")) if isinstance(scoring, Mapping) else "words"


class Learning:
    """Every utterance has a target; what cannot be learnt from is named and left out."""

    def __init__(
        self,
        cfg: Any,
        labels: Path,
        units: Target,
        frames: Callable[[int], int],
        mask_seed: int | None = None,
    ) -> None:
        """`frames`: frames or samples to frames of emissions, as the model counts; `mask_seed`: of a model
        whose masks are an utterance's own.
        """
        self.cfg, self.labels, self.units, self.frames = cfg, labels, units, frames
        self.mask_seed = mask_seed

    def dataset(self, split: str, source: Source) -> LabelledDataset:
        joined = self.join(split, source, read_joined_labels(self.labels, split, self.units.kind))
        report(source.name, joined, self.cfg.strict_labels)
        strict = self.cfg.strict_audio
        return LabelledDataset(
            source, joined.rows, joined.columns, strict_audio=strict, mask_seed=self.mask_seed
        )

    def chosen(self, split: str, labels: Labels) -> frozenset[str] | None:
        """Whom training learns from; None: all."""
        cfg = self.cfg
        share = Share(cfg.label_fraction, cfg.label_hours, cfg.label_seed)
        if not set(split.split(",")) <= set(str(cfg.train_subset).split(",")) or share.is_all:
            return None
        drawn = draw(labels, share, f"labels={self.labels}")
        logger.info(f"{split}: trains on {drawn.told()}")
        return drawn.utts

    def join(self, split: str, source: Source, labels: Labels) -> JoinedLabels:
        cfg = self.cfg
        selection = Selection(self.chosen(split, labels), cfg.min_frames, cfg.max_frames)
        frames = self._emission_frames(source.sizes)
        return join(source.utts, source.sizes, frames, labels, self.units, selection)

    def _emission_frames(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:  # [N]
        unique, where = np.unique(sizes, return_inverse=True)
        return np.array([self.frames(int(size)) for size in unique], np.int64)[where]


class Decoding(Answering):
    """Every utterance has an answer; where a transcript is known, it is printed and scored."""

    doing = "decoded"

    def __init__(self, cfg: Any, labels: Path) -> None:
        self.answers = AnswerDictionary(Dictionary(), cfg.answer, cfg.decoder, cfg.lexicon)
        super().__init__(cfg, labels, self.answers.dictionary)

    def generator(self, models: Sequence[Any], generation: Any) -> AcousticGenerator:
        """What `fairseq-generate` calls for every batch."""
        return AcousticGenerator(models, self.cfg, generation, self.num_expected, self.answers)

    def targets(self, split: str, labels: Labels, kind: str) -> Sequence[Printed]:
        """What each transcript is in fairseq's dictionary."""
        self.answers.choose(labels, kind, counted_unit(self.cfg))
        texts = labels.words if self.answers.words and labels.words is not None else labels.labels
        return [self.answers.target(text) for text in texts]
