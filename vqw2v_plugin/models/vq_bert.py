"""tokens ──BERT──▶ states, as fairseq's model `vq_bert`; its archs end in _base, _small and _tiny."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, Sequence

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..modules.bert.config import ARCHS, BertConfig, config_of
from ..modules.bert.network import Bert
from ..modules.bert.vocabulary import Prediction
from ..modules.kernels.attention import Rows
from ..training.options import options_of, plain_settings

logger = logging.getLogger(__name__)


HELPS = {
    "encoder_layers": "layers; default: of the arch (12; tiny: 4)",
    "encoder_embed_dim": "size of the states; default: of the arch (base 768, small 512)",
    "encoder_ffn_embed_dim": "inner size; default: of the arch (base 3072, small 2048)",
    "encoder_attention_heads": "attention heads; default: of the arch (base 12, small 8)",
    "dropout": "dropout of states; default: of the arch (base 0.1, small 0.05)",
    "attention_dropout": "dropout of attention weights",
    "activation_dropout": "dropout inside feed-forward blocks",
    "activation_fn": "gelu or relu",
    "max_positions": "learned positions, with <s> and </s>; longer input repeats them",
    "encoder_normalize_before": "layer norm before each block",
    "layernorm_embedding": "layer norm of the embeddings",
    "untie_weights_roberta": "output weights of their own",
    "position": "learned (stock), or rotary: relative, for any length",
    "vocabulary": "joint codes (the paper), or groups: a table and a softmax each",
}
LEFT_TO_ARCH = (
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "dropout",
)


@dataclass
class VqBertModelConfig(options_of(BertConfig, HELPS, LEFT_TO_ARCH)):  # type: ignore[misc]
    """Stock roberta's names; what an arch sets has no default here, so that yaml can leave it to the arch."""


@register_model("vq_bert", dataclass=VqBertModelConfig)
class VqBertModel(BaseFairseqModel):
    def __init__(self, network: Bert) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqBertModel":
        config = config_of(getattr(cfg, "_name", None) or "vq_bert", plain_settings(BertConfig, cfg))
        network = Bert(config, task.symbols)
        logger.info(
            f"vq_bert: {config.encoder_layers} layers of {config.encoder_embed_dim}, "
            f"{len(network.symbols):,} symbols, {sum(p.numel() for p in network.parameters()):,} parameters"
        )
        return cls(network)

    def forward(
        self,
        tokens: Tensor,
        lengths: Sequence[int],
        masked: Tensor,
        counts: Sequence[int],
        target: Tensor,
        apart: bool = False,
    ) -> Prediction:
        prediction: Prediction = self.network(tokens, lengths, Rows(masked, counts), target, apart)
        return prediction

    def max_positions(self) -> int:
        """Any length; the task's `tokens_per_sample` cuts the pieces."""
        return sys.maxsize


for _arch in set(ARCHS) - {"vq_bert"}:
    # the sizes follow from the arch's name where none is given, in yaml too: there is nothing to fill in here
    register_model_architecture("vq_bert", _arch)(lambda args: None)
