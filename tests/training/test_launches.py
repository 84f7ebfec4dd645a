"""How much a GPU is asked for in a pretraining step: calls of operators, and waits, whatever the batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from launches import Launches, count_by_part, on_a_gpu
from small_trainers import deep_bert_trainer, deep_trainer

# with the 33 M model's layers; before, in bf16: 1,632 and 1,749 calls, and 3 waits
MOST = {("gumbel", True): 250, ("kmeans", True): 310, ("gumbel", False): 245}
MOST_OF_BERT = {True: 460, False: 480}  # with BERT base's twelve layers

Sample = dict[str, Any]


def steps(
    trainer: Trainer, sample: Callable[[int], Sample], batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[Launches]:
    """One after the other, each counted for itself; the first makes what stays."""
    trainer._model.to("meta")
    trainer.device = torch.device("meta")
    trainer.begin_epoch(1)
    counted: list[Launches] | None = None
    for size in batches:
        with on_a_gpu(monkeypatch) as launches, monkeypatch.context() as patched:
            if counted is not None:
                count_by_part(launches, trainer, patched)
            with launches, metrics.aggregate("train"):
                trainer.train_step([sample(size)])
            counted = [] if counted is None else [*counted, launches]
    return counted or []


def check(launches: Launches, most: int) -> None:
    parts = {part: sum(calls.values()) for part, calls in launches.calls.items()}
    assert launches.total <= most, (launches.total, parts)
    assert len(launches.waits) <= 1, launches.waits


def vq_wav2vec(
    quantizer: str, bf16: bool, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[Launches]:
    dtype = torch.bfloat16 if bf16 else torch.float32

    def sample(size: int) -> Sample:
        source = torch.empty(size, 15_000, device="meta", dtype=dtype)
        return {"id": torch.arange(size), "net_input": {"source": source}}

    return steps(deep_trainer(quantizer, bf16), sample, batches, monkeypatch)


@pytest.mark.parametrize(("quantizer", "bf16"), MOST)
def test_a_step_makes_few_calls_and_waits_once(
    quantizer: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(vq_wav2vec(quantizer, bf16, [2, 2], monkeypatch)[0], MOST[quantizer, bf16])


def test_a_larger_batch_makes_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = vq_wav2vec("gumbel", True, [2, 2, 9, 9], monkeypatch)[::2]
    assert many.calls == few.calls


def tokens(size: int) -> Sample:
    """Packed, none as long as another."""
    lengths, counts = [20 + 3 * i for i in range(size)], [3] * size
    total, masked = (torch.empty(sum(n), dtype=torch.int64, device="meta") for n in (lengths, counts))
    net_input = {"tokens": total, "lengths": lengths, "masked": masked, "counts": counts}
    sizes = {"id": torch.arange(size), "ntokens": len(total), "nsentences": size}
    return {**sizes, "target": torch.empty_like(masked), "net_input": net_input}


@pytest.mark.parametrize("bf16", [True, False])
def test_a_step_of_bert_makes_few_calls_and_waits_once(
    bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = deep_bert_trainer(tmp_path, bf16)
    few, many = steps(trainer, tokens, [2, 2, 9, 9], monkeypatch)[::2]
    check(few, MOST_OF_BERT[bf16])
    assert many.calls == few.calls
