"""states ──head──▶ class, how it learns: `vq_utterance`, cross-entropy of the utterances' classes."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from torch import Tensor

from ..training.class_metrics import class_logs, log_classes

WEIGHTS = ("none", "balanced")


@dataclass
class VqUtteranceCriterionConfig(FairseqDataclass):
    class_weights: ChoiceEnum(list(WEIGHTS)) = field(  # type: ignore[valid-type]
        default="none",
        metadata={"help": "balanced: a class of training counts the more the rarer it is, as in the recall"},
    )


@register_criterion("vq_utterance", dataclass=VqUtteranceCriterionConfig)
class VqUtteranceCriterion(FairseqCriterion):
    """Summed over utterances; the gradient is the mean over them."""

    def __init__(self, task: Any, class_weights: str = "none") -> None:
        super().__init__(task)
        self.weights: Optional[Tensor] = task.learning.weights() if str(class_weights) == "balanced" else None

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of utterances, and what to log."""
        logits, classes = model(**sample["net_input"]).logits, sample["targets"][:, 0]  # [B, N], [B]
        weights = None if self.weights is None else self.weights.to(logits)
        loss = F.cross_entropy(logits, classes, weights, reduction="sum")
        size = sample["nsentences"]
        logs = {"loss": loss.detach(), "sample_size": size, "ntokens": sample["ntokens"], "nsentences": size}
        return loss, size, {**logs, **class_logs(logits, classes, table=not model.training)}

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        log_classes(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
