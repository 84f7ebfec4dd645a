"""How much a GPU is asked for in a pretraining step: calls of operators, and waits, whatever the batch."""

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from launches import Launches, count_by_part, on_a_gpu
from small_trainers import deep_trainer

# with the 33 M model's layers; before, in bf16: 1,632 and 1,749 calls, and 3 waits
MOST = {("gumbel", True): 250, ("kmeans", True): 310, ("gumbel", False): 245}


def step(quantizer: str, bf16: bool, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> list[Launches]:
    """Steps one after the other, each counted for itself; the first makes what stays."""
    trainer = deep_trainer(quantizer, bf16)
    trainer._model.to("meta")
    trainer.device = torch.device("meta")
    trainer.begin_epoch(1)
    counted: list[Launches] | None = None
    for size in batches:
        with on_a_gpu(monkeypatch) as launches, monkeypatch.context() as patched:
            if counted is not None:
                count_by_part(launches, trainer, patched)
            source = torch.empty(size, 15_000, device="meta", dtype=torch.bfloat16 if bf16 else torch.float32)
            with launches, metrics.aggregate("train"):
                trainer.train_step([{"id": torch.arange(size), "net_input": {"source": source}}])
            counted = [] if counted is None else [*counted, launches]
    return counted or []


@pytest.mark.parametrize(("quantizer", "bf16"), MOST)
def test_a_step_makes_few_calls_and_waits_once(
    quantizer: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = step(quantizer, bf16, [2, 2], monkeypatch)[0]
    parts = {part: sum(calls.values()) for part, calls in launches.calls.items()}
    assert launches.total <= MOST[quantizer, bf16], parts
    assert len(launches.waits) <= 1, launches.waits


def test_a_larger_batch_makes_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = step("gumbel", True, [2, 2, 9, 9], monkeypatch)[::2]
    assert many.calls == few.calls
