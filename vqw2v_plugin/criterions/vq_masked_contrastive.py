"""How wav2vec 2.0 learns: criterion `vq_masked_contrastive`, the network's objective and its log."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from ..modules.wav2vec2.network import PENALTY
from ..training.kinds import asked_of, kind_logs
from ..training.metrics import code_logs, log_contrastive, log_mean


@dataclass
class VqMaskedContrastiveConfig(FairseqDataclass):
    loss_weights: Optional[List[float]] = field(
        default=None,
        metadata={
            "help": "[weight of the quantizer's own loss, of the penalty of z's power]; default: base's "
            "(0.1,10), of k-means (1,10); large has (0.1,0)"
        },
    )


@register_criterion("vq_masked_contrastive", dataclass=VqMaskedContrastiveConfig)
class VqMaskedContrastiveCriterion(FairseqCriterion):
    """All terms are sums over masked frames, and the trainer divides by their number over all ranks.

    The penalty is a sum of each utterance's, so that it does not depend on how batches are made. Diversity
    cannot be one: it is that of all ranks' frames together, and of each batch of `update_freq` by itself.
    Stock's is of each rank's batch alone, so that with other numbers of GPUs it is another loss.
    """

    def __init__(self, task: Any, loss_weights: Optional[List[float]] = None) -> None:
        super().__init__(task)
        if loss_weights is not None and len(loss_weights) != 2:
            raise ValueError(
                f"`loss_weights` is {list(loss_weights)}; expected two weights, of the quantizer's loss and "
                f"of the penalty"
            )
        if loss_weights is not None and not all(map(math.isfinite, loss_weights)):
            raise ValueError(f"`loss_weights` is {list(loss_weights)}; expected numbers")
        self.weights = (None, PENALTY) if loss_weights is None else tuple(loss_weights)

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of masked frames, and what to log."""
        out = model(**sample["net_input"], weights=self.weights, **asked_of(sample))
        logs: Dict[str, Any] = {
            "loss": out.loss.detach(),
            "loss_contrastive": out.contrastive.detach(),
            "correct": out.num_correct,
            "sample_size": out.num_predictions,
            "frames": out.num_frames,
            "ntokens": sample["net_input"]["source"].numel(),
            "nsentences": sample["net_input"]["source"].size(0),
            "skipped": sample.get("skipped", 0),
            "batches": 1,
        }
        for name, term in (("loss_quantizer", out.quantizer), ("loss_penalty", out.penalty)):
            if term is not None:
                logs[name] = term.detach()
        logs.update(code_logs(out.quantized))
        logs.update(kind_logs(sample, out.apart))
        return out.loss, out.num_predictions, logs

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        total = log_contrastive(logging_outputs)
        if total.get("frames"):
            log_mean("masked", total["sample_size"] / total["frames"], total["frames"])
        if total.get("skipped"):
            metrics.log_scalar_sum("skipped", total["skipped"])

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
