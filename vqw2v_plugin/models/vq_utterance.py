"""states ──head──▶ class of the utterance, as fairseq's model `vq_utterance`."""

import logging
import sys
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from ..audio.clip import Clip
from ..checkpoints.utterance import NAME, about_of
from ..features.front import AudioFront
from ..modules.utterance.network import NORMALIZE, UtteranceConfig, UtteranceNetwork, UtteranceOutput
from ..modules.utterance.pooling import POOLINGS
from ..stores.feature_spec import FeatureSpec
from ..text.classes import Classes
from ..training.front_options import FrontConfig, front_of

logger = logging.getLogger(__name__)


@dataclass
class VqUtteranceModelConfig(FrontConfig):
    hidden_dim: int = field(
        default=UtteranceConfig.hidden_dim, metadata={"help": "size of the vectors that are pooled"}
    )
    pooling: ChoiceEnum(list(POOLINGS)) = field(  # type: ignore[valid-type]
        default=UtteranceConfig.pooling,
        metadata={"help": "over an utterance's frames: their mean, or one weighted by learnt attention"},
    )
    normalize_features: ChoiceEnum(list(NORMALIZE)) = field(  # type: ignore[valid-type]
        default=UtteranceConfig.normalize,
        metadata={
            "help": "each feature at mean 0 and variance 1 over the training set, over an utterance (which "
            "takes away what is the same in all of it), or none"
        },
    )
    dropout: float = field(default=UtteranceConfig.dropout, metadata={"help": "of the vectors"})


@register_model(NAME, dataclass=VqUtteranceModelConfig)
class VqUtteranceModel(BaseFairseqModel):
    def __init__(
        self,
        network: UtteranceNetwork,
        classes: Classes,
        specs: Sequence[FeatureSpec],
        front: Optional[AudioFront] = None,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.front = network, classes, front
        self.about = about_of(classes, network.config, specs)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqUtteranceModel":
        specs, front = task.layer_specs, None
        front, dim, spec = front_of(cfg, task.feature_dim, specs[0])
        if front is not None:
            specs = [spec]
        config = UtteranceConfig(
            dim,
            len(task.classes),
            len(specs),
            cfg.hidden_dim,
            str(cfg.pooling),
            str(cfg.normalize_features),
            cfg.dropout,
        )
        network = UtteranceNetwork(config)
        layers = ", ".join(str(spec.layer) for spec in specs)
        logger.info(
            f"{NAME}: {len(task.classes)} classes over {dim} features of {layers}, {config.pooling} over "
            f"time, {sum(p.numel() for p in network.parameters()):,} parameters"
        )
        return cls(network, task.classes, specs, front)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each update; schedules of the front's own training do not move."""
        if self.front is not None:
            self.front.set_num_updates(num_updates)

    @property
    def wants_clips(self) -> bool:
        """Which clips it hears, beside their samples."""
        return self.front is not None and self.front.goes_by_speaker

    def heard(
        self, source: Tensor, lengths: Tensor, clips: Optional[Sequence[Clip]] = None
    ) -> tuple[Tensor, Tensor]:
        """Features of whatever the input is."""
        return (source, lengths) if self.front is None else self.front(source, lengths, clips)

    def forward(
        self, source: Tensor, lengths: Tensor, clips: Optional[Sequence[Clip]] = None
    ) -> UtteranceOutput:  # [B, T, L · D] or [B, S], [B]
        out: UtteranceOutput = self.network(*self.heard(source, lengths, clips))
        return out

    @torch.no_grad()
    def probabilities(
        self, source: Tensor, lengths: Tensor, clips: Optional[Sequence[Clip]] = None
    ) -> Tensor:  # [B, N]
        return self(source, lengths, clips).logits.float().softmax(1)  # type: ignore[no-any-return]

    def frames(self, size: int) -> int:
        """Frames of features that so many samples give, or without a front themselves."""
        return size if self.front is None else self.front.frames(size)

    def max_positions(self) -> int:
        """Any length; the task's options leave out what is too long."""
        return sys.maxsize
