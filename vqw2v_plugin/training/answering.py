"""states ──…──▶ what is said of an utterance: what `fairseq-generate` is given, whatever the answers are."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fairseq.data import Dictionary

from ..common.splits import split_there
from ..common.words import some_of
from ..stores.labels import Labels, extension, read_labels
from .datasets.labelled import LabelledDataset, Source

logger = logging.getLogger(__name__)

Printed = npt.NDArray[np.int64] | None  # in fairseq's dictionary, with </s>


class Answering:
    """Every utterance has an answer; where the right one is known, it is printed and scored."""

    doing = "answered"  # to a split, in messages

    def __init__(self, cfg: Any, labels: Path, dictionary: Dictionary) -> None:
        self.cfg, self.labels, self.dictionary = cfg, labels, dictionary
        self._num_utterances: int | None = None

    def dataset(self, split: str, source: Source, kind: str) -> LabelledDataset:
        """`kind`: what labels hold, such as letters, as the model says it."""
        rows, printed = np.arange(len(source.utts)), self._printed(split, source, kind)
        return LabelledDataset(
            *(source, rows, None, printed, self.dictionary.pad()), strict_audio=self.cfg.strict_audio
        )

    def expect(self, batches: Sequence[Sequence[int]]) -> None:
        """What this process will be asked for; files are whole once all of it is answered."""
        self._num_utterances = sum(map(len, batches))

    @property
    def num_expected(self) -> int:
        if self._num_utterances is None:
            raise ValueError(
                "there is nothing to decode; ask the task for batches (`get_batch_iterator`) first"
            )
        return self._num_utterances

    def generator(self, models: Sequence[Any], generation: Any) -> Any:
        """What `fairseq-generate` calls for every batch."""
        raise NotImplementedError

    def targets(self, split: str, labels: Labels, kind: str) -> Sequence[Printed]:
        """Of each line of the labels; None where it cannot be scored."""
        raise NotImplementedError

    def _printed(self, split: str, source: Source, kind: str) -> list[Printed]:
        """What each utterance's right answer is; None where it is unknown."""
        suffix = extension(kind)
        if not (self.labels / f"{split_there(self.labels, split, suffix)}.{suffix}").is_file():
            logger.warning(
                f"labels={self.labels}: has no {split}.{suffix}: {split} is {self.doing}, not scored"
            )
            return [None] * len(source.utts)
        labels = read_labels(self.labels, split, kind)
        of_utt = dict(zip(labels.utts, self.targets(split, labels, kind), strict=True))
        unlabelled = [utt for utt in source.utts if utt not in of_utt]
        if unlabelled:
            logger.warning(
                f"{source.name}: {len(unlabelled):,} utterances have no labels, so they are {self.doing} but "
                f"not scored: {some_of(unlabelled)}"
            )
        return [of_utt.get(utt) for utt in source.utts]
