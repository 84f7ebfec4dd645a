"""Many clips in one row: the codes that each has alone, whatever lies beside it, in few calls."""

from collections.abc import Callable

import pytest
import torch
from launches import on_a_gpu
from torch import Tensor

from vqw2v_plugin.features.together import to_processor
from vqw2v_plugin.modules.wav2vec import many_clips
from vqw2v_plugin.modules.wav2vec.long_clips import PieceEncoder
from vqw2v_plugin.modules.wav2vec.many_clips import RowEncoder
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]
SIZES = (9000, 641, 5003, 20_000, 12_001)
VARIANTS = {
    "paper": {},
    "gelu, no log": {"activation": "gelu", "log_compression": False},
    "plain norm": {"non_affine_group_norm": True},
    "kernel no multiple of the stride": {
        "conv_feature_layers": "[(16, 10, 5), (16, 7, 3), (24, 3, 2), (16, 1, 1)]"
    },
    "stride beyond kernel": {"conv_feature_layers": "[(16, 10, 5), (16, 2, 7), (16, 4, 2)]"},
    "one layer": {"conv_feature_layers": "[(16, 10, 5)]"},
}


@pytest.fixture(autouse=True)
def short_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_clips, "_SAMPLES", 60_000)


def trained(network: VqWav2Vec) -> VqWav2Vec:
    """With gains and biases that training might have left."""
    for name, weight in network.named_parameters():
        if ".norm." in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return network.eval()


def clips(*sizes: int) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=drawn) + 0.02 for n in sizes or SIZES]


def codes_of(network: VqWav2Vec, rows: RowEncoder, heard: list[Tensor]) -> list[Tensor]:
    split = network.quantizer.split_encode()
    assert split is not None
    return rows.codes(heard, split)


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans", "fsq"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_clip_has_its_own_codes(tiny: Tiny, variant: str, quantizer: str) -> None:
    network = trained(tiny(quantizer=quantizer, vq_vars=16, **VARIANTS[variant]))
    rows, alone = (make(network.encoder, torch.float32) for make in (RowEncoder, PieceEncoder))
    heard = clips()
    for wav, z, codes in zip(heard, rows.z(heard), codes_of(network, rows, heard), strict=True):
        torch.testing.assert_close(z, alone.z(wav), atol=5e-6, rtol=0)
        assert torch.equal(codes, alone.codes(wav, network.quantizer))


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_they_are_those_of_fp64(tiny: Tiny, quantizer: str) -> None:
    network = trained(tiny(quantizer=quantizer, vq_vars=20))
    heard = clips()
    found = torch.cat(codes_of(network, RowEncoder(network.encoder, torch.float32), heard))
    network.double()
    exact = torch.cat([network.encode(wav[None].double())[0] for wav in heard])
    assert (found == exact).float().mean() > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_lies_beside_a_clip_changes_no_bit(tiny: Tiny, dtype: torch.dtype) -> None:
    rows = RowEncoder(trained(tiny(quantizer="gumbel")).encoder, dtype)
    heard = clips()
    before = rows.z(heard)
    loud = torch.full((7000,), 1e30)
    after = rows.z([loud, heard[3], heard[1], loud, heard[0]])
    assert all(torch.equal(after[i], before[j]) for i, j in ((1, 3), (2, 1), (4, 0)))


def test_in_bf16_only_products_are(tiny: Tiny) -> None:
    network = trained(tiny(quantizer="gumbel"))
    heard = clips()
    exact, short = (
        torch.cat(RowEncoder(network.encoder, dtype).z(heard)) for dtype in (torch.float32, torch.bfloat16)
    )
    assert short.dtype == torch.float32 and 0 < (short - exact).abs().mean() < 0.02


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_more_clips_are_no_more_calls_and_nothing_waits_but_for_their_codes(
    tiny: Tiny, quantizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny(quantizer=quantizer).eval().to("meta")
    rows, counted = RowEncoder(network.encoder, torch.float32), []
    for heard in (clips(9000), clips()):
        with on_a_gpu(monkeypatch) as launches, launches:
            codes = codes_of(network, rows, heard)
            assert not launches.waits, launches.waits
            counted.append(launches.total)
            to_processor(codes)
        assert len(launches.waits) == 1
    assert counted[0] == counted[1] <= {"gumbel": 60, "kmeans": 110}[quantizer]


def test_a_row_is_as_long_as_memory_allows(tiny: Tiny) -> None:
    encoder = tiny().encoder
    assert encoder.geometry.stride * 16 == 640  # samples of a part: 128 · 16 numbers of the first layer
    assert RowEncoder(encoder, torch.float32).room == 60_000 // 640 * 640
    assert RowEncoder(encoder, torch.float32, 128 * 16 * 4 * 9).room == 9 * 640
    assert RowEncoder(encoder, torch.bfloat16, 128 * 16 * 2 * 9).room == 9 * 640
    assert RowEncoder(encoder, torch.float32, 128 * 16 * 4 * 7).room == 0
    with pytest.raises(ValueError, match="60001 samples are more than a row has"):
        RowEncoder(encoder, torch.float32).z(clips(60_001))


def test_residuals_are_not_for_rows(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="`skip_connections_feat` is on"):
        RowEncoder(tiny(skip_connections_feat=True).encoder, torch.float32)
