"""A long clip in pieces: z and codes are the whole clip's, states are a window's, memory is bounded."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from wav2vec2s import LARGE_STYLE, noise, tiny_wav2vec2

from vqw2v_plugin.modules.wav2vec2 import long_clips
from vqw2v_plugin.modules.wav2vec2.long_clips import heard_in_pieces, states_of_clip, windows
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2

STYLES: dict[str, dict[str, Any]] = {
    "BASE": {},
    "LARGE": LARGE_STYLE,
    "a bias under the norm": {"conv_bias": True},
    "codes heard, which depend on the clip's time": {"quantize_input": True, "quantizer": "kmeans"},
}
SAMPLES = 20 * 400 + 17  # 400 frames


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a few frames, which hear more than the positions' 8 on either side."""
    for name, frames in (("WHOLE", 100), ("MARGIN", 20), ("PIECE", 33)):
        monkeypatch.setattr(long_clips, name, frames)


def network(**settings: Any) -> Wav2Vec2:
    made = tiny_wav2vec2(**settings).eval().requires_grad_(False)
    for name, p in made.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(p, 1.0, 0.2)
    return made


def clip() -> Tensor:
    return noise(SAMPLES) + torch.linspace(0, 0.5, SAMPLES)  # its beginning is not as its end


@pytest.mark.parametrize("style", STYLES)
def test_z_and_codes_are_those_of_the_whole_clip(style: str) -> None:
    made, wav = network(**STYLES[style]), clip()
    whole, found = made.hear(wav[None]), heard_in_pieces(made, wav)
    torch.testing.assert_close(found.z, whole.z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.power, whole.power, rtol=1e-4, atol=1e-6)
    assert list(found.frames) == [400] == list(whole.frames)
    assert torch.equal(made.coder.encode(found.z[None]), made.encode(wav[None]))


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("style", STYLES)
def test_where_no_frame_looks_beyond_the_margins_states_are_the_whole_clip_s(
    style: str, depth: int | None
) -> None:
    made, wav = network(**STYLES[style]), clip()
    for layer in made.transformer.layers:  # its own frame is all that is left
        layer.out.weight.zero_()
    whole = made.states(wav[None], depth=depth)[0][-1]
    torch.testing.assert_close(states_of_clip(made, wav, depth), whole, rtol=1e-4, atol=1e-4)


def test_elsewhere_they_are_those_of_the_window_that_hears_them() -> None:
    made, wav = network(), clip()
    z, states = made.hear(wav[None]).z, states_of_clip(made, wav)
    assert not torch.allclose(states, made.states(wav[None])[0][-1], atol=1e-3)
    for begin, end, kept in windows(400):
        x = made.projection(z[begin:end]) if made.projection else z[begin:end]
        alone = made.transformer.states(x, [end - begin])[-1][kept.start - begin : kept.stop - begin]
        torch.testing.assert_close(states[kept], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [101, 159, 160, 161, 399, 1000])
def test_each_frame_is_kept_once_and_has_heard_its_margins(frames: int) -> None:
    at = 0
    for begin, end, kept in windows(frames):
        assert kept.start == at and end - begin == 100 and 0 <= begin <= kept.start < kept.stop <= end
        assert begin == 0 or kept.start - begin >= 20
        assert end == frames or end - kept.stop >= 20
        at = kept.stop
    assert at == frames


def test_up_to_a_minute_nothing_has_changed() -> None:
    made, wav = network(), noise(20 * 100 + 29)  # 100 frames
    for depth in (None, 0, 1, 2):
        whole = made.states(wav[None], depth=depth)[0][-1]
        assert torch.equal(states_of_clip(made, wav, depth), whole)
    assert torch.equal(heard_in_pieces(made, wav).z, made.hear(wav[None]).z)


class Largest(TorchDispatchMode):
    """Numbers of the largest tensor that is made."""

    made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else [out]:
            if isinstance(each, Tensor):
                self.made = max(self.made, each.untyped_storage().nbytes() // each.element_size())
        return out


def test_no_tensor_is_larger_than_the_audio_or_the_result() -> None:
    """The first layer alone would give 16 numbers a sample."""
    made, wav = network(), clip()
    with Largest() as largest:
        states = states_of_clip(made, wav)
    assert largest.made <= max(len(wav), states.numel())
    with Largest() as whole:
        made.states(wav[None])
    assert whole.made > 2 * largest.made


def test_the_power_of_16_bit_states_is_summed_in_32() -> None:
    made = network().bfloat16()
    wav = clip().bfloat16()
    for found in (made.hear(wav[None]), heard_in_pieces(made, wav)):
        assert found.z.dtype == torch.bfloat16 and found.power.dtype == torch.float32
        assert len(found.power.unique()) > 390  # of 400 frames: bfloat16 has fewer numbers there
