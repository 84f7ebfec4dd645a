"""wav → z → tokens and c, as fairseq's model `vq_wav2vec`; without a quantizer it is wav2vec 1.0."""

import logging
import sys
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II
from torch import Tensor

from ..checkpoints.wav2vec import build_network
from ..modules.wav2vec.config import VqWav2VecConfig
from ..modules.wav2vec.network import Contrast, VqWav2Vec
from ..training.collapse_alarm import CollapseAlarm
from ..training.compiling import compile_or_warn

logger = logging.getLogger(__name__)


@dataclass
class VqWav2VecModelConfig(VqWav2VecConfig, FairseqDataclass):
    collapse_share: float = field(
        default=0.05,
        metadata={"help": "warn when a group's perplexity falls below this share of its codes; 0: never"},
    )
    stop_on_collapse: bool = field(default=False, metadata={"help": "stop there, rather than warn"})
    compile: bool = field(
        default=False,
        metadata={"help": "torch.compile encoder and context network; falls back, with one warning"},
    )
    max_update: int = II("optimization.max_update")


@register_model("vq_wav2vec", dataclass=VqWav2VecModelConfig)
class VqWav2VecModel(BaseFairseqModel):
    def __init__(self, network: VqWav2Vec, alarm: CollapseAlarm | None = None) -> None:
        super().__init__()
        self.network = network
        self.alarm = alarm

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> "VqWav2VecModel":
        network = build_network(cfg)
        network.set_num_updates(0)  # a schedule that lacks an option says so now, not after the first update
        geometry = network.encoder.geometry
        logger.info(
            f"vq_wav2vec: quantizer {network.config.quantizer}, "
            f"{sum(p.numel() for p in network.parameters()):,} parameters; a frame sees "
            f"{geometry.receptive_field} samples, every {geometry.stride}"
        )
        if cfg.compile:
            for part in (network.encoder, network.context):
                compile_or_warn(part)
        return cls(network, CollapseAlarm(cfg.collapse_share, cfg.stop_on_collapse))

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq says so before each batch, our tasks also after each update."""
        self.network.set_num_updates(num_updates)
        if self.alarm is not None and self.network.health is not None and self.network.quantizer is not None:
            self.alarm.look(num_updates, self.network.health, self.network.quantizer.cure)

    def discard_update(self) -> None:
        """The task says so when it skips an update."""
        self.network.discard_update()

    def forward(self, source: Tensor) -> Contrast:  # [B, S]
        return self.network.contrast(source)

    def max_positions(self) -> int:
        """Audio of any length; `max_sample_size` cuts the crops."""
        return sys.maxsize
