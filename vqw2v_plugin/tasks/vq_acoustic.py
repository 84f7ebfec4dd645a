"""states ──acoustic model──▶ letters ──decoder──▶ text: the task around acoustic models."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import register_task
from omegaconf import II, MISSING

from ..stores.feature_spec import FeatureSpec
from ..stores.labels import EXTENSIONS, LabelError, Labels, dict_name, read_labels, read_symbols
from ..text.units import DEFAULT_REPEATS, Units, asg_units, ctc_units
from ..training.datasets.label_join import Alphabet, Joined, Limits, join, name_some, report, share_of
from ..training.datasets.labelled import AcousticDataset, Source, input_dim, input_spec, open_source
from ..training.generator import AcousticGenerator, DecodingConfig, Printer, decoding_defaults
from ..training.restart import need_folder
from ..training.task import TrainingConfig, TrainingTask

logger = logging.getLogger(__name__)

LOSSES = {"vq_ctc": "ctc", "asg": "asg"}  # by criterion


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
        metadata={"help": "train on this share of the labelled utterances, the same for all inputs"},
    )
    label_seed: int = field(default=1, metadata={"help": "which share `label_fraction` draws"})
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
    sample_rate: int = field(default=16_000, metadata={"help": "rate in Hz that audio is resampled to"})
    strict_audio: bool = field(
        default=False,
        metadata={"help": "stop at a file that cannot be read (default: name it, count it, skip it)"},
    )
    criterion_name: str = II("criterion._name")
    train_subset: str = II("dataset.train_subset")


@register_task("vq_acoustic", dataclass=VqAcousticConfig)
class VqAcousticTask(TrainingTask):
    """Joins inputs to labels by the utterances' names; in `fairseq-generate` labels may be missing."""

    cfg: VqAcousticConfig

    def __init__(self, cfg: VqAcousticConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.state.add_factory("acoustic", self._describe)  # into every checkpoint
        self.printer = Printer(Dictionary(), cfg.answer, cfg.decoder)
        self._model: Any = None
        self._num_decoded = 0
        self._learns = False  # a criterion needs a target for every utterance

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """The beam's defaults are those of our search, not those of fairseq's translation."""
        super().add_args(parser)
        if parser.get_default("beam") is not None:
            parser.set_defaults(**decoding_defaults())

    @property
    def labels(self) -> Path:
        return Path(self.cfg.labels or self.cfg.data)

    @cached_property
    def units(self) -> Units:
        """The model's columns: of the labels and the criterion, or of the checkpoint that is being loaded."""
        known = self.state.acoustic
        if known["loss"] == "ctc":
            return ctc_units(known["symbols"], known["kind"])
        return asg_units(known["symbols"], known["kind"], known["repeats"])

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
        return self.printer.dictionary

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        need_folder("data", self.cfg.data, "features (`vqw2v features`) or SPLIT.tsv files")
        self._model = super().build_model(cfg, from_checkpoint)
        for symbol in self.state.acoustic["symbols"]:
            self.target_dictionary.add_symbol(symbol)
        return self._model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        self._learns = True
        return super().build_criterion(cfg, from_checkpoint)

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Refuses labels that mean something else than those the checkpoint was trained on."""
        theirs = state_dict.get("acoustic")
        if theirs is None:
            raise LabelError("the checkpoint is of another task; expected one of `--task vq_acoustic`")
        path = self.labels / dict_name(theirs["kind"])
        if path.is_file() and read_symbols(self.labels, theirs["kind"]) != tuple(theirs["symbols"]):
            raise LabelError(
                f"{path}: differs from the dictionary that the checkpoint was trained with "
                f"({' '.join(theirs['symbols'][:40])}); make labels with `vqw2v labels … --dict FILE`"
            )
        super().load_state_dict(state_dict)

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """What there is to learn from in a split, or all of it where it is only decoded."""
        source = open_source(self.cfg.data, split, self.cfg.sample_rate)
        if self._learns:
            joined = self._join(source, read_labels(self.labels, split, self.units.kind), split)
            self.datasets[split] = AcousticDataset(
                source, joined.rows, joined.columns, strict_audio=self.cfg.strict_audio
            )
        else:
            rows = np.arange(len(source.utts))
            printed = self._printed(source, split)
            self.datasets[split] = AcousticDataset(
                source, rows, None, printed, self.target_dictionary.pad(), self.cfg.strict_audio
            )

    def build_generator(self, models: List[Any], args: Any, *others: Any, **kwargs: Any) -> AcousticGenerator:
        """What `fairseq-generate` calls for every batch."""
        return AcousticGenerator(models, self.cfg, args, self._num_decoded, self.printer)

    def get_batch_iterator(
        self, dataset: AcousticDataset, *args: Any, num_shards: int = 1, shard_id: int = 0, **kwargs: Any
    ) -> EpochBatchIterator:
        """fairseq's; how many utterances this process has of a split that is decoded, its files wait for."""
        iterator = super().get_batch_iterator(
            dataset, *args, num_shards=num_shards, shard_id=shard_id, **kwargs
        )
        self._num_decoded = sum(map(len, iterator.frozen_batches[shard_id::num_shards]))
        return iterator

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Validation closes a stretch of training: the moment to say how many files were skipped."""
        for dataset in self.datasets.values():
            dataset.report_skipped()

    def _describe(self) -> Dict[str, Any]:
        """What training makes known: the labels, and the loss from the criterion's name."""
        name = str(self.cfg.criterion_name)
        if name not in LOSSES:
            raise LabelError(f"`criterion` is {name}; expected one of {', '.join(LOSSES)}")
        need_folder("labels", self.labels, "SPLIT.utt and dict.*.txt files (`vqw2v labels`)")
        kind = self.cfg.unit or self._only_kind()
        symbols = list(read_symbols(self.labels, kind))
        repeats = self.cfg.asg_repeats if LOSSES[name] == "asg" else 0
        if LOSSES[name] == "asg" and repeats < 1:
            raise LabelError(
                f"`asg_repeats` is {repeats}; expected 1 or more, ASG tells equal neighbours by them"
            )
        return {"symbols": symbols, "kind": kind, "loss": LOSSES[name], "repeats": repeats}

    def _only_kind(self) -> str:
        kinds = [kind for kind in EXTENSIONS if (self.labels / dict_name(kind)).is_file()]
        if len(kinds) != 1:
            found = (
                f"dictionaries of {' and '.join(kinds)}: say `unit`"
                if kinds
                else "no dictionary (dict.*.txt)"
            )
            raise LabelError(f"labels={self.labels}: holds {found}; `vqw2v labels` writes one of each unit")
        return kinds[0]

    def _join(self, source: Source, labels: Labels, split: str) -> Joined:
        """Labels to inputs; what cannot be learnt is named."""
        cfg, units = self.cfg, self.units
        symbols = {s for column, s in enumerate(units.symbols) if column != units.blank}
        alphabet = Alphabet(frozenset(symbols - {*units.repeats}), units.encode, self._frames_needed)
        chosen = None
        if split in str(cfg.train_subset).split(",") and cfg.label_fraction != 1:
            chosen = frozenset(share_of(labels.utts, cfg.label_fraction, cfg.label_seed))
            logger.info(f"{split}: trains on {len(chosen):,} of {len(labels.utts):,} labelled utterances")
        limits = Limits(chosen, cfg.min_frames, cfg.max_frames)
        frames = self._emission_frames(source.sizes)
        joined = join(source.utts, source.sizes, frames, labels, alphabet, limits)
        report(source.name, joined, cfg.strict_labels)
        return joined

    def _frames_needed(self, columns: List[int]) -> int:
        """CTC has a blank between equal labels, ASG a frame at least for each."""
        repeats = sum(a == b for a, b in pairwise(columns)) if self.units.is_ctc else 0
        return len(columns) + repeats

    def _emission_frames(self, sizes: Any) -> Any:
        """[N] frames or samples to frames of emissions, as the model counts."""
        unique, where = np.unique(sizes, return_inverse=True)
        return np.array([self._model.frames(int(size)) for size in unique], np.int64)[where]

    def _printed(self, source: Source, split: str) -> Optional[List[Any]]:
        """What each utterance's transcript is in fairseq's dictionary; None where it is unknown."""
        kind, printer = self.units.kind, self.printer
        if not (self.labels / f"{split}.{EXTENSIONS[kind]}").is_file():
            logger.warning(
                f"labels={self.labels}: has no {split}.{EXTENSIONS[kind]}: {split} is decoded, not scored"
            )
            return [None] * len(source.utts)
        labels = read_labels(self.labels, split, kind)
        printer.choose(labels)
        texts = labels.words if printer.words and labels.words is not None else labels.labels
        of_utt = dict(zip(labels.utts, texts, strict=True))
        unlabelled = [utt for utt in source.utts if utt not in of_utt]
        if unlabelled:
            logger.warning(
                f"{source.name}: {len(unlabelled):,} utterances have no labels, so they are decoded but not "
                f"scored: {name_some(unlabelled)}"
            )
        return [printer.target(of_utt[utt]) if utt in of_utt else None for utt in source.utts]
