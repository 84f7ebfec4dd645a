"""features ──generator──▶ phones ──decoder──▶ text: the task of learning them without labels (wav2vec-U)."""

import logging
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Tuple

from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import register_task
from omegaconf import MISSING

from ..checkpoints.about import units_of
from ..checkpoints.unpaired import NAME
from ..stores.feature_spec import FeatureSpec
from ..text.ngram_score import TextModel
from ..text.units import Units
from ..training.datasets.labelled import FeatureSource, Source, input_dim, input_spec
from ..training.datasets.several import joined
from ..training.generator import DecodingConfig, decoding_defaults
from ..training.restart import need_folder
from ..training.task import TrainingConfig, TrainingTask
from ..training.two_adams import DISCRIMINATOR, forget_steps
from ..training.unpaired_alarm import UnpairedAlarm
from ..training.unpaired_data import (
    STATE,
    Measured,
    Unpaired,
    UnpairedAnswers,
    check_same_text,
    describe_text,
)
from ..training.unpaired_metrics import log_recognised

logger = logging.getLogger(__name__)


@dataclass
class VqUnpairedConfig(DecodingConfig, TrainingConfig):
    data: str = field(
        default=MISSING, metadata={"help": "feature folder (`vqw2v segment`, or `vqw2v features`)"}
    )
    text: Optional[str] = field(
        default=None, metadata={"help": "folder of unpaired text as phones (`vqw2v phones`)"}
    )
    lm: Optional[str] = field(
        default=None,
        metadata={
            "help": "training: n-gram model of phones that outputs are scored by (default: a 4-gram of the "
            "text); decoding: one of words, or of phones (ARPA or KenLM's binary)"
        },
    )
    aux: Optional[str] = field(
        default=None, metadata={"help": "token folder of the auxiliary clusters that `mmi_weight` asks for"}
    )
    target_downsample_rate: int = field(
        default=2, metadata={"help": "auxiliary clusters to a frame of features"}
    )
    measure: Optional[str] = field(
        default=None,
        metadata={
            "help": "label folder of true phones (`vqw2v labels --unit phones`): the error is logged beside "
            "the score, or counted in fairseq-generate; nothing is learnt or chosen by it"
        },
    )
    vocab_usage_power: float = field(
        default=2.0, metadata={"help": "power of the share of phones in use in `weighted_lm_ppl`"}
    )
    reset_discriminator: int = field(
        default=0, metadata={"help": "the adversary begins anew every so many updates; 0: never"}
    )
    min_frames: int = field(default=3, metadata={"help": "leave out shorter utterances in training (frames)"})
    max_frames: Optional[int] = field(
        default=None, metadata={"help": "leave out longer utterances in training (frames)"}
    )
    joined_runs: bool = field(
        default=False,
        metadata={
            "help": "decoding: search one frame for each run, as fairseq's w2vu_generate does; times are "
            "then counted in runs"
        },
    )
    decode_stride: Optional[int] = field(
        default=None, metadata={"help": "decoding: the generator's stride, in place of the one of training"}
    )
    strict_audio: bool = field(default=False, metadata={"help": "stop at what cannot be read"})


@register_task("vq_unpaired", dataclass=VqUnpairedConfig)
class VqUnpairedTask(TrainingTask):
    """Learns from utterances and from text that nobody has said; in `fairseq-generate` it decodes."""

    cfg: VqUnpairedConfig
    trains: ClassVar[Tuple[str, ...]] = (NAME,)
    may_change: ClassVar[FrozenSet[str]] = TrainingTask.may_change.union(
        {"text", "measure", "aux", "vocab_usage_power", "joined_runs", "decode_stride"},
        (setting.name for setting in fields(DecodingConfig)),
    )

    def __init__(self, cfg: VqUnpairedConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        if cfg.reset_discriminator < 0:
            raise ValueError(f"`reset_discriminator` is {cfg.reset_discriminator}; expected 0 or more")
        self.state.add_factory(STATE, self._describe)  # into every checkpoint
        self.answering = UnpairedAnswers(cfg)
        self.measured = Measured(cfg.measure)
        self.unpaired: Optional[Unpaired] = None
        self.model: Any = None
        self.begins = False  # the model has learnt nothing yet

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """The beam's defaults are those of our search, not those of fairseq's translation."""
        super().add_args(parser)
        if parser.get_default("beam") is not None:
            parser.set_defaults(**decoding_defaults())

    @cached_property
    def units(self) -> Units:
        """The model's columns: of the text, or of the checkpoint that is being loaded."""
        return units_of(getattr(self.state, STATE))

    @cached_property
    def alarm(self) -> UnpairedAlarm:
        return UnpairedAlarm(len(self.units))

    @property
    def feature_dim(self) -> int:
        need_folder("data", self.cfg.data, "features (`vqw2v segment` or `vqw2v features`)")
        if not (found := input_dim(self.cfg.data)):
            raise ValueError(
                f"data={self.cfg.data}: holds no features; make some with `vqw2v segment` or `vqw2v features`"
            )
        return found

    @property
    def feature_spec(self) -> FeatureSpec:
        return input_spec(self.cfg.data, 0)

    @property
    def text_model(self) -> TextModel:
        """By which outputs are judged."""
        assert self.unpaired is not None
        return self.unpaired.model

    @property
    def source_dictionary(self) -> None:
        """None: the input is features."""

    @property
    def target_dictionary(self) -> Any:
        """For what fairseq prints; filled once it is known what the model says."""
        return self.answering.dictionary

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        self.model, self.begins = super().build_model(cfg, from_checkpoint), not from_checkpoint
        for symbol in getattr(self.state, STATE)["symbols"]:
            self.target_dictionary.add_symbol(symbol)
        return self.model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Of the model, which fairseq has built before; from then on it learns."""
        config = self.model.network.config
        if bool(config.mmi_weight) != (self.cfg.aux is not None):
            raise ValueError(
                f"`mmi_weight` is {config.mmi_weight:g} and `aux` is {self.cfg.aux}; expected a token "
                "folder for a weight above 0, and none for 0"
            )
        self.unpaired = Unpaired(self.cfg, self.units, config.target_dim)
        if config.skipgram_weight:
            text = self.unpaired.skipgrams(config.skipgram_reach, config.skipgram_repeats)
            self.model.network.compare_with(text)
            if self.begins:
                self.model.network.begin_near(text)
        _ = self.text_model  # a text that tells nothing is told of before hours are spent
        return super().build_criterion(cfg, from_checkpoint)

    def source(self, splits: str) -> Source:
        """Of one split, or of several by commas, one behind the other."""
        return joined([FeatureSource(self.cfg.data, split) for split in splits.split(",")])

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """What there is to hear of a split, with text where it is trained on, or all of it to decode."""
        source = self.source(split)
        if self.unpaired is not None:
            self.datasets[split] = self.unpaired.dataset(
                split, source, set(split.split(",")) <= self.trained_on
            )
        else:
            self.datasets[split] = self.answering.dataset(split, source, self.units.kind)

    def get_batch_iterator(
        self, dataset: Any, *args: Any, num_shards: int = 1, shard_id: int = 0, **kwargs: Any
    ) -> EpochBatchIterator:
        """fairseq's; what this process has of a split that is decoded, its files wait for."""
        iterator = super().get_batch_iterator(
            dataset, *args, num_shards=num_shards, shard_id=shard_id, **kwargs
        )
        if self.unpaired is None:
            self.answering.expect(iterator.frozen_batches[shard_id::num_shards])
        return iterator

    def build_generator(self, models: List[Any], args: Any, *others: Any, **kwargs: Any) -> Any:
        """What `fairseq-generate` calls for every batch."""
        for model in models:
            model.decodes_runs = self.cfg.joined_runs
            if self.cfg.decode_stride is not None:
                model.stride_by(self.cfg.decode_stride)
        return self.answering.generator(models, args)

    def true_phones(self, sample: Mapping[str, Any]) -> Optional[List[Optional[List[str]]]]:
        """Of each utterance, where they are measured by."""
        if self.cfg.measure is None:
            return None
        known = self.measured.of(sample["split"])
        return [known.get(utt) for utt in sample["utts"]]

    def take_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """Of the one whose turn it is; an adversary that begins anew is drawn by the update."""
        if not optimizer.supports_groups:
            raise ValueError(
                "`optimizer` steps generator and adversary at once; take two_adams, or fairseq's composite "
                "with the groups generator and discriminator"
            )
        optimizer.step(groups={model.learns})
        every = self.cfg.reset_discriminator
        if every and (update_num + 1) % every == 0:
            model.network.discriminator.begin_anew(abs(self.cfg.seed) + update_num + 1)
            forget_steps(optimizer, DISCRIMINATOR)
        self.alarm.look(update_num + 1)

    def reduce_metrics(self, logging_outputs: List[Dict[str, Any]], criterion: Any) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        log_recognised(logging_outputs, self.units, self.cfg.vocab_usage_power)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses text of other phones than those that the checkpoint was trained on."""
        if self.cfg.text is not None or state.get(STATE) is None:
            check_same_text(Path(self.cfg.text or ""), state.get(STATE))

    def _describe(self) -> Dict[str, Any]:
        if self.cfg.text is None:
            raise ValueError("`text` names no folder; expected one of phones, which `vqw2v phones` writes")
        return describe_text(Path(self.cfg.text))
