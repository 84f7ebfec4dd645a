"""How encoder and quantizer learn: criterion `vq_contrastive`, the network's objective and its log."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from ..training.kinds import asked_of, kind_logs
from ..training.metrics import code_logs, log_contrastive


@dataclass
class VqContrastiveConfig(FairseqDataclass):
    infonce: bool = field(
        default=False,
        metadata={"help": "cross-entropy over candidates (InfoNCE); default: binary, as in the paper"},
    )
    loss_weights: Optional[List[float]] = field(
        default=None,
        metadata={"help": "[weight of the quantizer's own loss]; default: the paper's (k-means 1, gumbel 0)"},
    )


@register_criterion("vq_contrastive", dataclass=VqContrastiveConfig)
class VqContrastiveCriterion(FairseqCriterion):
    def __init__(self, task: Any, infonce: bool = False, loss_weights: Optional[List[float]] = None) -> None:
        super().__init__(task)
        if loss_weights is not None and len(loss_weights) != 1:
            raise ValueError(
                f"`loss_weights` is {list(loss_weights)}; expected one weight, of the quantizer's loss"
            )
        if loss_weights is not None and not math.isfinite(loss_weights[0]):
            raise ValueError(f"`loss_weights` is {list(loss_weights)}; expected a number")
        self.infonce = infonce
        self.loss_weights = loss_weights

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of predictions it sums over, and what to log."""
        weight = None if self.loss_weights is None else self.loss_weights[0]
        asked = asked_of(sample)
        out = model(**sample["net_input"], infonce=self.infonce, quantizer_weight=weight, **asked)
        logs: Dict[str, Any] = {
            "loss": out.loss.detach(),
            "loss_contrastive": out.contrastive.detach(),
            "correct": out.num_correct,
            "sample_size": out.num_predictions,
            "ntokens": sample["net_input"]["source"].numel(),
            "nsentences": sample["net_input"]["source"].size(0),
            "skipped": sample.get("skipped", 0),
            "batches": 1,
        }
        if out.quantizer is not None:
            logs["loss_quantizer"] = out.quantizer.detach()
        logs.update(code_logs(out.quantized))
        logs.update(kind_logs(sample, out.apart))
        return out.loss, out.num_predictions, logs

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        total = log_contrastive(logging_outputs)
        if total.get("skipped"):
            metrics.log_scalar_sum("skipped", total["skipped"])

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
