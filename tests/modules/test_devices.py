"""What is made on the way lies on the device of what is given, not on the one that is the default.

The default is `meta` here, which holds no numbers: whatever forgets its device is seen on any machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from wav2vec2s import tiny_wav2vec2

from vqw2v_plugin.modules.acoustic import asg_scan
from vqw2v_plugin.modules.acoustic.losses import make_sequence_loss
from vqw2v_plugin.modules.acoustic.network import AcousticConfig, AcousticModel
from vqw2v_plugin.modules.kernels.clip_layers import ClipFirst
from vqw2v_plugin.modules.layers.transformer import rotary_angles, rotate
from vqw2v_plugin.modules.quantizers.health import joint_counts
from vqw2v_plugin.modules.quantizers.seeding import gather_frames
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2
from vqw2v_plugin.quantizers import quantizer_names

Tiny = Callable[..., VqWav2Vec]


class NoneElsewhere(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, out)):
            assert not isinstance(x, Tensor) or x.device.type == "cpu", f"{func} has {x.device}"
        return out


@pytest.fixture
def elsewhere() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_device("meta")
    try:
        with NoneElsewhere():
            yield
    finally:
        torch.set_default_device(None)


@pytest.fixture(params=quantizer_names())
def network(tiny: Tiny, request: pytest.FixtureRequest) -> VqWav2Vec:
    return tiny(quantizer=request.param, cross_sample_negatives=2, sample_distance=9)


@pytest.fixture
def wav() -> Tensor:
    return 0.1 * torch.randn(2, 2000)


@pytest.fixture
def first(tiny: Tiny) -> ClipFirst:
    block = tiny().encoder.blocks[0]
    return ClipFirst(block.conv, block.norm, block.activation, torch.float32)


@pytest.mark.parametrize("train", [False, True])
def test_of_a_step_of_vq_wav2vec(network: VqWav2Vec, wav: Tensor, train: bool, elsewhere: None) -> None:
    network.train(train).objective(wav, quantizer_weight=0.5).loss.backward()
    if network.has_codes:
        network.quantizer.decode(network.encode(wav))


@pytest.fixture(params=quantizer_names())
def masked(request: pytest.FixtureRequest) -> Wav2Vec2:
    silent = {"mask_channel_prob": 0.2, "mask_channel_length": 3, "encoder_layerdrop": 0.3}
    return tiny_wav2vec2(quantizer=request.param, **silent)


@pytest.mark.parametrize("train", [False, True])
def test_of_a_step_of_wav2vec2(masked: Wav2Vec2, wav: Tensor, train: bool, elsewhere: None) -> None:
    masked.train(train).objective(wav, [2000, 1700], [1, 2]).loss.backward()
    masked.set_num_updates(1)
    if masked.has_codes:
        masked.coder.decode(masked.encode(wav))


@pytest.fixture
def audience() -> tuple[Tensor, ...]:
    targets = torch.tensor([[1, 2, 1], [3, 0, 0]])
    return torch.randn(2, 9, 6), torch.tensor([9, 7]), targets, torch.tensor([3, 1])


@pytest.fixture(params=["asg", "ctc"])
def acoustic(request: pytest.FixtureRequest) -> AcousticModel:
    loss = make_sequence_loss(request.param, 5, 4)
    return AcousticModel(AcousticConfig(6, 5, "[(8, 3)]"), loss)


@pytest.mark.parametrize("span", [600.0, -1.0])
def test_of_a_loss_and_its_paths(
    acoustic: AcousticModel,
    audience: tuple[Tensor, ...],
    span: float,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: None,
) -> None:
    monkeypatch.setattr(asg_scan, "LARGEST_SPAN", span)
    features, lengths, *targets = audience
    out, loss = acoustic(features, lengths), acoustic.sequence_loss
    loss(out.emissions, out.lengths, *targets).sum().backward()
    loss.align(out.emissions, out.lengths, *targets), loss.best_path(out.emissions, out.lengths)


def test_of_a_clip_s_first_layer(first: ClipFirst, wav: Tensor, elsewhere: None) -> None:
    patches = wav[0].unfold(0, first.taps, first.stride)
    first.normed(iter([patches]), wav.device)(patches)


@pytest.mark.parametrize("groups", [2, 40])
def test_of_counts_and_frames_of_codes(wav: Tensor, groups: int, elsewhere: None) -> None:
    frames = wav.view(-1, groups)
    joint_counts(frames.abs().long(), 320)
    gather_frames(frames, 2)


def test_of_turned_queries(wav: Tensor, elsewhere: None) -> None:
    rotate(wav[:, : 24 * 9].reshape(-1, 24)[:9], rotary_angles(wav[0, :9], 4), 2)
