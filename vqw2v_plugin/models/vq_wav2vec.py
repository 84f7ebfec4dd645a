"""wav → z → tokens and c, as fairseq's model `vq_wav2vec`; without a quantizer it is wav2vec 1.0."""

import logging
import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fairseq.models import BaseFairseqModel, register_model
from omegaconf import II
from torch import Tensor

from ..checkpoints.wav2vec import make_network
from ..modules.wav2vec.config import VqWav2VecConfig
from ..modules.wav2vec.network import Objective, VqWav2Vec
from ..training.collapse_alarm import CollapseAlarm, LossSettings
from ..training.compiling import compile_or_warn
from ..training.options import options_of, plain_settings

logger = logging.getLogger(__name__)

HELPS = {
    "prediction_steps": "future steps K that each frame predicts",
    "num_negatives": "negatives from the same utterance",
    "cross_sample_negatives": "negatives from the whole batch",
    "sample_distance": "farthest that a negative of the same utterance may lie, in frames",
    "conv_feature_layers": "encoder layers [(channels, kernel, stride), …]",
    "conv_aggregator_layers": "context layers [(channels, kernel, stride), …]",
    "dropout": "dropout in context layers and predictions",
    "dropout_features": "dropout before the context network",
    "dropout_agg": "dropout after the context network",
    "aggregator": "context network: cnn, or gru over time",
    "gru_dim": "size of the gru",
    "no_conv_bias": "context convolutions without bias",
    "agg_zero_pad": "pad the past with zeros, not the first frame",
    "skip_connections_feat": "residuals around encoder layers",
    "skip_connections_agg": "residuals around context layers",
    "residual_scale": "a residual sum is scaled by √ of this",
    "log_compression": "log(1 + |z|) at the encoder's end",
    "balanced_classes": "weigh negatives by 1 / their number",
    "project_features": "targets through a context network: none, same, or new (one of its own)",
    "non_affine_group_norm": "group norm without gain and bias",
    "centred": "weights start and stay deaf to the mean over their inputs; without, large models collapse",
    "prediction_gain": "of the predictions' first weights, 0 to 1; 1: stock's",
    "offset": "frames to the first prediction; auto: until receptive fields part",
    "activation": "relu (the paper) or gelu",
    "quantizer": "none, gumbel, kmeans or a registered one",
    "quantizer_position": "quantize after the encoder (the paper) or after the context network",
    "quantizer_args": "JSON object of options that only the chosen quantizer knows",
    "vq_vars": "codes V a group",
    "vq_groups": "groups G",
    "vq_dim": "size of the quantized vector; 0: as z",
    "vq_depth": "linear layers of the gumbel head",
    "combine_groups": "one codebook shared by the groups",
    "vq_temp": "gumbel temperature: (start, stop) falls linearly over 70% of max_update (the paper); "
    "(start, stop, decay) by a factor an update as in stock",
    "vq_gamma": "weight of the k-means commitment term",
    "max_update": "updates of the whole training, for schedules",
}


@dataclass
class VqWav2VecModelConfig(options_of(VqWav2VecConfig, HELPS)):  # type: ignore[misc]
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
    criterion: ClassVar[str] = "vq_contrastive"

    def __init__(self, network: VqWav2Vec, alarm: CollapseAlarm | None = None) -> None:
        super().__init__()
        self.network = network
        self.alarm, self._loss = alarm, LossSettings()

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> "VqWav2VecModel":
        network = make_network(VqWav2VecConfig(**plain_settings(VqWav2VecConfig, cfg)))
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
        if self.alarm is not None:
            self.alarm.look(num_updates, self.network, self._loss)

    def discard_update(self) -> None:
        """The task says so when it skips an update."""
        self.network.discard_update()

    def forward(
        self,
        source: Tensor,
        infonce: bool = False,
        quantizer_weight: float | None = None,
        changed: Tensor | None = None,
        apart: bool = False,
    ) -> Objective:  # [B, S]
        self._loss = LossSettings(infonce, quantizer_weight)
        return self.network.objective(source, infonce, quantizer_weight, changed, apart)

    def max_positions(self) -> int:
        """Audio of any length; `max_sample_size` cuts the crops."""
        return sys.maxsize
