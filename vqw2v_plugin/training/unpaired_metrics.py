"""features ──generator──▶ phones: what a log says of the two that learn, and of what is recognised.

Counts are summed over batches and ranks before anything is derived from them. Shapes: V columns.
"""

import math
from typing import Any, Callable, Dict, List, Mapping, Sequence

import torch
from fairseq.logging import metrics
from torch import Tensor

from ..decoding.scoring import count_errors
from ..modules.unpaired.network import Step
from ..text.units import UNSPOKEN, Units
from .metrics import log_mean, log_rounded

SEEN = "seen"  # how often each phone was recognised
_FIGURES = ("accuracy_dense", "accuracy_token", "code_ppl", "prob_ppl")


def step_logs(step: Step, size: int, frames: int) -> Dict[str, Any]:
    """Of one of the two; every value may be summed."""
    logs: Dict[str, Any] = {"loss": step.loss.detach(), "sample_size": size, "nsentences": size}
    logs |= {"ntokens": frames, "batches": 1}
    logs |= {f"loss_{name}": term.detach() for name, term in step.terms.items() if name != "idle"}
    return {**logs, **{name: value.detach() for name, value in step.figures.items()}}


def recognised_logs(
    said: Sequence[Sequence[str]],
    score: Callable[[Sequence[str]], float],
    units: Units,
    true: Sequence[Sequence[str] | None] | None,
) -> Dict[str, Any]:
    """Of the phones of a batch's utterances, without silence; `true`: where it is measured, those known."""
    index = {symbol: column for column, symbol in enumerate(units.symbols)}
    seen = torch.zeros(len(units), dtype=torch.float64)
    for line in said:
        for phone in line:
            seen[index[phone]] += 1
    phones = sum(map(len, said))
    total = -math.fsum(map(score, said))
    logs: Dict[str, Any] = {
        "loss": total * math.log2(10),
        "sample_size": phones + len(said),
        "nsentences": len(said),
        "ntokens": phones,
        "lm_cost": total,  # −log10 P
        SEEN: seen,
    }
    if true is not None:
        pairs = [(t, line) for t, line in zip(true, said, strict=True) if t is not None]
        errors = [count_errors(reference, line) for reference, line in pairs]
        logs |= {"phone_errors": sum(e.total for e in errors), "phones": sum(e.length for e in errors)}
    return logs


def reduce_logs(logging_outputs: List[Dict[str, Any]]) -> None:
    """The columns of either kind."""
    keys = sorted({key for log in logging_outputs for key in log})
    total = {key: sum(log.get(key, 0) for log in logging_outputs) for key in keys}
    size = total.get("sample_size") or 1
    for name in (key for key in keys if key.startswith("loss")):
        log_mean(name, total[name] / size, size)
    for name in (key for key in _FIGURES if key in total):
        log_mean(name, total[name] / total["batches"])
    metrics.log_scalar("ntokens", total.get("ntokens", 0))
    metrics.log_scalar("nsentences", total.get("nsentences", 0))


def log_recognised(logging_outputs: Sequence[Mapping[str, Any]], units: Units, power: float) -> None:
    """`weighted_lm_ppl`: perplexity of what is recognised, by the share of phones that are in use."""
    logs = [log for log in logging_outputs if SEEN in log]
    if not logs:
        return
    for name in (SEEN, "lm_cost", "ntokens", "nsentences", "phone_errors", "phones"):
        if any(name in log for log in logs):
            metrics.log_scalar_sum(f"_{name}_", sum(log.get(name, 0) for log in logs))
    spoken = torch.tensor([symbol not in UNSPOKEN for symbol in units.symbols])

    def share(meters: Any) -> Tensor:
        counts: Tensor = meters[f"_{SEEN}_"].sum
        return (counts[spoken] > 0).double().mean()

    def perplexity(meters: Any) -> Tensor:
        cost, phones, lines = (meters[f"_{name}_"].sum for name in ("lm_cost", "ntokens", "nsentences"))
        return torch.pow(10.0, torch.as_tensor(cost, dtype=torch.float64) / max(1, int(phones + lines)))

    def weighted(meters: Any) -> Tensor:
        used = share(meters)
        return perplexity(meters) / used.pow(power) if used > 0 else torch.tensor(math.inf)

    def length(meters: Any) -> Tensor:
        return torch.tensor(float(meters["_ntokens_"].sum) / max(1, int(meters["_nsentences_"].sum)))

    def error(meters: Any) -> Tensor:
        return torch.tensor(100 * float(meters["_phone_errors_"].sum) / max(1, int(meters["_phones_"].sum)))

    for name, derive, digits in (
        ("weighted_lm_ppl", weighted, 4),
        ("lm_ppl", perplexity, 3),
        ("vocab_seen_pct", share, 3),
        ("phones_an_utterance", length, 2),
    ):
        log_rounded(name, derive, digits)
    if any("phones" in log for log in logs):
        log_rounded("uer", error, 2)
