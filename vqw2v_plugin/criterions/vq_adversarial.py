"""features ──generator──▶ phones, as fairseq's criterion `vq_adversarial`: what either of the two learns by.

The losses are the network's own; where nothing is learnt, the phones are judged by a model of text.
"""

from typing import Any, Dict, List, Tuple

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ..training.unpaired_metrics import recognised_logs, reduce_logs, step_logs
from ..training.unpaired_recognised import phones_of


class VqAdversarialConfig(FairseqDataclass):
    """Weights are the model's."""


@register_criterion("vq_adversarial", dataclass=VqAdversarialConfig)
class VqAdversarialCriterion(FairseqCriterion):
    """Summed over utterances; the gradient is a mean over them."""

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        if not hasattr(task, "unpaired"):
            raise ValueError(
                "`criterion` is vq_adversarial, which learns from text; take `--task vq_unpaired`"
            )

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, what it is to be divided by, and what to log."""
        if model.training:
            step = model(**sample["net_input"])
            logs = step_logs(step, sample["nsentences"], sample["ntokens"])
            self.task.alarm.add(logs)
            return step.loss, sample["nsentences"], logs
        inputs = sample["net_input"]
        out = model(inputs["source"], inputs["lengths"], joined=True)
        said = phones_of(out, model.units)
        logs = recognised_logs(said, self.task.text_model.score, model.units, self.task.true_phones(sample))
        return torch.tensor(logs["loss"]), logs["sample_size"], logs

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        reduce_logs(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
