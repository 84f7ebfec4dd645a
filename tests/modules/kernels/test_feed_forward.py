"""The feed-forward block that training on a CPU has is the plain one."""

from typing import Any

import pytest
import torch

from vqw2v_plugin.modules.kernels import feed_forward
from vqw2v_plugin.modules.layers import transformer
from vqw2v_plugin.modules.layers.transformer import TransformerLayer


def layer(activation: str, **settings: Any) -> TransformerLayer:
    torch.manual_seed(0)
    return TransformerLayer(16, 2, 40, activation=activation, **settings).double().train()


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_results_and_gradients_are_those_of_the_plain_layers(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, found = layer(activation), []
    for takes in (True, False):
        monkeypatch.setattr(transformer, "takes_over", lambda module, x, takes=takes: takes)
        x = torch.linspace(-1, 1, 13 * 16, dtype=torch.float64).view(13, 16).requires_grad_()
        y = made(x, [6, 7])
        found.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), [x, *made.parameters()])])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_the_gradient_sees_the_same_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(5, 16, dtype=torch.float64, requires_grad=True)
    fc1, fc2 = layer("gelu").fc1, layer("gelu").fc2

    def drawn(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return feed_forward.feed_forward(x, fc1, fc2, False, 0.5)

    assert torch.autograd.gradcheck(drawn, (x,))
    assert not torch.equal(drawn(x), feed_forward.feed_forward(x, fc1, fc2, False, 0.5))


def test_a_share_is_dropped_and_the_rest_is_larger() -> None:
    inner, mask = feed_forward._inner(torch.ones(100, 400), True, 0.25, 7)
    assert mask is not None and torch.equal(inner, mask)
    assert inner.unique().tolist() == [0, pytest.approx(4 / 3)] and abs(inner.mean() - 1) < 0.02


def test_nothing_as_wide_is_kept_but_what_the_activation_is_given() -> None:
    made, kept = layer("gelu", activation_dropout=0.1, dropout=0.1), list[torch.Size]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        made(torch.randn(13, 16, dtype=torch.float64), [6, 7])
    assert kept.count(torch.Size([13, 40])) == 1


def test_without_dropout_nothing_is_drawn() -> None:
    made, x = layer("gelu"), torch.ones(9, 16, dtype=torch.float64)
    before = torch.random.get_rng_state()
    made(x, [4, 5])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("name", ["dropout", "activation_dropout"])
def test_either_way_drops_inside_and_behind(name: str, takes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "takes_over", lambda module, x: takes and module.training)
    made, x = layer("gelu", **{name: 0.5}), torch.ones(9, 16, dtype=torch.float64)
    for training in (True, False):
        made.train(training)
        assert torch.equal(made._feed_forward(x), made._feed_forward(x)) != training
