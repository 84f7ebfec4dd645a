"""How BERT learns: criterion `vq_masked_tokens`, cross-entropy of the masked tokens and nothing else."""

import math
from typing import Any, Dict, List, Tuple

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from ..training.kinds import asked_of, kind_logs
from ..training.metrics import log_mean, log_rounded


@register_criterion("vq_masked_tokens", dataclass=FairseqDataclass)
class VqMaskedTokensCriterion(FairseqCriterion):
    def __init__(self, task: Any) -> None:
        super().__init__(task)

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, the number of masked tokens, and what to log."""
        target = sample["target"]
        out = model(**sample["net_input"], target=target, **asked_of(sample))
        logs = {
            "loss": out.loss.detach(),
            "correct": out.num_correct,
            "sample_size": target.numel(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            **kind_logs(sample, out.apart),
        }
        return out.loss, target.numel(), logs

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Loss in bits a masked token, their perplexity, the share of them that was the likeliest symbol."""
        total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in ("loss", "correct")}
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        if isinstance(size, int) and not size:  # utterances so short that no span was drawn
            return
        log_mean("loss", total["loss"] / size / math.log(2), size)
        log_mean("accuracy", total["correct"] / size, size, digits=4)
        log_rounded("ppl", lambda meters: torch.as_tensor(meters["_loss"].avg).exp2(), digits=2)
        tokens = sum(log.get("ntokens", 0) for log in logging_outputs)
        metrics.log_scalar("masked", size / tokens, tokens, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
