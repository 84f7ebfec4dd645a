"""An optimizer's step in few calls: fairseq's weights, norms and states, and logs that come with the norm."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.optim.adam import FairseqAdam
from fairseq.optim.fp16_optimizer import FP16Optimizer
from omegaconf import OmegaConf

from vqw2v_plugin.modules.kernels import devices
from vqw2v_plugin.training.quick_steps import QuickSteps, bring_logs, to_processor
from vqw2v_plugin.training.update_guard import UpdateGuard

ADAM = {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-3, "weight_decay": 0.1, "use_old_adam": False}
COMMON = {"bf16": True, "fp16": False, "fp16_scale_window": 2, "fp16_no_flatten_grads": True}
SCALER = {"fp16_init_scale": 4, "fp16_scale_tolerance": 0.0, "threshold_loss_scale": None}
HALF = {"bf16": False, "fp16": True, "min_loss_scale": 0.01, **SCALER}
COMMON_OF = {
    "fp16": HALF,
    "flat": {**HALF, "fp16_no_flatten_grads": False},
}  # in one tensor: fairseq's usual way
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "flat": torch.float16}
SETTINGS = {
    "common": COMMON,
    "optimization": {"update_freq": [1]},
    "optimizer": {"_name": "adam", **ADAM, "fp16_adam_stats": False, "tpu": False, "lr": [0.01]},
}


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor takes a GPU's ways."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)


def optimizer_of(params: list[torch.nn.Parameter], kind: str) -> Any:
    settings = OmegaConf.create(SETTINGS)
    settings.common.update(COMMON_OF.get(kind, {}))
    return (
        FairseqAdam(settings.optimizer, params)
        if kind == "fp32"
        else FP16Optimizer.build_optimizer(settings, params)
    )


def updates(kind: str, quick: bool, clip: float, count: int = 5) -> tuple[Any, ...]:
    """Weights, states and norms of a few updates, of two ranks that are alike; a weight without a gradient in
    some of them.
    """
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(size).to(DTYPES[kind])) for size in (3, 20, 7)]
    optimizer, norms = optimizer_of(params, kind), []
    steps = QuickSteps()
    for number in range(count):
        if quick:
            steps.take_over(optimizer)
        optimizer.zero_grad()
        used = params if number % 2 else params[:2]
        growth = (2 if kind in COMMON_OF else 10) ** number
        optimizer.backward(sum((p.float() ** 3).sum() for p in used) * growth)
        optimizer.multiply_grads(0.5)
        norms.append(optimizer.clip_grad_norm(clip, aggregate_norm_fn=lambda norm: norm * 2**0.5))
        optimizer.set_lr(0.01 / (number + 1))
        optimizer.step()
    return params, optimizer.state_dict(), torch.stack(norms)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("clip", [0.0, 2.0])
def test_steps_are_fairseq_s(kind: str, clip: float, everywhere: None) -> None:
    plain, found = updates(kind, False, clip), updates(kind, True, clip)
    rtol = {"fp32": 2e-6, "bf16": 1e-2}.get(kind, 1e-3)
    torch.testing.assert_close(found, plain, rtol=rtol, atol=1e-7)


def test_a_state_goes_from_one_to_the_other(everywhere: None) -> None:
    state = updates("fp32", False, 0.0)[1]
    assert updates("fp32", True, 0.0)[1].keys() == state.keys()
    optimizer = optimizer_of([torch.nn.Parameter(torch.ones(size)) for size in (3, 20, 7)], "fp32")
    optimizer.load_state_dict(state)
    QuickSteps().take_over(optimizer)
    sum(p.sum() for p in optimizer.params).backward()
    optimizer.step()
    assert optimizer.state_dict()["state"][0]["step"] == 6


def test_a_processor_keeps_fairseq_s_own() -> None:
    optimizer = optimizer_of([torch.nn.Parameter(torch.ones(3))], "bf16")
    QuickSteps().take_over(optimizer)
    assert not {"_sync_fp16_grads_to_fp32", "zero_grad", "step"} & (
        vars(optimizer).keys() | vars(optimizer.optimizer)
    )


def test_logs_are_held_only_where_an_optimizer_asks_for_its_norm(everywhere: None) -> None:
    steps, logs = QuickSteps(), {"loss": torch.tensor(1.0)}
    assert not steps.hold(logs)
    steps.take_over(optimizer_of([torch.nn.Parameter(torch.ones(3))], "fp32"))
    assert steps.hold(logs) and not steps.hold({"size": 3})
    steps.take_over(SimpleNamespace(clip_grad_norm=None))  # another kind, such as two Adams
    assert not steps.hold(logs)


def test_tensors_of_all_types_come_as_they_are() -> None:
    tensors = [torch.tensor(2**40 + 1), torch.randn(3, 2), torch.tensor(True), torch.randn(5).bfloat16()]
    tensors += [torch.zeros(0, 4), torch.randn(4, 2).T, torch.tensor(float("nan"), dtype=torch.float64)]
    found = to_processor(tensors)
    assert [x.dtype for x in found] == [x.dtype for x in tensors]
    torch.testing.assert_close(found, tensors, rtol=0, atol=0, equal_nan=True)
    assert to_processor([]) == []


def test_logs_come_with_the_norm_and_are_finite(everywhere: None) -> None:
    guard, params = UpdateGuard(3), [torch.nn.Parameter(torch.ones(2))]
    optimizer = optimizer_of(params, "fp32")
    guard.watch(optimizer)
    given = {"loss": torch.tensor(float("nan")), "correct": torch.tensor(7), "size": 3, "none": None}
    logs = guard.note(["a"], torch.tensor(1.0), given)
    assert logs["loss"].isnan() and given["loss"] is logs["loss"]
    params[0].grad = torch.tensor([3.0, 4.0])
    assert float(optimizer.clip_grad_norm(0.0)) == 5.0
    assert logs == {"loss": torch.tensor(0.0), "correct": torch.tensor(7), "size": 3, "none": None}
    assert given["loss"].isnan() and bring_logs([given])[0]["loss"] == 0
