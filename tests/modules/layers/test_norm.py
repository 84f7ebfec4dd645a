import pytest
import torch
from torch import nn

from vqw2v_plugin.modules.kernels.norm_act import norm_act
from vqw2v_plugin.modules.layers.norm import GroupNorm32, make_activation, normalized

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_fused_norm_is_norm_activation_and_residual(
    dtype: torch.dtype, activation: str, skips: bool, affine: bool
) -> None:
    torch.manual_seed(0)
    norm, act = GroupNorm32(1, 32, affine=affine).to(dtype), make_activation(activation)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x, skip = (torch.randn(3, 20, 32, dtype=dtype, requires_grad=True) for _ in range(2))
    inputs = [x, *norm.parameters(), *([skip] if skips else [])]
    plain = act(norm(x.transpose(1, 2))).transpose(1, 2)
    expected = (plain + skip) * 0.7 if skips else plain
    found = norm_act(x, norm, act, skip if skips else None, 0.7)
    grad = torch.randn_like(expected)
    pairs = [(found, expected)]
    pairs += zip(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    )
    for a, b in pairs:
        assert a.dtype == b.dtype and a.shape == b.shape
        assert (a - b).abs().max() <= TOLERANCE[dtype] * b.abs().max()


@pytest.mark.parametrize("epsilon", [{}, {"eps": 1e-6}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_hardly_varies_is_normed_by_its_epsilon(dtype: torch.dtype, epsilon: dict[str, float]) -> None:
    x = torch.randn(2, 8, 50, dtype=dtype) * 1e-3  # a variance of 1e-6 beside an epsilon of 1e-5
    mean, spread = x.mean((1, 2), keepdim=True), x.var((1, 2), correction=0, keepdim=True)
    expected = (x - mean) / (spread + epsilon.get("eps", 1e-5)).sqrt()
    norm = GroupNorm32(1, 8, **epsilon).to(dtype)
    torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-4)
    plain = norm_act(x.transpose(1, 2), norm, nn.ReLU()).transpose(1, 2)
    torch.testing.assert_close(plain, expected.relu(), atol=1e-6, rtol=1e-4)


def test_fused_norm_keeps_one_tensor_of_the_input_s_size() -> None:
    norm, x = GroupNorm32(1, 16), torch.randn(2, 50, 16, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        norm_act(x, norm, nn.ReLU(), x.detach(), 0.5)
    assert sum(t.numel() for t in kept if t.numel() >= x.numel()) == x.numel()


def test_statistics_of_bf16_are_those_of_fp32() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4000, 8) + 30  # bf16 sums of so many would be far off
    norm = GroupNorm32(1, 8).bfloat16()
    y = norm_act(x.bfloat16(), norm, nn.ReLU())
    expected = torch.relu(nn.functional.group_norm(x.bfloat16().float().transpose(1, 2), 1)).transpose(1, 2)
    torch.testing.assert_close(y.float(), expected, atol=2e-2, rtol=1e-2)


def test_an_activation_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="`activation` is 'tanh'; expected one of relu, gelu"):
        make_activation("tanh")


def test_an_utterance_without_a_frame_is_normed_to_nothing() -> None:
    found = normalized(torch.randn(2, 4, 3), torch.tensor([4, 0]))
    assert found.isfinite().all() and not found[1].any() and found[0].any()
