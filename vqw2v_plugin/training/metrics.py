"""tokens: what a training's log says of the codebook, over each log interval and over each epoch.

Shapes: G groups, V codes a group. Counts are summed over batches and ranks before anything is derived from
them, and stay on their device: nothing here waits for it, only what prints does.
"""

import math
from typing import Any, Callable, Dict, List

import torch
from fairseq.logging import metrics
from torch import Tensor

from ..modules.quantizers.base import Quantized, count_perplexity
from ..modules.quantizers.health import joint_counts

_CODES, _JOINT = "_code_counts", "_joint_counts"  # fairseq prints no meter whose name begins so


def code_logs(quantized: Quantized) -> Dict[str, Any]:
    """What a criterion adds to its logging output; every value may be summed."""
    stats = quantized.stats
    if not stats.counts.numel():  # a model without codes
        return {}
    logs: Dict[str, Any] = {
        "code_counts": stats.counts,
        "joint_counts": joint_counts(quantized.codes, stats.counts.size(1)),
    }
    if stats.prob_perplexity is not None:
        logs["prob_perplexity"] = stats.prob_perplexity.mean()
    if stats.temperature is not None:
        logs["temp"] = stats.temperature
    return logs


def log_contrastive(logging_outputs: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The columns of whatever learns by telling frames apart, losses in bits; what was summed for them."""
    keys = sorted({key for log in logging_outputs for key in log})
    total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in keys}
    size = total.get("sample_size") or 1
    for name in (key for key in keys if key.startswith("loss")):
        log_mean(name, total[name] / size / math.log(2), size)
    log_mean("accuracy", total.get("correct", 0) / size, size, digits=4)
    log_codes(total)
    metrics.log_scalar("ntokens", total.get("ntokens", 0))
    metrics.log_scalar("nsentences", total.get("nsentences", 0))
    return total


def log_codes(total: Dict[str, Any]) -> None:
    """Turns the summed logging output into the log's columns."""
    if "code_counts" not in total:
        return
    metrics.log_scalar_sum(_CODES, total["code_counts"])
    metrics.log_scalar_sum(_JOINT, total["joint_counts"])
    for name, derive in _COLUMNS.items():
        log_rounded(name, derive)
    if "prob_perplexity" in total:
        log_mean("prob_perplexity", total["prob_perplexity"] / total["batches"])
    if "temp" in total:
        metrics.log_scalar("temp", total["temp"] / total["batches"], round=3)


def _counts(meters: Any, name: str = _CODES) -> Tensor:  # [G, V], or [V] of the joint codes
    counts: Tensor = meters[name].sum
    return counts


def _perplexity(meters: Any) -> Tensor:  # [G]
    return count_perplexity(_counts(meters))


def _share(meters: Any) -> Tensor:  # [G]
    return _perplexity(meters) / _counts(meters).size(1)


def _joint_share(meters: Any) -> Tensor:
    """Of what so many frames could show at most."""
    counts = _counts(meters, _JOINT)
    return count_perplexity(counts[None])[0] / counts.sum().clamp(1, counts.numel())


def _unused(meters: Any) -> Tensor:
    return (_counts(meters) == 0).sum()


def _used(meters: Any) -> Tensor:
    return (_counts(meters) > 0).double().mean()


_COLUMNS = {
    "code_perplexity": lambda meters: _perplexity(meters).mean(),
    "group_share": _share,
    "joint_share": _joint_share,
    "codes_used": _used,
    "dead_codes": _unused,
}


def log_mean(name: str, value: Any, weight: Any = 1, digits: int = 3) -> None:
    """As `metrics.log_scalar`; the meter itself has an underscore before its name, so it is not printed."""
    metrics.log_scalar(f"_{name}", value, weight)

    def mean(meters: Any) -> Tensor:
        found = meters[f"_{name}"].avg
        return torch.as_tensor(math.nan if found is None else found)  # of no update since the last line

    log_rounded(name, mean, digits)


def log_rounded(name: str, derive: Callable[[Any], Tensor], digits: int = 3) -> None:
    """As `metrics.log_derived`, of tensors."""
    metrics.log_derived(name, lambda meters: torch.round(derive(meters).double(), decimals=digits))
