"""tokens ──BERT──▶ states, as fairseq's model `vq_bert`; its archs end in _base, _small and _tiny."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, Sequence

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ..checkpoints.bert import build_bert
from ..modules.bert.network import ARCHS, Bert, BertConfig
from ..modules.bert.vocabulary import Prediction
from ..modules.kernels.attention import Rows

logger = logging.getLogger(__name__)


@dataclass
class VqBertModelConfig(BertConfig, FairseqDataclass):
    pass


@register_model("vq_bert", dataclass=VqBertModelConfig)
class VqBertModel(BaseFairseqModel):
    def __init__(self, network: Bert) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "VqBertModel":
        network = build_bert(cfg, task.symbols)
        sizes = network.sizes
        logger.info(
            f"vq_bert: {sizes.encoder_layers} layers of {sizes.encoder_embed_dim}, {len(network.symbols):,} "
            f"symbols, {sum(p.numel() for p in network.parameters()):,} parameters"
        )
        return cls(network)

    def forward(
        self, tokens: Tensor, lengths: Sequence[int], masked: Tensor, counts: Sequence[int], target: Tensor
    ) -> Prediction:
        prediction: Prediction = self.network(tokens, lengths, Rows(masked, counts), target)
        return prediction

    def max_positions(self) -> int:
        """Any length; the task's `tokens_per_sample` cuts the pieces."""
        return sys.maxsize


for _arch in set(ARCHS) - {"vq_bert"}:
    # the sizes follow from the arch's name where none is given, in yaml too: there is nothing to fill in here
    register_model_architecture("vq_bert", _arch)(lambda args: None)
