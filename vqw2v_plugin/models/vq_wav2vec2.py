"""wav → z → tokens and states, as fairseq's model `vq_wav2vec2`; archs _base, _large and _small."""

import dataclasses
import logging
import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional, Sequence, Tuple

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from omegaconf import II
from torch import Tensor

from ..checkpoints.wav2vec2 import make_wav2vec2
from ..modules.wav2vec2.config import ARCHS, Wav2Vec2Config
from ..modules.wav2vec2.network import DIVERSITY, PENALTY, Objective, Wav2Vec2
from ..training.collapse_alarm import CollapseAlarm, LossSettings
from ..training.options import options_of, plain_settings

logger = logging.getLogger(__name__)

_FIRST_LOOK = 500  # updates: it begins to learn later than a vq-wav2vec
OF_THE_ARCH = (
    *("extractor_mode", "conv_feature_layers", "conv_bias", "feature_grad_mult", "layer_norm_first"),
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"),
    *("dropout", "attention_dropout", "dropout_input", "dropout_features", "encoder_layerdrop"),
    *("final_dim", "latent_temp"),
)
HELPS = {
    "extractor_mode": "default: group norm in the encoder's first layer (base); layer_norm in all (large)",
    "conv_feature_layers": "encoder layers [(channels, kernel, stride), …]",
    "conv_bias": "encoder layers with bias (large)",
    "feature_grad_mult": "factor of the encoder's gradient (base 0.1, large 1); 0: it does not learn",
    "encoder_layers": "Transformer layers (base 12, large 24, small 6)",
    "encoder_embed_dim": "size of the states (base 768, large 1024, small 384)",
    "encoder_ffn_embed_dim": "inner size (base 3072, large 4096, small 1536)",
    "encoder_attention_heads": "attention heads (base 12, large 16, small 6)",
    "layer_norm_first": "layer norm before each block (large)",
    "activation_fn": "gelu or relu, of feed-forward blocks",
    "dropout": "dropout of states (base 0.1, large 0)",
    "attention_dropout": "dropout of attention weights (base 0.1, large 0)",
    "activation_dropout": "dropout inside feed-forward blocks",
    "encoder_layerdrop": "how often a whole layer is left out (base 0.05, large 0)",
    "dropout_input": "dropout of what the Transformer hears (base 0.1, large 0)",
    "dropout_features": "dropout of what targets are made of (base 0.1, large 0)",
    "conv_pos": "taps of the convolution that tells positions",
    "conv_pos_groups": "its groups",
    "quantizer": "gumbel, kmeans, fsq, none or a registered one",
    "quantizer_args": "JSON object of options that only the chosen quantizer knows",
    "quantize_targets": "quantize what is told apart",
    "quantize_input": "quantize what the Transformer hears",
    "same_quantizer": "by one quantizer, where both are",
    "latent_vars": "codes V a group",
    "latent_groups": "groups G",
    "latent_dim": "size of the quantized vector; 0: final_dim, of quantized input encoder_embed_dim",
    "latent_temp": "gumbel temperature: start, stop, factor an update (base 2,0.5,0.999995; large stops at "
    "0.1); or start, stop, between which it falls linearly over 70% of max_update",
    "quantizer_depth": "linear layers of the gumbel head",
    "final_dim": "size in which frames are compared (base 256, large 768); 0: encoder_embed_dim",
    "logit_temp": "κ, which similarities are divided by",
    "num_negatives": "distractors, other masked frames of the utterance",
    "mask_prob": "share of the frames that would be masked if spans did not overlap",
    "mask_length": "M, frames of a span",
    "mask_channel_prob": "the same share of channels of what the Transformer hears, over all of the time",
    "mask_channel_length": "channels of a span",
    "max_update": "updates of the whole training, for schedules",
}


@dataclass
class VqWav2Vec2ModelConfig(options_of(Wav2Vec2Config, HELPS, OF_THE_ARCH)):  # type: ignore[misc]
    collapse_share: float = field(
        default=0.01,
        metadata={"help": "warn when a group's perplexity falls below this share of its codes; 0: never"},
    )
    stop_on_collapse: bool = field(default=False, metadata={"help": "stop there, rather than warn"})
    max_update: int = II("optimization.max_update")


@register_model("vq_wav2vec2", dataclass=VqWav2Vec2ModelConfig)
class VqWav2Vec2Model(BaseFairseqModel):
    pads: ClassVar[bool] = True  # batches may have padding, so no crop depends on its neighbours
    criterion: ClassVar[str] = "vq_masked_contrastive"

    def __init__(self, network: Wav2Vec2, alarm: Optional[CollapseAlarm] = None) -> None:
        super().__init__()
        self.network = network
        self.alarm, self._loss = alarm, LossSettings(True)

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> "VqWav2Vec2Model":
        given = {k: v for k, v in plain_settings(Wav2Vec2Config, cfg).items() if v is not None}
        network = make_wav2vec2(
            dataclasses.replace(ARCHS[getattr(cfg, "_name", None) or "vq_wav2vec2"], **given)
        )
        network.set_num_updates(0)  # a schedule that lacks an option says so now, not after the first update
        config, geometry = network.config, network.encoder.geometry
        logger.info(
            f"vq_wav2vec2: {config.encoder_layers} layers of {config.encoder_embed_dim}, quantizer "
            f"{config.quantizer}, {sum(p.numel() for p in network.parameters()):,} parameters; a frame sees "
            f"{geometry.receptive_field} samples, every {geometry.stride}"
        )
        return cls(network, CollapseAlarm(cfg.collapse_share, cfg.stop_on_collapse, _FIRST_LOOK))

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
        source: Tensor,  # [B, S]
        lengths: Optional[Sequence[int]] = None,
        seeds: Optional[Sequence[int]] = None,
        weights: Tuple[Optional[float], float] = (None, PENALTY),
        apart: bool = False,
        changed: Optional[Tensor] = None,  # [B, S]
    ) -> Objective:
        own = DIVERSITY if weights[0] is None else weights[0]
        self._loss = LossSettings(True, own, (weights[1],))
        return self.network.objective(source, lengths, seeds, weights, apart=apart, changed=changed)

    def max_positions(self) -> int:
        """Audio of any length; `max_sample_size` cuts the crops."""
        return sys.maxsize


for _arch in set(ARCHS) - {"vq_wav2vec2"}:
    # the sizes follow from the arch's name where none is given, in yaml too: there is nothing to fill in here
    register_model_architecture("vq_wav2vec2", _arch)(lambda args: None)
