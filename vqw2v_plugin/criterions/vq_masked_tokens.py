"""How BERT learns: criterion `vq_masked_tokens`, cross-entropy of the masked tokens and nothing else."""

import math
from typing import Any, Dict, List, Tuple

from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor


@register_criterion("vq_masked_tokens", dataclass=FairseqDataclass)
class VqMaskedTokensCriterion(FairseqCriterion):
    def __init__(self, task: Any) -> None:
        super().__init__(task)

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of masked tokens, and what to log."""
        target = sample["target"]
        out = model(**sample["net_input"], target=target)
        logs = {
            "loss": out.loss.detach(),
            "correct": out.num_correct,
            "sample_size": target.numel(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
        }
        return out.loss, target.numel(), logs

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Loss in bits a masked token, their perplexity, the share of them that was the likeliest symbol."""
        total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in ("loss", "correct")}
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        if isinstance(size, int) and not size:  # utterances so short that no span was drawn
            return
        metrics.log_scalar("loss", total["loss"] / size / math.log(2), size, round=3)
        metrics.log_scalar("accuracy", total["correct"] / size, size, round=4)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg))
        tokens = sum(log.get("ntokens", 0) for log in logging_outputs)
        metrics.log_scalar("masked", size / tokens, tokens, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
