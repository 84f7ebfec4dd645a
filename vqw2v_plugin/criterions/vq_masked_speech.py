"""How a BERT over speech learns: criterion `vq_masked_speech`, cross-entropy of masked frames' codes."""

from typing import Any, Dict, List, Tuple

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ..training.metrics import log_mean
from .vq_masked_tokens import VqMaskedTokensCriterion


@register_criterion("vq_masked_speech", dataclass=FairseqDataclass)
class VqMaskedSpeechCriterion(VqMaskedTokensCriterion):
    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """As for masked tokens, where a frame may have several codes, or none that is known."""
        loss, _, logs = super().forward(model, sample, reduce)
        size = sample["scored"]
        return loss, size, {**logs, "sample_size": size, "common": sample["common"]}

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """The same columns, and `chance`: how often the most frequent code is right."""
        VqMaskedTokensCriterion.reduce_metrics(logging_outputs)
        size, common = (
            sum(log.get(name, 0) for log in logging_outputs) for name in ("sample_size", "common")
        )
        if size:
            log_mean("chance", common / size, size, digits=4)
