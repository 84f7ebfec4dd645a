"""states ──head──▶ class: the task around heads for whole utterances: speaker, language, emotion."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, FrozenSet, List, Mapping, Optional, Tuple

from fairseq.tasks import register_task
from omegaconf import II, MISSING

from ..checkpoints.utterance import NAME, STATE
from ..decoding.class_scoring import ClassCounts
from ..modules.layers.ranks import rank
from ..stores.feature_spec import FeatureSpec
from ..stores.labels import CLASS
from ..text.classes import Classes
from ..training.class_data import ClassAnswering, ClassLearning, check_same_classes, describe_classes, fit
from ..training.class_generator import SCORER
from ..training.class_metrics import CONFUSION
from ..training.datasets.labelled import Source
from ..training.datasets.several import folders_of, layer_dim, layer_specs, open_sources
from ..training.labelled_task import LabelledConfig, LabelledTask

logger = logging.getLogger(__name__)


@dataclass
class VqUtteranceConfig(LabelledConfig):
    data: str = field(
        default=MISSING,
        metadata={
            "help": "feature folder; several by colons, whose layers are mixed; or a folder of manifests for "
            "a model with a front"
        },
    )
    labels: Optional[str] = field(
        default=None, metadata={"help": "label folder of `vqw2v labels --unit class` (default: data)"}
    )
    gen_subset: str = II("dataset.gen_subset")
    results_path: Optional[str] = II("common_eval.results_path")


@register_task("vq_utterance", dataclass=VqUtteranceConfig)
class VqUtteranceTask(LabelledTask):
    """Learns the class of each utterance, and answers with one."""

    cfg: VqUtteranceConfig
    trains: ClassVar[Tuple[str, ...]] = (NAME,)
    may_change: ClassVar[FrozenSet[str]] = LabelledTask.may_change.union({"gen_subset", "results_path"})

    def __init__(self, cfg: VqUtteranceConfig, **kwargs: Any) -> None:
        super().__init__(cfg, **kwargs)
        self.state.add_factory(STATE, lambda: describe_classes(self.labels))  # into every checkpoint
        self.answering = ClassAnswering(cfg, self.labels)
        self._begins = False

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """In `fairseq-generate` classes are scored, not translations."""
        super().add_args(parser)
        if parser.get_default("beam") is not None:
            parser.set_defaults(beam=1, scoring=SCORER)

    @property
    def kind(self) -> str:
        return CLASS

    @property
    def folders(self) -> List[str]:
        return folders_of(self.cfg.data)

    @cached_property
    def classes(self) -> Classes:
        """Of the labels, or of the checkpoint that is being loaded."""
        return Classes(tuple(getattr(self.state, STATE)["classes"]))

    @property
    def feature_dim(self) -> int:
        """D of a layer; 0 where the input is audio."""
        return layer_dim(self.folders)

    @property
    def layer_specs(self) -> List[FeatureSpec]:
        return layer_specs(self.folders, self.cfg.sample_rate)

    def open(self, split: str) -> Source:
        return open_sources(self.folders, split, self.cfg.sample_rate)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        model = super().build_model(cfg, from_checkpoint)
        self._begins = not from_checkpoint
        for name in self.classes.names:
            self.target_dictionary.add_symbol(name)
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Of the model, which fairseq has built before; a new one hears what features are like."""
        self.learning = ClassLearning(self.cfg, self.labels, self.classes, self.model.frames)
        if self._begins and self.model.network.config.normalize == "corpus":
            fit(self.model, self.source(self.cfg.train_subset))
        return super().build_criterion(cfg, from_checkpoint)

    def check_state(self, state: Mapping[str, Any]) -> None:
        check_same_classes(self.labels, state.get(STATE))

    def post_validate(self, model: Any, stats: Any, agg: Any) -> None:
        """fairseq calls it before it prints a validation's figures: what was taken for what."""
        if rank() == 0 and CONFUSION in agg:
            counts = ClassCounts(self.classes.names, agg[CONFUSION].sum.long().cpu().numpy())
            logger.info("\n".join([counts.describe(), *counts.table()]))
