"""states ──…──▶ what is said of an utterance: what the tasks that learn from labels share."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, FrozenSet, List, Optional

from fairseq.data.iterators import EpochBatchIterator
from omegaconf import II, MISSING

from ..corpora.sizes import DEFAULT_RATE
from .acoustic_data import Learning
from .answering import Answering
from .datasets.labelled import LabelledDataset, Source, open_source, unknown_speakers
from .datasets.several import joined
from .restart import need_folder
from .task import TrainingConfig, TrainingTask

logger = logging.getLogger(__name__)


@dataclass
class LabelledConfig(TrainingConfig):
    data: str = field(
        default=MISSING,
        metadata={"help": "feature folder, or a folder of manifests for a model that hears audio"},
    )
    labels: Optional[str] = field(
        default=None, metadata={"help": "label folder of `vqw2v labels` (default: data)"}
    )
    label_fraction: float = field(
        default=1.0,
        metadata={
            "help": "train on this share of the labelled utterances, or on so many (a whole number above 1), "
            "the same for all inputs"
        },
    )
    label_hours: Optional[float] = field(
        default=None, metadata={"help": "train on so many hours of the labelled utterances"}
    )
    label_seed: int = field(
        default=1, metadata={"help": "which ones `label_fraction` or `label_hours` draws"}
    )
    max_frames: Optional[int] = field(
        default=None, metadata={"help": "leave out longer utterances in training (frames; of audio: samples)"}
    )
    min_frames: int = field(
        default=1, metadata={"help": "leave out shorter utterances in training (frames; of audio: samples)"}
    )
    strict_labels: bool = field(
        default=False, metadata={"help": "stop if an utterance cannot be learnt from (default: name it)"}
    )
    sample_rate: int = field(default=DEFAULT_RATE, metadata={"help": "rate in Hz that audio is resampled to"})
    strict_audio: bool = field(
        default=False,
        metadata={"help": "stop at a file that cannot be read (default: name it, count it, skip it)"},
    )
    train_subset: str = II("dataset.train_subset")


class LabelledTask(TrainingTask):
    """Joins inputs to labels by the utterances' names; in `fairseq-generate` labels may be missing.

    It answers until fairseq builds a criterion; from then on it learns.
    """

    cfg: LabelledConfig
    may_change: ClassVar[FrozenSet[str]] = TrainingTask.may_change.union(
        {"labels", "strict_labels", "train_subset"}
    )
    answering: Answering

    def __init__(self, cfg: LabelledConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.labels = Path(cfg.labels or self.folders[0])
        self.learning: Optional[Learning] = None
        self.model: Any = None

    @property
    def folders(self) -> List[str]:
        """Of the inputs."""
        return [self.cfg.data]

    @property
    def kind(self) -> str:
        """What labels hold."""
        raise NotImplementedError

    @property
    def source_dictionary(self) -> None:
        """None: the input is features or audio."""

    @property
    def target_dictionary(self) -> Any:
        """For what fairseq prints; filled once it is known what the model says."""
        return self.answering.dictionary

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        for folder in self.folders:
            need_folder("data", folder, "features (`vqw2v features`) or SPLIT.tsv files")
        self.model = super().build_model(cfg, from_checkpoint)
        return self.model

    def source(self, splits: str) -> Source:
        """Of one split, or of several by commas, one behind the other."""
        return joined([self.open(split) for split in splits.split(",")])

    def open(self, split: str) -> Source:
        """What there is of one split."""
        return open_source(self.cfg.data, split, self.cfg.sample_rate)

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """What there is to learn from in a split, or all of it where it is only answered."""
        source = self.source(split)
        if self.learning is not None:
            self.datasets[split] = self.learning.dataset(split, source)
        else:
            self.datasets[split] = self.answering.dataset(split, source, self.kind)
        if getattr(self.model, "wants_clips", False):
            self.datasets[split].tells_clips = True
            if unknown := unknown_speakers(source):
                logger.warning(unknown)

    def get_batch_iterator(
        self, dataset: LabelledDataset, *args: Any, num_shards: int = 1, shard_id: int = 0, **kwargs: Any
    ) -> EpochBatchIterator:
        """fairseq's; what this process has of a split that is answered, its files wait for."""
        iterator = super().get_batch_iterator(
            dataset, *args, num_shards=num_shards, shard_id=shard_id, **kwargs
        )
        if self.learning is None:
            self.answering.expect(iterator.frozen_batches[shard_id::num_shards])
        return iterator

    def build_generator(self, models: List[Any], args: Any, *others: Any, **kwargs: Any) -> Any:
        """What `fairseq-generate` calls for every batch."""
        return self.answering.generator(models, args)
