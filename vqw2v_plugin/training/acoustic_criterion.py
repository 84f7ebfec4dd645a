"""states ──acoustic model──▶ letters, how it learns: what the criterions of all kinds of loss share.

The loss is the model's own (`network.sequence_loss`), since decoding needs ASG's transitions too.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Tuple

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import II
from torch import Tensor

from ..decoding.scoring import count_errors
from ..text.loss_kinds import LossKind
from .metrics import log_mean, log_rounded


@dataclass
class AcousticCriterionConfig(FairseqDataclass):
    sentence_avg: bool = II("optimization.sentence_avg")


class AcousticCriterion(FairseqCriterion):
    """Summed over utterances; the gradient is a mean over labels, or over utterances with `sentence_avg`."""

    loss: ClassVar[LossKind]

    def __init__(self, task: Any, sentence_avg: bool = False) -> None:
        super().__init__(task)
        self.sentence_avg = sentence_avg
        if task.units.loss != self.loss:
            name, other = self.loss.criterion, task.units.loss.title
            raise ValueError(f"`criterion` is {name}, but the model is one of {other}; train on with its own")

    def forward(
        self, model: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The summed loss, what it is to be divided by, and what to log."""
        out = model(**sample["net_input"])
        losses = model.network.sequence_loss(
            *(out.emissions, out.lengths, sample["targets"], sample["target_lengths"])
        )  # [B]
        loss = losses.sum()
        size = sample["nsentences"] if self.sentence_avg else sample["ntokens"]
        logs: Dict[str, Any] = {
            "loss": loss.detach(),
            "sample_size": size,
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
        }
        if not model.training:
            logs.update(self._errors(model.network.sequence_loss, out, sample))
        return loss, size, logs

    def _errors(self, sequence_loss: Any, out: Any, sample: Dict[str, Any]) -> Dict[str, int]:
        """Of the best path alone, without a lexicon: labels, and words where labels make any."""
        units = self.task.units
        said = sequence_loss.best_path(out.emissions, out.lengths).sequences()
        lengths = sample["target_lengths"].tolist()
        counts = dict.fromkeys(("label_errors", "labels", "word_errors", "words"), 0)
        frames = out.lengths.tolist()
        for i, (columns, target, length) in enumerate(
            zip(said, sample["targets"].tolist(), lengths, strict=True)
        ):
            hypothesis, reference = units.decode(columns), units.decode(target[:length])
            self.task.hypotheses.add(hypothesis, reference, frames[i])
            errors = count_errors(reference, hypothesis)
            counts["label_errors"] += errors.total
            counts["labels"] += errors.length
            if units.kind != "phones":
                errors = count_errors(units.words(reference), units.words(hypothesis))
                counts["word_errors"] += errors.total
                counts["words"] += errors.length
        return counts

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Loss in bits a label (or an utterance), `uer` and `wer` in percent."""
        keys = {key for log in logging_outputs for key in log}
        total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in keys}
        size = total.get("sample_size") or 1
        log_mean("loss", total.get("loss", 0) / size / math.log(2), size)
        metrics.log_scalar("ntokens", total.get("ntokens", 0))
        metrics.log_scalar("nsentences", total.get("nsentences", 0))
        for name, unit in (("uer", "label"), ("wer", "word")):
            if total.get(f"{unit}s"):
                errors, length = f"_{unit}_errors", f"_{unit}s"
                metrics.log_scalar_sum(errors, total[f"{unit}_errors"])
                metrics.log_scalar_sum(length, total[f"{unit}s"])
                log_rounded(name, _rate(errors, length), digits=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _rate(errors: str, length: str) -> Any:
    return lambda meters: 100 * torch.as_tensor(meters[errors].sum) / max(1, meters[length].sum)
