"""A clip in pieces: the features and codes of one go, and the same bits whatever is kept in between."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from changed_quantizers import OtherEncode, OtherNearest, OtherProjection
from launches import on_a_gpu

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.checkpoints.wav2vec import Loaded
from vqw2v_plugin.features.coder import NetworkCoder, QuantizedFeatures
from vqw2v_plugin.modules.kernels import clip_layers
from vqw2v_plugin.modules.kernels.clip_layers import ClipMap, ClipNorm, Moments
from vqw2v_plugin.modules.wav2vec import long_clips as pieces
from vqw2v_plugin.modules.wav2vec.long_clips import PieceEncoder
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import GumbelQuantizer, Quantizer, SplitEncode

Tiny = Callable[..., VqWav2Vec]
Network = TypeVar("Network", bound=torch.nn.Module)
VARIANTS = {
    "paper": {},
    "gelu": {"activation": "gelu"},
    "no log": {"log_compression": False},
    "gelu, no log": {"activation": "gelu", "log_compression": False},
    "plain norm": {"non_affine_group_norm": True},
    "kernel no multiple of the stride": {
        "conv_feature_layers": "[(16, 10, 5), (16, 7, 3), (24, 3, 2), (16, 1, 1)]"
    },
    "three taps": {"conv_feature_layers": "[(16, 8, 4), (16, 9, 3), (16, 3, 1)]"},
    "stride beyond kernel": {"conv_feature_layers": "[(16, 10, 5), (16, 2, 7), (16, 4, 2)]"},
    "one layer": {"conv_feature_layers": "[(16, 10, 5)]"},
}


@pytest.fixture(params=VARIANTS)
def network(tiny: Tiny, request: pytest.FixtureRequest) -> VqWav2Vec:
    return varied(tiny(quantizer="gumbel", **VARIANTS[request.param]))


def varied(network: Network) -> Network:
    """Gains and biases that training might have left."""
    for name, weight in network.named_parameters():
        if ".norm." in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return network.eval()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pieces._SAMPLES, "cpu", 500)
    monkeypatch.setitem(pieces._FRAMES, "cpu", 8)


def wav(samples: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(samples)) * 0.1 + 0.02


@pytest.mark.parametrize("samples", [4000, 9999])
def test_features_are_the_encoder_s(network: VqWav2Vec, small_pieces: None, samples: int) -> None:
    whole = network.encoder(wav(samples)[None])[0]
    torch.testing.assert_close(
        PieceEncoder(network.encoder, torch.float32).z(wav(samples)), whole, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("variant", ["stride beyond kernel", "kernel no multiple of the stride"])
def test_pieces_may_be_shorter_than_a_stride(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    monkeypatch.setitem(pieces._SAMPLES, "cpu", 5)  # one frame of the first layer
    monkeypatch.setitem(pieces._FRAMES, "cpu", 1)
    network = varied(tiny(quantizer="gumbel", **VARIANTS[variant]))
    for samples in (600, 1003):
        z = PieceEncoder(network.encoder, torch.float32).z(wav(samples))
        torch.testing.assert_close(z, network.encoder(wav(samples)[None])[0], atol=2e-5, rtol=0)


def test_every_length_has_its_frames(tiny: Tiny, small_pieces: None) -> None:
    network = tiny(quantizer="gumbel").eval()
    encoder = PieceEncoder(network.encoder, torch.float32)
    field = network.encoder.geometry.receptive_field
    for samples in [*range(field, field + 90), *range(980, 1100, 3), 2500, 5003]:
        z = encoder.z(wav(samples))
        torch.testing.assert_close(z, network.encoder(wav(samples)[None])[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans", "fsq"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_computed_again_has_the_same_bits(
    tiny: Tiny, small_pieces: None, quantizer: str, dtype: torch.dtype
) -> None:
    network = varied(tiny(quantizer=quantizer))
    kept, again = (PieceEncoder(network.encoder, dtype, memory) for memory in (1 << 30, 0))
    some = PieceEncoder(network.encoder, dtype, 16 * 4 * 300)  # the later layers alone
    clip = wav(20_000)
    assert torch.equal(kept.z(clip), again.z(clip)) and torch.equal(kept.z(clip), some.z(clip))
    codes = [encoder.codes(clip, network.quantizer) for encoder in (kept, again, some)]
    assert torch.equal(codes[0], codes[1]) and torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans", "fsq"])
@pytest.mark.parametrize("pieces_of", [500, 10_240])
def test_codes_are_the_network_s(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, quantizer: str, pieces_of: int
) -> None:
    monkeypatch.setitem(pieces._SAMPLES, "cpu", pieces_of)
    network = varied(tiny(quantizer=quantizer, vq_vars=20 if quantizer != "fsq" else 16))
    codes = PieceEncoder(network.encoder, torch.float32).codes(wav(30_000), network.quantizer)
    exact = network.double().encode(wav(30_000)[None].double())[0]
    assert (codes == exact).float().mean() > 0.998  # near-ties alone: fp64 is another rounding
    assert torch.equal(codes, network.float().encode(wav(30_000)[None])[0])


class OverTime(GumbelQuantizer):
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        return self.logits(z.cumsum(1)).argmax(-1)


class Signs(Quantizer):
    """Whether each channel is positive, two channels a group: projected, and not normed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim, self.num_groups, self.num_codes = dim, 2, 4
        self.project = torch.nn.Linear(dim, 4, bias=False)

    def encode(self, z: torch.Tensor) -> torch.Tensor:
        return self.choose(self.project(z))

    def split_encode(self) -> SplitEncode:
        return SplitEncode(self.choose, self.project)

    @staticmethod
    def choose(projected: torch.Tensor) -> torch.Tensor:
        bits = (projected > 0).long().unflatten(-1, (2, 2))
        return bits[..., 0] + 2 * bits[..., 1]


@pytest.mark.parametrize("cls", [OtherProjection, OtherEncode, OtherNearest, OverTime])
def test_a_quantizer_made_from_ours_gives_its_own_codes_everywhere(
    tiny: Tiny, small_pieces: None, cls: type[Quantizer]
) -> None:
    network = varied(tiny(quantizer="gumbel"))
    network.quantizer = varied(cls(16, cls.Config(vq_vars=20)))
    clip = wav(9000)
    codes = network.encode(clip[None])[0]
    decoded = network.quantizer.decode(codes[None])[0]
    assert torch.equal(PieceEncoder(network.encoder, torch.float32).codes(clip, network.quantizer), codes)
    assert torch.equal(Tokenizer(Loaded(network, 16_000, False)).encode(clip, 16_000), codes)
    assert torch.equal(QuantizedFeatures(NetworkCoder(Loaded(network, 16_000, False)))(clip), decoded)


def test_a_projection_needs_no_norm(tiny: Tiny, small_pieces: None) -> None:
    network = varied(tiny(quantizer="gumbel"))
    network.quantizer = Signs(16)
    codes = PieceEncoder(network.encoder, torch.float32).codes(wav(9000), network.quantizer)
    assert (codes == network.encode(wav(9000)[None])[0]).float().mean() > 0.998  # products of pieces round
    assert codes.unique().numel() == 4
    with pytest.raises(ValueError, match="norm"):
        SplitEncode(Signs.choose, norm=torch.nn.GroupNorm(1, 4))


def test_a_large_offset_costs_no_precision() -> None:
    """Means far from zero: a difference of squares would have lost the variance."""
    y = torch.randn(5000, 8, generator=torch.Generator().manual_seed(0)) + 1000
    moments = Moments(2)
    for piece in y.split(301):
        moments.add(piece)
    groups = y.double().view(-1, 2, 4)
    torch.testing.assert_close(moments.mean, groups.mean((0, 2)), rtol=1e-9, atol=0)
    variance = groups.var((0, 2), correction=0)
    torch.testing.assert_close(moments.spread / moments.count, variance, rtol=1e-5, atol=0)


def test_codes_may_be_trained_on(tiny: Tiny) -> None:
    """Tensors of inference mode could not be kept for a backward pass."""
    network = tiny(quantizer="gumbel").eval()
    codes = PieceEncoder(network.encoder, torch.float32).codes(wav(4000), network.quantizer)
    table = torch.nn.Embedding(8, 3)
    table(codes).sum().backward()
    assert table.weight.grad is not None


def test_products_are_shared_where_that_pays(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """On matrix units bf16 takes four products for four, which is more exact; both are the encoder."""
    network = varied(tiny(quantizer="gumbel"))
    z = network.encoder(wav(9000)[None])[0].detach()
    found = []
    for units in (False, True):
        monkeypatch.setattr(clip_layers, "has_matrix_units", lambda units=units: units)
        encoder = PieceEncoder(network.encoder, torch.bfloat16)
        assert [layer.both is None for layer in encoder.layers] == [units, units]
        found.append(float((encoder.z(wav(9000)) - z).abs().mean()))
    assert found[1] < found[0] < 0.02


def test_residuals_are_not_for_pieces(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="`skip_connections_feat` is on"):
        PieceEncoder(tiny(skip_connections_feat=True).encoder, torch.float32)


def test_memory_does_not_grow_with_a_layer_s_outputs(tiny: Tiny) -> None:
    """Ten minutes whose second layer alone would be 61 MB: with none of it kept, little is held at a time."""
    network = tiny(quantizer="gumbel").eval()
    encoder = PieceEncoder(network.encoder, torch.float32, 0)
    largest = 0
    held = pieces._Clip(encoder, wav(960_000), encoder.layers)
    for piece in held.states():
        largest = max(largest, piece.numel())
    assert not held.kept and largest <= 16 * 2 * pieces._FRAMES["cpu"]


def test_of_all_layers_the_last_one_s_outputs_are_kept(tiny: Tiny) -> None:
    encoder = PieceEncoder(tiny(quantizer="gumbel").encoder, torch.float32)
    assert len(encoder.layers) == 2 and not encoder.z(wav(4000)).requires_grad
    held = pieces._Clip(encoder, wav(4000), encoder.layers)
    assert [list(held.kept) for _ in held.states()] == [[1]]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize("less", [0, 1])
def test_outputs_are_kept_that_fill_the_memory(tiny: Tiny, dtype: torch.dtype, size: int, less: int) -> None:
    """Of 4000 samples the layers have 799, 198 and 98 frames; the codes' projection works in fp32."""
    network = tiny(quantizer="kmeans").eval()
    for layer, needed in ((0, 198 * 16 * size), (1, 98 * 16 * size)):
        encoder = PieceEncoder(network.encoder, dtype, needed - less)
        held = pieces._Clip(encoder, wav(4000), encoder.layers[: layer + 1])
        list(held.states())
        assert (layer in held.kept) == (not less)
    assert ClipMap(torch.nn.Identity(), network.quantizer.norm).frame_bytes == 16 * 4


def test_norm_and_activation_of_16_bit_outputs_are_in_32(tiny: Tiny) -> None:
    layer = PieceEncoder(tiny().encoder, torch.bfloat16).layers[0]
    y = torch.randn(50, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    norm = ClipNorm(torch.linspace(0.3, 3, 16), torch.linspace(-1, 1, 16))
    expected = (y.double() * norm.scale.double() + norm.shift.double()).relu()
    found = layer.finish(y, norm)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())


def test_a_clip_on_a_gpu_is_waited_for_once_whatever_its_layers(
    tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its codes alone."""
    for quantizer in ("gumbel", "kmeans"):
        network = tiny(quantizer=quantizer).eval().to("meta")
        encoder = PieceEncoder(network.encoder, torch.float32)
        with on_a_gpu(monkeypatch) as launches, launches:
            codes = encoder.codes(torch.zeros(9_000, device="meta"), network.quantizer)
            assert not launches.waits, launches.waits
            codes.cpu()
        assert len(launches.waits) == 1
