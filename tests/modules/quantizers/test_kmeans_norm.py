"""K-means over channels that are normed one by one: what a clip has in all its frames is in no code."""

from collections.abc import Callable

import pytest
import torch

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec


def quantizer(norm: str) -> KmeansQuantizer:
    """Its projection changes nothing."""
    torch.manual_seed(0)
    made = KmeansQuantizer(8, KmeansConfig(vq_vars=6, vq_groups=2, norm=norm))
    made.projection.weight.data.copy_(torch.eye(4).repeat(2, 1)[..., None])
    made.codebook.entries.data.normal_()
    return made.eval()


def test_a_channel_s_own_mean_and_scale_change_no_code() -> None:
    z = torch.randn(3, 200, 8, generator=torch.Generator().manual_seed(1))
    moved = z * torch.arange(1.0, 9.0) + 10 * torch.arange(8.0)
    channel, group = quantizer("channel"), quantizer("group")
    assert torch.equal(channel.encode(z), channel.encode(moved))
    assert not torch.equal(group.encode(z), group.encode(moved))
    projected = channel.project(moved)
    torch.testing.assert_close(projected.mean(1), torch.zeros(3, 8), atol=1e-4, rtol=0)
    torch.testing.assert_close(projected.std(1, correction=0), torch.ones(3, 8), atol=1e-4, rtol=0)


def test_a_clip_in_pieces_has_the_same_codes(tiny: Callable[..., VqWav2Vec]) -> None:
    network = tiny(quantizer="kmeans", quantizer_args='{"norm": "channel"}').eval()
    network.quantizer.codebook.entries.data.normal_()
    wav = 0.1 * torch.randn(9_000, generator=torch.Generator().manual_seed(2))
    codes = Tokenizer(Loaded(network, 16_000, False)).encode(wav, 16_000)
    assert torch.equal(codes, network.encode(wav[None])[0]) and len(codes.unique()) > 3


def test_another_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="`norm` is 'layer'; expected group or channel"):
        KmeansConfig(norm="layer")
