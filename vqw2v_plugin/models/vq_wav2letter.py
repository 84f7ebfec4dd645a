"""states ──acoustic model──▶ letters, as fairseq's model `vq_wav2letter`; archs: …_timit, …_wsj, …_tiny."""

import logging
import sys
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Optional, Sequence

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..audio.clip import Clip
from ..checkpoints.about import About, describe
from ..checkpoints.acoustic import make_network
from ..features.front import AudioFront
from ..modules.acoustic.conv_stack import ARCHS
from ..modules.acoustic.network import AcousticConfig, AcousticModel, AcousticOutput
from ..modules.layers.masks import SpecMasks
from ..stores.feature_spec import FeatureSpec
from ..text.units import Units
from ..training.front_options import FrontConfig, front_of

logger = logging.getLogger(__name__)


@dataclass
class VqWav2LetterConfig(FrontConfig):
    conv_layers: Optional[str] = field(
        default=None,
        metadata={
            "help": "layers [(channels, kernel[, stride[, padding[, dropout]]]), …]; default: of the arch"
        },
    )
    activation: Optional[str] = field(
        default=None, metadata={"help": "relu, prelu, gelu or glu (halves channels); default: of the arch"}
    )
    norm: Optional[str] = field(
        default=None, metadata={"help": "none, layer, or weight (of weights); default: of the arch"}
    )
    dropout: Optional[float] = field(
        default=None, metadata={"help": "of layers that do not give their own; default: of the arch"}
    )
    normalize_features: str = field(
        default="utterance",
        metadata={"help": "each feature at mean 0 and variance 1 over an utterance, or none"},
    )
    time_masks: int = field(default=0, metadata={"help": "SpecAugment: stretches hidden in training"})
    time_mask_width: int = field(default=50, metadata={"help": "the longest of them, in frames of features"})
    time_mask_share: float = field(default=0.2, metadata={"help": "the longest, as a share of the utterance"})
    feature_masks: int = field(default=0, metadata={"help": "SpecAugment: bands of features hidden"})
    feature_mask_width: int = field(default=16, metadata={"help": "the widest of them, in features"})


@register_model("vq_wav2letter", dataclass=VqWav2LetterConfig)
class VqWav2LetterModel(BaseFairseqModel):
    def __init__(
        self,
        network: AcousticModel,
        units: Units,
        frame_seconds: float,
        spec: FeatureSpec,
        front: Optional[AudioFront] = None,
    ) -> None:
        super().__init__()
        self.network, self.units, self.frame_seconds = network, units, frame_seconds
        self.about = About(describe(units, network.config, frame_seconds, spec))
        self.front = front

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqWav2LetterModel":
        front, in_dim, spec = front_of(cfg, task.feature_dim, task.feature_spec)
        if spec.standardize == "speaker" and cfg.normalize_features == "utterance":
            logger.warning(
                "mean and scale of the features are taken away by speaker, and `normalize_features` does so "
                "by utterance again; to keep what a speaker's utterances differ in, set it to none"
            )
        network = make_network(network_config(cfg, in_dim, len(task.units)), task.units)
        frame_seconds = network.stride * spec.frame_seconds
        logger.info(
            f"vq_wav2letter: {len(network.stack.blocks)} layers over {in_dim} features "
            f"({spec.layer}), {len(task.units)} symbols with {task.units.loss.title}, "
            f"{sum(p.numel() for p in network.parameters()):,} parameters; a frame of emissions every "
            f"{1000 * frame_seconds:g} ms"
        )
        return cls(network, task.units, frame_seconds, spec, front)

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each update; schedules of the front's own training do not move."""
        if self.front is not None:
            self.front.set_num_updates(num_updates)

    @property
    def wants_clips(self) -> bool:
        """Which clips it hears, beside their samples."""
        return self.front is not None and self.front.goes_by_speaker

    def forward(
        self, source: Tensor, lengths: Tensor, clips: Optional[Sequence[Clip]] = None
    ) -> AcousticOutput:  # [B, T, D] or [B, S], [B]
        if self.front is not None:
            source, lengths = self.front(source, lengths, clips)
        out: AcousticOutput = self.network(source, lengths)
        return out

    def frames(self, size: int) -> int:
        """Frames of emissions that so many samples give, or without a front so many frames of features."""
        return self.network.frames(size if self.front is None else self.front.frames(size))

    def max_positions(self) -> int:
        """Any length; the task's options leave out what is too long."""
        return sys.maxsize


def network_config(cfg: Any, in_dim: int, num_columns: int) -> AcousticConfig:
    """The options given, and the arch's where none is given."""
    arch = ARCHS[getattr(cfg, "_name", None) or "vq_wav2letter"]
    # a checkpoint from before there was an option has its default
    given: Dict[str, Any] = {f.name: getattr(cfg, f.name, f.default) for f in fields(VqWav2LetterConfig)}
    stack = arch._replace(**{name: given[name] for name in arch._fields if given[name] is not None})
    masks = SpecMasks(**{f.name: given[f.name] for f in fields(SpecMasks)})
    return AcousticConfig(in_dim, num_columns, *stack, given["normalize_features"], masks)


for _arch in set(ARCHS) - {"vq_wav2letter"}:
    # the layers follow from the arch's name where none are given, in yaml too: nothing to fill in here
    register_model_architecture("vq_wav2letter", _arch)(lambda args: None)
