"""Two optimizers in one: a step of either, rates that move together, states that come back."""

from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.optim.adam import Adam
from fairseq.optim.composite import FairseqCompositeOptimizer
from omegaconf import OmegaConf

from vqw2v_plugin.training.two_adams import TwoAdams, TwoAdamsConfig, forget_steps


def made(**given: Any) -> tuple[TwoAdams, list[torch.nn.Parameter]]:
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(3)) for _ in range(3)]
    for p, group in zip(params, ("generator", "generator", "discriminator"), strict=True):
        p.param_group = group  # type: ignore[attr-defined]
    cfg = OmegaConf.structured(TwoAdamsConfig(**{"lr": [0.1], "discriminator_lr": 0.3, **given}))
    return TwoAdams(cfg, params), params


def grads(params: list[torch.nn.Parameter], seed: int) -> None:
    torch.manual_seed(seed)
    for p in params:
        p.grad = torch.randn(3)


def test_only_the_group_that_is_asked_for_steps_as_its_own_adam_would() -> None:
    two, params = made(discriminator_weight_decay=0.1)
    before = [p.detach().clone() for p in params]
    alone = torch.nn.Parameter(before[2].clone())
    adam = Adam([alone], 0.3, (0.5, 0.98), 1e-6, 0.1)
    for seed in (1, 2):
        grads(params, seed)
        alone.grad = params[2].grad
        two.step(groups={"discriminator"})
        adam.step()
    assert all(torch.equal(p, was) for p, was in zip(params[:2], before[:2], strict=True))
    assert torch.equal(params[2], alone) and not torch.equal(params[2], before[2])
    two.step(groups={"generator"})
    assert not torch.equal(params[0], before[0]) and torch.equal(params[2], alone)


def test_a_schedule_moves_both_rates_alike() -> None:
    two, _ = made()
    two.set_lr(0.05)
    assert two.get_lr() == 0.05 and [group["lr"] for group in two.param_groups] == pytest.approx([0.05, 0.15])


def test_states_come_back_and_options_rule() -> None:
    one, params = made()
    grads(params, 1)
    one.step()
    other, _ = made(discriminator_lr=0.6)
    other.load_state_dict(one.state_dict())
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.6]
    states = [next(iter(each.adams["discriminator"].state.values())) for each in (one, other)]
    assert torch.equal(states[0]["exp_avg"], states[1]["exp_avg"])
    forget_steps(other, "discriminator")
    assert not other.adams["discriminator"].state and other.adams["generator"].state
    with pytest.raises(ValueError, match="has no state of the discriminator"):
        other.load_state_dict({"generator": {}})
    with pytest.raises(ValueError, match="`optimizer` has no group discriminator"):
        forget_steps(object(), "discriminator")


def test_rates_betas_epsilon_and_decays_are_the_options_after_a_checkpoint_is_loaded() -> None:
    before, params = made(weight_decay=0.2)
    grads(params, 1)
    before.step()
    given = {"lr": [0.4], "discriminator_lr": 0.6, "adam_betas": (0.7, 0.9), "adam_eps": 1e-3}
    after, _ = made(**given, weight_decay=0.03, discriminator_weight_decay=0.05)
    after.load_state_dict(before.state_dict())
    found = [
        (group["lr"], group["betas"], group["eps"], group["weight_decay"]) for group in after.param_groups
    ]
    assert found == [(0.4, (0.7, 0.9), 1e-3, 0.03), (0.6, (0.7, 0.9), 1e-3, 0.05)]
    after.set_lr(0.2)
    assert [group["lr"] for group in after.param_groups] == pytest.approx([0.2, 0.3])


def test_fairseq_s_composite_steps_and_forgets_by_group_too() -> None:
    part = {
        "optimizer": {"_name": "adam", "adam_betas": "(0.5,0.98)", "lr": [0.1], "tpu": False},
        "lr_scheduler": {"_name": "fixed", "warmup_updates": 0},
    }
    cfg = OmegaConf.create({"groups": {"generator": part, "discriminator": part}, "dynamic_groups": False})
    _, params = made()
    before = [p.detach().clone() for p in params]
    both = FairseqCompositeOptimizer(cfg, params)
    grads(params, 1)
    both.step(groups={"discriminator"})
    assert [torch.equal(p, was) for p, was in zip(params, before, strict=True)] == [True, True, False]
    assert both.optimizers["discriminator"].optimizer.state
    forget_steps(both, "discriminator")
    assert not both.optimizers["discriminator"].optimizer.state


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": [0.0]}, "`lr` is 0.0; expected more than 0"),
        ({"discriminator_lr": -1.0}, "`discriminator_lr` is -1.0"),
        ({"adam_betas": "(0.5, 2)"}, r"`adam_betas` is '\(0.5, 2\)'; expected two numbers"),
        ({"adam_betas": "print(1)"}, "expected two numbers"),
    ],
)
def test_settings_are_checked_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(**given)


def test_parameters_of_neither_are_refused() -> None:
    with pytest.raises(ValueError, match="leave out fp16, bf16 and amp"):
        TwoAdams(OmegaConf.structured(TwoAdamsConfig(lr=[0.1])), [torch.nn.Parameter(torch.zeros(1))])


def test_the_usual_rates_and_decays_are_the_paper_s_and_each_its_own() -> None:
    given = {"lr": [0.1], "weight_decay": 0.2, "discriminator_weight_decay": 0.3}
    for own in ({}, given):
        _, params = made()
        cfg = OmegaConf.structured(TwoAdamsConfig(**{"lr": [4e-4], **own}))  # type: ignore[arg-type]
        groups = list(TwoAdams(cfg, params).param_groups)
        decays = [0.2, 0.3] if own else [0.0, 1e-4]
        assert [group["lr"] for group in groups] == [0.1 if own else 4e-4, 5e-4]
        assert [group["weight_decay"] for group in groups] == decays
        assert all(group["betas"] == (0.5, 0.98) and group["eps"] == 1e-6 for group in groups)
        assert [len(group["params"]) for group in groups] == [2, 1]


@pytest.mark.parametrize("betas", ["(1, 0.5)", "(-0.1, 0.5)", "(0.5,)", "[0.5, 1.0]"])
def test_betas_are_two_shares_below_1(betas: str) -> None:
    with pytest.raises(ValueError, match="expected two numbers in"):
        made(adam_betas=betas)
    assert made(adam_betas="[0, 0.9]")[0].adams["generator"].param_groups[0]["betas"] == (0.0, 0.9)
