from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.kernels import conv
from vqw2v_plugin.modules.kernels.conv import causal_conv, strided_conv


@pytest.fixture(params=[0, 2, 4, 16])
def roots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of roots that every convolution uses, if its taps allow it; 0: the library's convolution."""
    monkeypatch.setattr(
        conv, "best_roots", lambda taps, rows: request.param if request.param + 3 > taps else 0
    )
    return int(request.param)


def same_with_gradients(
    found: Callable[..., Tensor], expected: Callable[..., Tensor], *inputs: Tensor
) -> None:
    inputs = tuple(each.requires_grad_() for each in inputs)
    y, reference = found(*inputs), expected(*inputs)
    torch.testing.assert_close(y, reference)
    grad = torch.randn_like(reference)
    for a, b in zip(
        torch.autograd.grad(y, inputs, grad), torch.autograd.grad(reference, inputs, grad), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("replicate", [True, False])
@pytest.mark.parametrize(
    ("batch", "frames", "taps"), [(3, 40, 5), (2, 30, 13), (1, 7, 2), (2, 9, 1), (2, 1, 4)]
)
def test_causal_convolution_is_torch_s_over_a_padded_past(
    roots: int, batch: int, frames: int, taps: int, replicate: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, frames, 16, dtype=torch.float64)
    weight, bias = torch.randn(8, 16, taps, dtype=torch.float64), torch.randn(8, dtype=torch.float64)

    def expected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (taps - 1, 0), mode="replicate" if replicate else "constant")
        return F.conv1d(padded, weight, bias).transpose(1, 2)

    same_with_gradients(lambda x, w, b: causal_conv(x, w, b, replicate), expected, x, weight, bias)


@pytest.mark.parametrize(
    ("samples", "taps", "stride"), [(103, 8, 4), (60, 4, 2), (61, 10, 5), (50, 3, 2), (9, 9, 4), (20, 1, 1)]
)
def test_strided_convolution_is_torch_s(roots: int, samples: int, taps: int, stride: int) -> None:
    torch.manual_seed(0)
    x, weight = (torch.randn(*s, dtype=torch.float64) for s in ((2, samples, 16), (8, 16, taps)))
    same_with_gradients(
        lambda x, w: strided_conv(x, w, stride),
        lambda x, w: F.conv1d(x.transpose(1, 2), w, stride=stride).transpose(1, 2),
        *(x, weight),
    )


def test_filters_transformed_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = ((2, 20, 16), (130, 16, 3), (130,))
    x, weight, bias = (torch.randn(*size, dtype=torch.float64) for size in sizes)
    monkeypatch.setattr(conv, "best_roots", lambda taps, rows: 4)
    monkeypatch.setattr(conv, "_CACHED", 1)  # parts of 64 channels, the last of 2
    same_with_gradients(
        lambda x, w, b: causal_conv(x, w, b, False),
        lambda x, w, b: F.conv1d(F.pad(x.transpose(1, 2), (2, 0)), w, b).transpose(1, 2),
        *(x, weight, bias),
    )


def test_utterances_of_a_batch_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "best_roots", lambda taps, rows: 8)
    torch.manual_seed(0)
    x, weight = torch.randn(3, 25, 16, requires_grad=True), torch.randn(8, 16, 6)
    causal_conv(x, weight, None, True)[1].sum().backward()
    assert x.grad is not None and x.grad[1].abs().min() > 0
    assert x.grad[[0, 2]].abs().max() == 0


def test_bf16_counts_products_only_where_they_are_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.zeros(1, 4, 16), torch.zeros(8, 16, 2)
    for units in (True, False):
        monkeypatch.setattr(conv, "has_matrix_units", lambda units=units: units)
        assert conv.pays(x, weight) and conv.pays(x.bfloat16(), weight) is not units
    assert not conv.pays(x.to("meta"), weight)
