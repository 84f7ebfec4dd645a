"""wav2vec 2.0's convolutions as training on a CPU has them, against the plain layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.kernels import gelu_convs
from vqw2v_plugin.modules.kernels.frame_conv import FrameConv
from vqw2v_plugin.modules.layers.conv_spec import parse_conv_layers
from vqw2v_plugin.modules.wav2vec2 import encoder as plain
from vqw2v_plugin.modules.wav2vec2.encoder import ConvEncoder

LAYERS = "[(16, 10, 5), (16, 3, 2), (24, 3, 2), (16, 2, 2)]"
# distance as a share of the norm, of outputs and of gradients
TOLERANCES = {torch.float64: (5e-15, 5e-14), torch.float32: (2e-6, 1e-5), torch.bfloat16: (2e-2, 0.1)}
LENGTHS = [3000, 2501, 777]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("taps", "stride", "frames"),
    [
        (3, 2, 100),
        (3, 2, 101),
        (3, 2, 20),
        (2, 2, 50),
        (4, 2, 50),
        (5, 3, 71),
        (5, 2, 33),
        (1, 1, 9),
        (2, 3, 10),
    ],
)
def test_products_of_taps_are_the_convolution(taps: int, stride: int, frames: int, bias: bool) -> None:
    torch.manual_seed(taps)
    weight = torch.randn(7, 6, taps, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(7, dtype=torch.float64) if bias else None
    x = torch.randn((frames - 1) * stride + taps, 6, dtype=torch.float64, requires_grad=True)
    wanted = F.conv1d(x.T[None], weight, shift, stride)[0].T
    grad = torch.randn_like(wanted)
    to_x, to_weight = torch.autograd.grad(wanted, (x, weight), grad)
    conv, y = FrameConv(weight.detach(), shift, stride), torch.empty_like(wanted)
    conv.forward(x.detach(), y)
    torch.testing.assert_close(y, wanted.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(conv.backward(x.detach(), grad), to_x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(conv.weight_grad(), to_weight, rtol=1e-12, atol=1e-12)


def encoder(mode: str, bias: bool) -> ConvEncoder:
    torch.manual_seed(0)
    made = ConvEncoder(parse_conv_layers(LAYERS), mode, bias).double()
    for parameter in (p for p in made.parameters() if p.ndim == 1):
        torch.nn.init.normal_(parameter)
    return made


def with_gradients(module: ConvEncoder, wav: Tensor) -> list[Tensor]:
    z, _ = module(wav, LENGTHS)
    weigh = torch.linspace(-1, 1, z.numel(), dtype=torch.float64).view_as(z)
    return [z, *torch.autograd.grad((z * weigh).sum() + z.square().sum(), list(module.parameters()))]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("mode", "bias"), [("default", False), ("layer_norm", True), ("layer_norm", False)])
def test_an_encoder_in_training_is_the_plain_one(
    mode: str, bias: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gelu_convs, "_USUAL_PIECE", 50)  # several of an utterance, the last one shorter
    monkeypatch.setattr(gelu_convs, "_PIECE", {})
    module = encoder(mode, bias).to(dtype).train()
    wav = (torch.randn(3, 3000, dtype=torch.float64) + 0.3).to(dtype)
    found = with_gradients(module, wav)
    monkeypatch.setattr(plain, "takes_over", lambda module, x: False)
    wanted = with_gradients(module.double(), wav.double())
    for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert ours.dtype == dtype and ours.shape == theirs.shape
        limit = TOLERANCES[dtype][i > 0] * float(theirs.norm()) + (1e-9 if dtype != torch.bfloat16 else 1e-2)
        assert (ours - theirs).norm() <= limit, i


def test_what_lies_behind_an_utterance_is_not_looked_at() -> None:
    module, wav = encoder("default", False).train(), torch.randn(2, 900, dtype=torch.float64)
    z, frames = module(wav, [900, 500])
    wav[1, 500:] = torch.nan
    assert torch.equal(module(wav, [900, 500])[0], z) and len(z) == sum(frames)


def test_kept_is_one_number_of_each_channel_and_frame_but_of_the_first_layer_none() -> None:
    module, kept = encoder("layer_norm", True).train(), list[int]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        z, _ = module(torch.randn(1, 40_000, dtype=torch.float64))
    first, second, third, last = 7_999, 3_999, 1_999, 999
    weights = sum(p.numel() for p in module.parameters())
    assert len(z) == last
    patches = 2 * first * 16
    assert sum(kept) <= patches + 16 * second + 24 * third + 4 * 16 * last + 3 * weights


def test_a_bias_under_a_norm_over_time_is_left_to_the_plain_layers() -> None:
    assert not gelu_convs.can_hear(encoder("default", True).blocks)
    assert not gelu_convs.can_hear(encoder("default", False).blocks[:1])


def test_evaluation_and_autocast_have_the_plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    module, wav = encoder("default", False).float().eval(), torch.randn(1, 900)
    monkeypatch.setattr(gelu_convs, "encoder_blocks", lambda *a: pytest.fail("a kernel"))
    module(wav)
    with torch.autocast("cpu", torch.bfloat16):
        module.train()(wav)
    with pytest.raises(pytest.fail.Exception, match="a kernel"):
        module(wav)


def test_clips_that_are_too_short_are_named_in_training_too() -> None:
    with pytest.raises(ValueError, match="audio of 20 samples is shorter than the encoder's receptive field"):
        encoder("default", False).train()(torch.zeros(2, 900), [900, 20])
