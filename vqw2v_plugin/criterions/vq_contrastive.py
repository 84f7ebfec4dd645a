"""How encoder and quantizer learn: criterion `vq_contrastive`, contrastive loss and the quantizer's own."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from ..modules.wav2vec.contrastive import contrastive_loss, num_correct
from ..training.metrics import code_logs, log_codes, log_mean


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
        self.infonce = infonce
        self.loss_weights = loss_weights

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of predictions it sums over, and what to log."""
        out = model(**sample["net_input"])
        sample_size = out.scored.num_predictions
        loss = contrastive_loss(out.scored, self.infonce, out.balanced)
        logs: Dict[str, Any] = {
            "loss_contrastive": loss.detach(),
            "correct": num_correct(out.scored),
            "sample_size": sample_size,
            "ntokens": sample["net_input"]["source"].numel(),
            "nsentences": sample["net_input"]["source"].size(0),
            "skipped": sample.get("skipped", 0),
            "batches": 1,
        }
        if out.quantized is not None:
            weight = self._weight(model)
            if weight:
                own = weight * sample_size * out.quantized.loss
                loss = loss + own
                logs["loss_quantizer"] = own.detach()
            logs.update(code_logs(out.quantized))
        logs["loss"] = loss.detach()
        return loss, sample_size, logs

    def _weight(self, model: Any) -> float:
        if self.loss_weights is not None:
            return self.loss_weights[0]
        return float(model.network.quantizer.loss_weight)

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in _keys(logging_outputs)}
        size = total.get("sample_size") or 1
        for name in ("loss", "loss_contrastive", "loss_quantizer"):
            if name in total:
                log_mean(name, total[name] / size / math.log(2), size)
        log_mean("accuracy", total.get("correct", 0) / size, size, digits=4)
        log_codes(total)
        metrics.log_scalar("ntokens", total.get("ntokens", 0))
        metrics.log_scalar("nsentences", total.get("nsentences", 0))
        if total.get("skipped"):
            metrics.log_scalar_sum("skipped", total["skipped"])

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _keys(logging_outputs: List[Dict[str, Any]]) -> List[str]:
    return sorted({key for log in logging_outputs for key in log})
