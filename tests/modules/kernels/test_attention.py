"""Attention over packed utterances: torch's own result for each of them, with and without dropout."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.kernels import attention as module
from vqw2v_plugin.modules.kernels.attention import Rows, packed_attention
from vqw2v_plugin.modules.kernels.dropout import dropout, keep_mask

LENGTHS, HEADS, DIM = [5, 1, 70, 33], 4, 32


@pytest.fixture
def qkv() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(sum(LENGTHS), 3 * DIM, dtype=torch.float64, requires_grad=True)


def reference(qkv: Tensor, p: float = 0.0) -> Tensor:
    """Each utterance on its own, through torch; with the module's own dropout mask if p is given."""
    out = []
    for piece in qkv.split(LENGTHS):
        q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(0, 1) for x in piece.chunk(3, -1))  # [H, T, d]
        out.append(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))
    return torch.cat(out)


def gradient(out: Tensor, qkv: Tensor) -> Tensor:
    torch.manual_seed(1)
    return torch.autograd.grad(out, qkv, torch.randn_like(out))[0]


@pytest.mark.parametrize("chunk", [1, 300, 1 << 22])
def test_the_dropout_path_equals_torch_where_nothing_is_dropped(
    qkv: Tensor, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    out = packed_attention(qkv, LENGTHS, HEADS, dropout=1e-9)
    torch.testing.assert_close(out, reference(qkv), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(gradient(out, qkv), gradient(reference(qkv), qkv), atol=1e-7, rtol=1e-7)


def test_without_dropout_it_equals_torch(qkv: Tensor) -> None:
    out = packed_attention(qkv, LENGTHS, HEADS)
    torch.testing.assert_close(out, reference(qkv))
    torch.testing.assert_close(gradient(out, qkv), gradient(reference(qkv), qkv))


@pytest.mark.parametrize("p", [0.0, 1e-9])
@pytest.mark.parametrize("of_none", [False, True])
def test_some_rows_are_those_of_all_rows(qkv: Tensor, p: float, of_none: bool) -> None:
    index = torch.tensor([0, 2, 6, 7, 75, 80, 108])
    counts = [2, 0, 3, 2]
    if of_none:
        index, counts = index[:0], [0, 0, 0, 0]
    some = packed_attention(qkv, LENGTHS, HEADS, p, Rows(index, counts))
    everything = packed_attention(qkv, LENGTHS, HEADS, p)[index]
    torch.testing.assert_close(some, everything)
    torch.testing.assert_close(gradient(some, qkv), gradient(everything, qkv))


def test_the_gradient_is_of_the_same_dropout_as_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numerically: a mask that were drawn anew for the gradient would give another one."""
    monkeypatch.setattr(module, "_CHUNK", 50)
    qkv = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)

    def attend(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return packed_attention(x, [4, 5], 2, dropout=0.4)

    assert torch.autograd.gradcheck(attend, qkv)


def test_dropout_keeps_the_mean_and_follows_torch_s_seed(qkv: Tensor) -> None:
    torch.manual_seed(2)
    first = packed_attention(qkv, LENGTHS, HEADS, dropout=0.3)
    second = packed_attention(qkv, LENGTHS, HEADS, dropout=0.3)
    torch.manual_seed(2)
    assert torch.equal(packed_attention(qkv, LENGTHS, HEADS, dropout=0.3), first)
    assert not torch.equal(first, second)
    mean = torch.stack([packed_attention(qkv, LENGTHS, HEADS, 0.3).detach() for _ in range(800)]).mean(0)
    assert float((mean - reference(qkv).detach()).abs().mean()) < 0.02


def test_the_kernels_of_a_gpu_are_given_the_same_utterances(
    qkv: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their call also runs on the CPU, slowly; here it stands in for what only a GPU would reach."""
    nest, bounds = torch.nested.nested_tensor_from_jagged, set()

    def noted(values: Tensor, offsets: Tensor, min_seqlen: int, max_seqlen: int) -> Tensor:
        bounds.add((min_seqlen, max_seqlen))
        return nest(values, offsets, min_seqlen=min_seqlen, max_seqlen=max_seqlen)

    monkeypatch.setattr(torch.nested, "nested_tensor_from_jagged", noted)
    q, k, v = qkv.float().view(len(qkv), 3, HEADS, -1).unbind(1)
    out = module._jagged(q, k, v, LENGTHS, 0.0).flatten(1)
    torch.testing.assert_close(out, reference(qkv).float(), atol=1e-5, rtol=1e-4)
    assert bounds == {(1, 70)}


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_elements_are_dropped_with_probability_p_each_on_its_own(p: float) -> None:
    keep = keep_mask((1000, 1003), p, torch.float32, torch.Generator().manual_seed(1))
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert float(keep.mean()) == pytest.approx(1 - p, abs=4 * (p * (1 - p) / keep.numel()) ** 0.5)
    for step in (1, 2, 3, 4, 1003):  # four neighbours share one draw of 64 bits
        flat = 1 - keep.flatten()
        both = float((flat[:-step] * flat[step:]).mean())
        assert both == pytest.approx(p * p, abs=0.002)


def test_dropout_scales_what_stays_and_is_off_in_evaluation() -> None:
    x = torch.ones(200, 50, dtype=torch.bfloat16, requires_grad=True)
    out = dropout(x, 0.2, training=True)
    assert set(out.detach().float().unique().tolist()) == {0.0, 1.25} and out.dtype == x.dtype
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    assert dropout(x, 0.2, training=False) is x and dropout(x, 0.0, training=True) is x
