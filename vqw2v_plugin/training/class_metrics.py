"""states ──head──▶ class: what a training's log says of the answers.

Shapes: B batch, N classes. Counts are summed over batches and ranks before anything is derived from them.
"""

import math
from typing import Any, Dict, List

import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from torch import Tensor

from .metrics import log_mean, log_rounded

CONFUSION = "_confusion"  # fairseq prints no meter whose name begins so
_MOST_CLASSES = 200  # of which a table [N, N] is summed
_CORRECT, _OF = "_class_correct", "_class_of"


def class_logs(logits: Tensor, classes: Tensor, table: bool) -> Dict[str, Any]:
    """What the criterion adds to its logging output, of scores [B, N] and true classes [B]."""
    size = logits.size(1)
    answered = logits.detach().argmax(1)
    logs: Dict[str, Any] = {
        "class_of": F.one_hot(classes, size).sum(0),
        "class_correct": F.one_hot(classes[answered == classes], size).sum(0),
    }
    if table and size <= _MOST_CLASSES:
        pairs = classes * size + answered
        logs["confusion"] = torch.bincount(pairs, minlength=size * size).view(size, size)
    return logs


def log_classes(logging_outputs: List[Dict[str, Any]]) -> None:
    """Loss in bits an utterance, accuracy and unweighted average recall."""
    keys = {key for log in logging_outputs for key in log}
    total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in keys}
    size = total.get("sample_size") or 1
    log_mean("loss", total.get("loss", 0) / size / math.log(2), size)
    for name in ("ntokens", "nsentences"):
        metrics.log_scalar(name, total.get(name, 0))
    if "class_of" in total:
        metrics.log_scalar_sum(_OF, total["class_of"])
        metrics.log_scalar_sum(_CORRECT, total["class_correct"])
        log_rounded("accuracy", _accuracy, digits=4)
        log_rounded("uar", _uar, digits=4)
    if "confusion" in total:
        metrics.log_scalar_sum(CONFUSION, total["confusion"])


def _accuracy(meters: Any) -> Tensor:
    return torch.as_tensor(meters[_CORRECT].sum).sum() / torch.as_tensor(meters[_OF].sum).sum().clamp_min(1)


def _uar(meters: Any) -> Tensor:
    """The mean over classes that utterances are of."""
    correct, of = (torch.as_tensor(meters[name].sum).double() for name in (_CORRECT, _OF))
    there = of > 0
    return (correct / of.clamp_min(1)).sum() / there.sum().clamp_min(1)
