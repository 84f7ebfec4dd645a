"""Attention over packed utterances: torch's own result for each of them, with and without dropout."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.kernels import attention as module
from vqw2v_plugin.modules.kernels import devices
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


class Kernels:
    """In place of torch's for a GPU, by what these are said to do; notes what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int, int]] = []

    def _flash_attention_forward(
        self, q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, most_q: int, most_k: int,
        dropout_p: float, is_causal: bool, return_debug_mask: bool,
    ) -> tuple[Tensor]:  # fmt: skip
        assert ends_q.dtype == ends_k.dtype == torch.int32 and not is_causal and not return_debug_mask
        self.asked.append(("flash", dropout_p, most_q, most_k))
        found = []
        for b in range(len(ends_q) - 1):
            ours, theirs = (slice(int(ends[b]), int(ends[b + 1])) for ends in (ends_q, ends_k))
            assert 0 < ours.stop - ours.start <= most_q and 0 < theirs.stop - theirs.start <= most_k
            one = (x[s].transpose(0, 1) for x, s in ((q, ours), (k, theirs), (v, theirs)))
            found.append(F.scaled_dot_product_attention(*one).transpose(0, 1))
        return (torch.cat(found),)

    def _efficient_attention_forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: None, ends_q: Tensor, ends_k: Tensor, most_q: int,
        most_k: int, dropout_p: float, custom_mask_type: int, compute_log_sumexp: bool,
    ) -> tuple[Tensor]:  # fmt: skip
        assert bias is None and custom_mask_type == 0 and compute_log_sumexp == torch.is_grad_enabled()
        args = (q[0], k[0], v[0], ends_q, ends_k, most_q, most_k, dropout_p, False, False)
        out = self._flash_attention_forward(*args)[0]
        self.asked[-1] = ("efficient", *self.asked[-1][1:])
        return (out[None],)


@pytest.mark.parametrize("kernel", ["flash", "efficient"])
def test_kernels_are_given_each_utterance_s_own(
    qkv: Tensor, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = Kernels()
    monkeypatch.setattr(module, "kernel_for", lambda *_: kernel)
    monkeypatch.setattr(module.torch, "ops", type("Ops", (), {"aten": kernels}))
    q, k, v = qkv.view(len(qkv), 3, HEADS, -1).unbind(1)
    whole = module._on_gpu(q, k, v, LENGTHS, 0.25, None).flatten(1)
    torch.testing.assert_close(whole, reference(qkv))
    index = torch.tensor([0, 2, 5, 6, 7, 76, 80, 108])
    for counts in ([2, 1, 2, 3], [2, 0, 4, 2]):  # of which the latter asks nothing of an utterance
        rows = Rows(index, counts)
        some = module._on_gpu(q, k, v, LENGTHS, 0.0, rows).flatten(1)
        torch.testing.assert_close(some, reference(qkv)[index])
        torch.testing.assert_close(gradient(some, qkv), gradient(reference(qkv)[index], qkv))
    assert kernels.asked == [(kernel, 0.25, 70, 70), (kernel, 0.0, 3, 70), (kernel, 0.0, 70, 70)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_s_kernels_take_what_they_are_given(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their shapes alone, and their gradients': queries, keys and values lie side by side."""
    qkv = torch.empty(sum(LENGTHS), 3 * DIM, dtype=dtype, device="meta", requires_grad=True)
    monkeypatch.setattr(module, "kernel_for", lambda q, *_: "flash" if q.itemsize == 2 else "efficient")
    rows = Rows(torch.zeros(4, dtype=torch.int64, device="meta"), [1, 1, 1, 1])
    for asked, number in ((None, sum(LENGTHS)), (rows, 4)):
        out = packed_attention(qkv, LENGTHS, HEADS, 0.1, asked)
        assert out.shape == (number, DIM) and out.dtype == dtype
        (grad,) = torch.autograd.grad(out.sum(), qkv)
        assert grad.shape == qkv.shape


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_elements_are_dropped_with_probability_p_each_on_its_own(p: float) -> None:
    keep = keep_mask((1000, 1003), p, torch.float32, torch.Generator().manual_seed(1))
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert float(keep.mean()) == pytest.approx(1 - p, abs=4 * (p * (1 - p) / keep.numel()) ** 0.5)
    for step in (1, 2, 3, 4, 1003):  # four neighbours share one draw of 64 bits
        flat = 1 - keep.flatten()
        both = float((flat[:-step] * flat[step:]).mean())
        assert both == pytest.approx(p * p, abs=0.002)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_dropout_scales_what_stays_and_is_off_in_evaluation(
    on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: on_gpu)
    x = torch.ones(200, 50, dtype=torch.bfloat16, requires_grad=True)
    out = dropout(x, 0.2, training=True)
    assert set(out.detach().float().unique().tolist()) == {0.0, 1.25} and out.dtype == x.dtype
    assert float((out == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())
    assert dropout(x, 0.2, training=False) is x and dropout(x, 0.0, training=True) is x


def test_the_kernel_is_one_that_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.zeros(5, HEADS, 8)
    assert module.kernel_for(q, q, q, 0.1) == "neither"  # on a CPU
    for flash, efficient, size, expected in (
        *((True, True, 8, "flash"), (True, True, 4, "efficient")),
        *((False, True, 8, "efficient"), (True, False, 4, "neither")),
    ):
        monkeypatch.setattr(module, "can_use_flash_attention", lambda params, flash=flash: flash)
        monkeypatch.setattr(module, "can_use_efficient_attention", lambda params, can=efficient: can)
        x = torch.zeros(5, HEADS, size)
        assert module.kernel_for(x, x, x, 0.1) == expected


def test_where_no_kernel_is_for_it_torch_chooses(qkv: Tensor) -> None:
    q, k, v = qkv.detach().float().view(len(qkv), 3, HEADS, -1).unbind(1)
    index = torch.tensor([0, 2, 6, 75])
    for rows in (None, Rows(index, [2, 0, 1, 1])):
        found = module._on_gpu(q, k, v, LENGTHS, 0.0, rows).flatten(1)
        wanted = reference(qkv).float() if rows is None else reference(qkv).float()[index]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
