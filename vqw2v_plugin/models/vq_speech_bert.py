"""wav ──BERT──▶ states, as fairseq's model `vq_speech_bert`; its archs end in _base and _small."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, Sequence

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..modules.bert.config import SPEECH_ARCHS, SpeechBertConfig, SpeechLayersConfig, of_arch
from ..modules.bert.speech import SpeechBert
from ..modules.bert.vocabulary import Prediction
from ..modules.kernels.attention import Rows
from ..training.options import options_of, plain_settings
from .vq_bert import HELPS

logger = logging.getLogger(__name__)

SIZES = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
OWN_HELPS = {
    "encoder_layers": "layers; default: of the arch (12; small: 6)",
    "encoder_embed_dim": "size of the states; default: of the arch (base 768, small 256)",
    "encoder_ffn_embed_dim": "inner size; default: of the arch (base 3072, small 1024)",
    "encoder_attention_heads": "attention heads; default: of the arch (base 12, small 4)",
    "dropout": "dropout of states",
    "position": "rotary: relative, for any length; or learned",
}


@dataclass
class VqSpeechBertModelConfig(options_of(SpeechLayersConfig, {**HELPS, **OWN_HELPS}, SIZES)):  # type: ignore[misc]
    """Those of `vq_bert`; what is heard and restored are the task's options."""


@register_model("vq_speech_bert", dataclass=VqSpeechBertModelConfig)
class VqSpeechBertModel(BaseFairseqModel):
    def __init__(self, network: SpeechBert) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqSpeechBertModel":
        arch = getattr(cfg, "_name", None) or "vq_speech_bert"
        given = {**plain_settings(SpeechLayersConfig, cfg), **task.heard, **task.code_sizes}
        config: SpeechBertConfig = of_arch(SPEECH_ARCHS, arch, given)
        network = SpeechBert(config)
        logger.info(
            f"vq_speech_bert: {config.encoder_layers} layers of {config.encoder_embed_dim}, "
            f"{config.stack} × {config.num_groups} × {config.num_codes} codes a frame, "
            f"{sum(p.numel() for p in network.parameters()):,} parameters"
        )
        return cls(network)

    def forward(
        self,
        frames: Tensor,
        lengths: Sequence[int],
        masked: Tensor,
        counts: Sequence[int],
        target: Tensor,
        apart: bool = False,
    ) -> Prediction:
        prediction: Prediction = self.network(frames, lengths, Rows(masked, counts), target, apart)
        return prediction

    def max_positions(self) -> int:
        """Any length; the task's `max_sample_size` cuts the crops."""
        return sys.maxsize


for _arch in set(SPEECH_ARCHS) - {"vq_speech_bert"}:
    # the sizes follow from the arch's name where none is given, in yaml too: there is nothing to fill in here
    register_model_architecture("vq_speech_bert", _arch)(lambda args: None)
