"""What every task does around an update: whoever keeps sums of it hears how it ended, and when."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.training.task import TrainingTask

OVERFLOW = "overflow"


class Model:
    """Says what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def train(self) -> None:
        pass

    def set_num_updates(self, number: int) -> None:
        self.told.append(number)

    def discard_update(self) -> None:
        self.told.append("discard")


def optimizer(kind: type, *norms: float | str) -> Any:
    """Of a kind, with such norms of its gradients, one an update."""
    left, made = list(norms), object.__new__(kind)

    def clip_grad_norm(max_norm: float, aggregate_norm_fn: object = None) -> torch.Tensor:
        norm = left.pop(0)
        if norm == OVERFLOW:
            raise OverflowError("setting loss scale to: 64.0")
        return torch.tensor(norm)

    made.__dict__.update(clip_grad_norm=clip_grad_norm, steps=0, backward=lambda loss: None)
    made.__dict__.update(step=lambda: vars(made).update(steps=made.steps + 1), zero_grad=lambda: None)
    return made


def update(task: TrainingTask, model: Model, optimizer: Any, number: int) -> None:
    """As fairseq's trainer makes one, up to an overflow."""

    def criterion(model: Model, sample: dict[str, Any]) -> tuple[torch.Tensor, int, dict[str, Any]]:
        model.told.append("batch")
        return torch.tensor(1.0), 1, {}

    task.train_step({"id": [0]}, model, criterion, optimizer, number)
    try:
        optimizer.clip_grad_norm(0.0)
    except OverflowError:
        return
    task.optimizer_step(optimizer, model, number)


class Plain:
    pass


@pytest.fixture
def task() -> TrainingTask:
    return TrainingTask(SimpleNamespace(max_skipped_updates=3))  # type: ignore[arg-type]


def test_a_model_hears_of_an_update_s_end_with_that_update(task: TrainingTask) -> None:
    """Before the checkpoint is written, and not with the first batch of the next one."""
    model, plain = Model(), optimizer(Plain, 1.0, 1.0)
    update(task, model, plain, 0)
    update(task, model, plain, 1)
    assert model.told == [0, "batch", 1, 1, "batch", 2] and plain.steps == 2


def test_a_skipped_update_is_discarded_before_it_ends(task: TrainingTask) -> None:
    model, plain = Model(), optimizer(Plain, math.nan, 1.0)
    update(task, model, plain, 0)
    update(task, model, plain, 1)
    assert model.told == [0, "batch", "discard", 1, 1, "batch", 2] and plain.steps == 1


def test_an_update_that_overflows_in_fp16_is_discarded_and_not_counted(task: TrainingTask) -> None:
    model, scaled = Model(), optimizer(FP16Optimizer, OVERFLOW, 1.0)
    update(task, model, scaled, 0)
    update(task, model, scaled, 0)
    assert model.told == [0, "batch", "discard", 0, "batch", 1] and scaled.steps == 1


def test_an_update_that_overflows_under_amp_is_discarded_and_not_counted(task: TrainingTask) -> None:
    """Its scaler is asked for the step all the same, so that it lowers the scale."""
    model, scaled = Model(), optimizer(AMPOptimizer, math.inf, 1.0)
    update(task, model, scaled, 0)
    update(task, model, scaled, 0)
    assert model.told == [0, "batch", "discard", 0, "batch", 1] and scaled.steps == 2


def test_a_model_that_keeps_nothing_of_an_update_needs_no_method_for_it(task: TrainingTask) -> None:
    told: list[int] = []
    bare = SimpleNamespace(train=lambda: None, set_num_updates=told.append, told=[])
    update(task, bare, optimizer(Plain, math.nan), 0)  # type: ignore[arg-type]
    assert told == [0, 1]
