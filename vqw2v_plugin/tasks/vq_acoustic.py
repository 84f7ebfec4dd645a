"""states ──acoustic model──▶ letters ──decoder──▶ text: the task around acoustic models."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Dict, FrozenSet, Optional, Tuple

from fairseq.tasks import register_task
from omegaconf import II

from ..checkpoints.about import units_of
from ..stores.feature_spec import FeatureSpec
from ..text.units import DEFAULT_REPEATS, Units
from ..training.acoustic_data import Decoding, Learning, check_same_labels, describe_labels
from ..training.alike import HypothesesAlarm
from ..training.datasets.labelled import input_dim, input_spec
from ..training.generator import DecodingConfig, decoding_defaults
from ..training.labelled_task import LabelledConfig, LabelledTask


@dataclass
class VqAcousticConfig(DecodingConfig, LabelledConfig):
    unit: Optional[str] = field(
        default=None,
        metadata={"help": "letters, phones or pieces (default: those that the label folder has)"},
    )
    asg_repeats: int = field(
        default=DEFAULT_REPEATS, metadata={"help": "ASG: repetition symbols, for runs of equal labels"}
    )
    criterion_name: str = II("criterion._name")


@register_task("vq_acoustic", dataclass=VqAcousticConfig)
class VqAcousticTask(LabelledTask):
    """Learns transcripts, and decodes."""

    cfg: VqAcousticConfig
    trains: ClassVar[Tuple[str, ...]] = ("vq_wav2letter", "vq_wav2vec2_ctc")
    may_change: ClassVar[FrozenSet[str]] = LabelledTask.may_change.union(
        {"criterion_name"}, (setting.name for setting in fields(DecodingConfig))
    )

    def __init__(self, cfg: VqAcousticConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.state.add_factory("acoustic", self._describe)  # into every checkpoint
        self.answering = Decoding(cfg, self.labels)
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
        return units_of(self.state.acoustic)

    @property
    def kind(self) -> str:
        return self.units.kind

    @property
    def feature_dim(self) -> int:
        """D; 0 where the input is audio."""
        return input_dim(self.cfg.data)

    @property
    def feature_spec(self) -> FeatureSpec:
        return input_spec(self.cfg.data, self.cfg.sample_rate)

    def known(self, name: str) -> Optional[Mapping[str, Any]]:
        """What the checkpoint that is being loaded, or that a training goes on from, noted by this name."""
        held = self.state.state_dict.get(name)
        return held if held is not None or self.before is None else self.before.state.get(name)

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Into every checkpoint."""
        self.state.state_dict[name] = content

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        model = super().build_model(cfg, from_checkpoint)
        for symbol in self.state.acoustic["symbols"]:
            self.target_dictionary.add_symbol(symbol)
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Of the model, which fairseq has built before."""
        seed = self.cfg.seed if getattr(self.model, "draws", False) else None
        self.learning = Learning(self.cfg, self.labels, self.units, self.model.frames, seed)
        return super().build_criterion(cfg, from_checkpoint)

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        super().begin_valid_epoch(epoch, model)
        self.hypotheses.begin()

    def end_epoch(self, num_updates: int, max_update: int) -> None:
        """Says so where the model says the same whatever it hears."""
        super().end_epoch(num_updates, max_update)
        sees = getattr(self.model.network, "receptive_field", 0)  # a Transformer's cannot be narrowed
        self.hypotheses.look(num_updates, max_update, sees)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuses labels that mean something else than those the checkpoint was trained on."""
        check_same_labels(self.labels, state.get("acoustic"))

    def _describe(self) -> Dict[str, Any]:
        criterion = str(self.cfg.criterion_name)
        return describe_labels(self.labels, self.cfg.unit, criterion, self.cfg.asg_repeats)
