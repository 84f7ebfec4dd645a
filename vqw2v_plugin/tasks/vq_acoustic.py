"""states ──acoustic model──▶ letters ──decoder──▶ text: the task around acoustic models."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Dict, FrozenSet, List, Optional, Tuple

from fairseq.data import Dictionary
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import register_task
from omegaconf import II, MISSING

from ..corpora.sizes import DEFAULT_RATE
from ..stores.feature_spec import FeatureSpec
from ..text.units import DEFAULT_REPEATS, Units
from ..training.acoustic_data import Decoding, Learning, check_same_labels, describe_labels, described_units
from ..training.alike import HypothesesAlarm
from ..training.datasets.labelled import LabelledDataset, input_dim, input_spec, open_source
from ..training.generator import AcousticGenerator, DecodingConfig, decoding_defaults
from ..training.restart import need_folder
from ..training.task import TrainingConfig, TrainingTask


@dataclass
class VqAcousticConfig(DecodingConfig, TrainingConfig):
    data: str = field(
        default=MISSING,
        metadata={"help": "feature folder, or a folder of manifests for a model with a front"},
    )
    labels: Optional[str] = field(
        default=None, metadata={"help": "label folder of `vqw2v labels` (default: data)"}
    )
    unit: Optional[str] = field(
        default=None,
        metadata={"help": "letters, phones or pieces (default: those that the label folder has)"},
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
    asg_repeats: int = field(
        default=DEFAULT_REPEATS, metadata={"help": "ASG: repetition symbols, for runs of equal labels"}
    )
    sample_rate: int = field(default=DEFAULT_RATE, metadata={"help": "rate in Hz that audio is resampled to"})
    strict_audio: bool = field(
        default=False,
        metadata={"help": "stop at a file that cannot be read (default: name it, count it, skip it)"},
    )
    criterion_name: str = II("criterion._name")
    train_subset: str = II("dataset.train_subset")


@register_task("vq_acoustic", dataclass=VqAcousticConfig)
class VqAcousticTask(TrainingTask):
    """Joins inputs to labels by the utterances' names; in `fairseq-generate` labels may be missing.

    It decodes until fairseq builds a criterion; from then on it learns.
    """

    cfg: VqAcousticConfig
    trains: ClassVar[Tuple[str, ...]] = ("vq_wav2letter",)
    may_change: ClassVar[FrozenSet[str]] = TrainingTask.may_change.union(
        {"labels", "strict_labels", "criterion_name", "train_subset"},
        (setting.name for setting in fields(DecodingConfig)),
    )

    def __init__(self, cfg: VqAcousticConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.labels = Path(cfg.labels or cfg.data)
        self.state.add_factory("acoustic", self._describe)  # into every checkpoint
        self.decoding = Decoding(cfg, self.labels)
        self.learning: Optional[Learning] = None
        self.model: Any = None
        self.hypotheses = HypothesesAlarm()

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """The beam's defaults are those of our search, not those of fairseq's translation."""
        super().add_args(parser)
        if parser.get_default("beam") is not None:
            parser.set_defaults(**decoding_defaults())

    @cached_property
    def units(self) -> Units:
        """The model's columns: of the labels and the criterion, or of the checkpoint that is being loaded."""
        return described_units(self.state.acoustic)

    @property
    def feature_dim(self) -> int:
        """D; 0 where the input is audio."""
        return input_dim(self.cfg.data)

    @property
    def feature_spec(self) -> FeatureSpec:
        return input_spec(self.cfg.data, self.cfg.sample_rate)

    @property
    def source_dictionary(self) -> None:
        """None: the input is features or audio."""

    @property
    def target_dictionary(self) -> Dictionary:
        """For what fairseq prints; filled once it is known what the model says."""
        return self.decoding.answers.dictionary

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        need_folder("data", self.cfg.data, "features (`vqw2v features`) or SPLIT.tsv files")
        self.model = super().build_model(cfg, from_checkpoint)
        for symbol in self.state.acoustic["symbols"]:
            self.target_dictionary.add_symbol(symbol)
        return self.model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Of the model, which fairseq has built before."""
        self.learning = Learning(self.cfg, self.labels, self.units, self.model.frames)
        return super().build_criterion(cfg, from_checkpoint)

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        super().begin_valid_epoch(epoch, model)
        self.hypotheses.begin()

    def end_epoch(self, num_updates: int, max_update: int) -> None:
        """Says so where the model says the same whatever it hears."""
        self.hypotheses.look(num_updates, max_update, self.model.network.receptive_field)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses labels that mean something else than those the checkpoint was trained on."""
        check_same_labels(self.labels, state.get("acoustic"))

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """What there is to learn from in a split, or all of it where it is only decoded."""
        source = open_source(self.cfg.data, split, self.cfg.sample_rate)
        if self.learning is not None:
            self.datasets[split] = self.learning.dataset(split, source)
        else:
            self.datasets[split] = self.decoding.dataset(split, source, self.units.kind)

    def get_batch_iterator(
        self, dataset: LabelledDataset, *args: Any, num_shards: int = 1, shard_id: int = 0, **kwargs: Any
    ) -> EpochBatchIterator:
        """fairseq's; what this process has of a split that is decoded, its files wait for."""
        iterator = super().get_batch_iterator(
            dataset, *args, num_shards=num_shards, shard_id=shard_id, **kwargs
        )
        if self.learning is None:
            self.decoding.expect(iterator.frozen_batches[shard_id::num_shards])
        return iterator

    def build_generator(self, models: List[Any], args: Any, *others: Any, **kwargs: Any) -> AcousticGenerator:
        """What `fairseq-generate` calls for every batch."""
        return self.decoding.generator(models, args)

    def _describe(self) -> Dict[str, Any]:
        criterion = str(self.cfg.criterion_name)
        return describe_labels(self.labels, self.cfg.unit, criterion, self.cfg.asg_repeats)
