"""Centred weights: they begin deaf to what their inputs have in common, and an optimizer keeps them so."""

import torch
from torch import nn

from vqw2v_plugin.modules.layers.centred import centre, centre_layers


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(1, 6, 3), nn.Conv1d(6, 4, 2), nn.Linear(9, 5))


def test_a_common_shift_of_the_inputs_changes_nothing() -> None:
    layers = net()
    centre_layers(layers)
    x, flat = torch.randn(2, 6, 10), torch.randn(2, 9)
    assert torch.allclose(layers[1](x), layers[1](x + 3), atol=1e-5)
    assert torch.allclose(layers[2](flat), layers[2](flat - 7), atol=1e-5)


def test_what_varies_between_inputs_is_still_heard() -> None:
    layers = net()
    centre_layers(layers)
    x = torch.zeros(1, 6, 10)
    x[:, 0] = 1
    assert (layers[1](x) - layers[1](0 * x)).abs().max() > 0.05


def test_a_single_input_is_left_alone() -> None:
    layers = net()
    before = layers[0].weight.clone()
    centre_layers(layers)
    assert torch.equal(layers[0].weight, before)


def test_gradients_sum_to_zero_over_the_inputs() -> None:
    layers = net()
    centre_layers(layers)
    layers[1](torch.rand(2, 6, 10)).square().sum().backward()
    assert layers[1].weight.grad is not None
    assert layers[1].weight.grad.abs().max() > 0.1
    assert layers[1].weight.grad.sum(1).abs().max() < 1e-4


def test_sgd_never_leaves_the_centred_weights() -> None:
    layers = net()
    centre_layers(layers)
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        layers[1](torch.rand(2, 6, 10)).square().mean().backward()
        optimizer.step()
    assert layers[1].weight.sum(1).abs().max() < 1e-5


def test_any_dimension_may_hold_the_inputs() -> None:
    weight = nn.Parameter(torch.rand(3, 4, 5))
    centre(weight, 2)
    (weight * torch.rand(3, 4, 5)).sum().backward()
    assert weight.grad is not None
    assert weight.sum(2).abs().max() < 1e-5 and weight.grad.sum(2).abs().max() < 1e-5


def test_whoever_has_centred_a_gradient_says_so_for_that_one_alone() -> None:
    weight = nn.Parameter(torch.rand(3, 4))
    centre(weight, 1)
    weight.centring.done = True  # type: ignore[attr-defined]
    for wanted in (torch.ones(3, 4), torch.zeros(3, 4)):
        (grad,) = torch.autograd.grad(weight.sum(), weight)
        assert torch.equal(grad, wanted)
