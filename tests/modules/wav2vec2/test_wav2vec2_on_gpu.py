"""A step of wav2vec 2.0 the ways that a GPU goes: the plain one's losses and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from wav2vec2s import noise, padded, tiny_wav2vec2

from vqw2v_plugin.modules.kernels import devices, launching
from vqw2v_plugin.modules.kernels.long_conv import block_conv
from vqw2v_plugin.modules.layers.packed import pack, unpack
from vqw2v_plugin.modules.quantizers.signs import packed_power
from vqw2v_plugin.modules.wav2vec2 import contrastive
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2


def goes_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    monkeypatch.setattr(launching, "have_triton", lambda: False)


@pytest.mark.parametrize("frames", [5, 16, 33, 70])
@pytest.mark.parametrize("taps", [32, 41, 128])
def test_a_convolution_in_blocks_is_torch_s(frames: int, taps: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, frames, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 4, taps, dtype=torch.float64, requires_grad=True)
    plain = F.conv1d(x.transpose(1, 2), weight, padding=taps // 2, groups=3)[..., :frames].transpose(1, 2)
    found = block_conv(x, weight, 3)
    torch.testing.assert_close(found, plain)
    weigh = torch.randn_like(plain)
    for ours, theirs in zip(
        *(torch.autograd.grad(y, (x, weight), weigh) for y in (found, plain)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_in_16_bit_its_gradients_are_summed_in_32() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 90, 12), torch.randn(12, 4, 64) / 16
    exact = torch.autograd.grad(block_conv(x, weight.requires_grad_(), 3).sum(), weight)[0]
    short = weight.detach().bfloat16().requires_grad_()
    found = torch.autograd.grad(block_conv(x.bfloat16(), short, 3).sum(), short)[0]
    assert found.dtype == torch.bfloat16 and (found - exact).norm() < 0.005 * exact.norm()


def step(network: Wav2Vec2, wav: Tensor, lengths: list[int]) -> tuple[list[Tensor], object]:
    out = network.train().objective(wav, lengths, [3, 4, 5])
    network.set_num_updates(network._num_updates + 1)
    terms = [out.loss, out.contrastive, out.num_correct.double()]
    terms += [term for term in (out.quantizer, out.penalty) if term is not None]
    parameters = [p for p in network.parameters() if p.requires_grad]
    grads = torch.autograd.grad(out.loss, parameters, allow_unused=True)
    return [*terms, *(g for g in grads if g is not None)], network.signs.shares()


@pytest.mark.parametrize("quantizer", ["gumbel", "fsq"])
@pytest.mark.parametrize("sizes", [(2000, 1460, 1900), (1500, 1500, 1500)])
def test_a_step_is_the_plain_one(
    quantizer: str, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    wav, lengths = padded([noise(n, i) for i, n in enumerate(sizes)])
    settings = {"conv_pos": 40, "quantizer": quantizer}
    torch.manual_seed(1)
    plain, signs = step(tiny_wav2vec2(**settings), wav, lengths)
    goes_on_a_gpu(monkeypatch)
    monkeypatch.setattr(contrastive, "_MOST_TOGETHER", 70)  # two utterances, then one
    torch.manual_seed(1)
    found, ours = step(tiny_wav2vec2(**settings), wav, lengths)
    for a, b in zip(found, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)
    assert ours == pytest.approx(signs, rel=1e-4)


def test_frames_are_packed_and_unpacked_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    x, lengths = torch.randn(3, 6, 2, requires_grad=True), [4, 6, 1]
    plain = pack(x, lengths)
    goes_on_a_gpu(monkeypatch)
    found = pack(x, lengths)
    assert torch.equal(found, plain)
    side_by_side = unpack(found, lengths)
    for row, wanted, n in zip(side_by_side, x, lengths, strict=True):
        assert torch.equal(row[:n], wanted[:n]) and not row[n:].any()
    (grad,) = torch.autograd.grad(side_by_side.sum(), x)
    assert grad.sum() == 2 * sum(lengths) and not grad[0, 4:].any()


def test_power_that_varies_is_of_each_utterance_s_own_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    x = 2 + torch.randn(9, 3)
    plain = packed_power(x, [4, 0, 5])
    goes_on_a_gpu(monkeypatch)
    for ours, theirs in zip(packed_power(x, [4, 0, 5]), plain, strict=True):
        torch.testing.assert_close(ours, theirs)
