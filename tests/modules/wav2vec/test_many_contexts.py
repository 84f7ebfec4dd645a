"""The context network over many clips in one row: what each has alone, in few calls."""

from collections.abc import Callable

import pytest
import torch
from launches import on_a_gpu
from torch import Tensor

from vqw2v_plugin.modules.wav2vec.context import ConvContext, GruContext
from vqw2v_plugin.modules.wav2vec.many_contexts import RowContext
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]
SIZES = (33, 1, 48, 150, 16, 7)  # frames
PARTS = 40
LAYERS = "[(16, 2, 1), (16, 13, 1), (24, 4, 1), (24, 1, 1)]"
VARIANTS = {
    "paper": {},
    "zeros before": {"agg_zero_pad": True},
    "no skips": {"skip_connections_agg": False},
    "no bias": {"no_conv_bias": True, "non_affine_group_norm": True},
    "gelu": {"activation": "gelu"},
    "beyond a part": {"conv_aggregator_layers": "[(16, 40, 1), (16, 3, 1)]"},
    "single frames": {"conv_aggregator_layers": "[(16, 1, 1)]"},
}


def context_of(tiny: Tiny, **settings: object) -> ConvContext:
    network = tiny(quantizer="none", **{"conv_aggregator_layers": LAYERS, **settings}).eval()
    for name, weight in network.named_parameters():
        if ".norm." in name or name.endswith("conv.bias"):
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    assert isinstance(network.context, ConvContext)
    return network.context


def clips(*sizes: int) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return [torch.randn(n, 16, generator=drawn).abs() for n in sizes or SIZES]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_clip_has_what_it_has_alone_as_near_to_fp64(tiny: Tiny, variant: str) -> None:
    context, heard = context_of(tiny, **VARIANTS[variant]), clips()
    found = RowContext(context, torch.float32, PARTS).c(heard)
    with torch.no_grad():
        alone = [context(x[None])[0] for x in heard]
        exact = [context.double()(x[None].double())[0] for x in heard]
    off_found, off_alone = (
        max(float((x - y).abs().max()) for x, y in zip(got, exact, strict=True)) for got in (found, alone)
    )
    assert off_found <= max(2 * off_alone, 1e-5)


@pytest.mark.parametrize("variant", ["paper", "zeros before", "beyond a part"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_lies_beside_a_clip_changes_no_bit(tiny: Tiny, dtype: torch.dtype, variant: str) -> None:
    rows, heard = RowContext(context_of(tiny, **VARIANTS[variant]), dtype, PARTS), clips()
    before, loud = rows.c(heard), torch.full((40, 16), 1e30)
    after = rows.c([loud, heard[3], heard[1], loud, heard[0]])
    assert all(torch.equal(after[i], before[j]) for i, j in ((1, 3), (2, 1), (4, 0)))
    assert all(torch.equal(rows.c([x])[0], y) for x, y in zip(heard, before, strict=True))


def test_in_bf16_only_products_are(tiny: Tiny) -> None:
    context, heard = context_of(tiny), clips()
    exact, short = (
        torch.cat(RowContext(context, dtype, PARTS).c(heard)) for dtype in (torch.float32, torch.bfloat16)
    )
    assert short.dtype == torch.float32
    torch.testing.assert_close(short, exact, atol=0.15, rtol=0.1)


def test_calls_do_not_grow_with_clips_and_nothing_waits(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RowContext(context_of(tiny).to("meta"), torch.float32, PARTS)
    counted = []
    for sizes in ((33, 20), SIZES):
        heard = [x.to("meta") for x in clips(*sizes)]
        with on_a_gpu(monkeypatch) as launches, launches:
            rows.c(heard)
        assert not launches.waits
        counted.append(launches.total)
    assert counted[0] == counted[1]


def test_more_than_a_row_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="640 frames are more than a row has"):
        RowContext(context_of(tiny), torch.float32, PARTS).c(clips(320, 320))


def test_a_gru_hears_many_clips_and_no_padding() -> None:
    torch.manual_seed(0)
    gru, heard = GruContext(16, 8).double(), [x.double() for x in clips()]
    with torch.no_grad():
        found = gru.of_many(heard)
        for x, c in zip(heard, found, strict=True):
            torch.testing.assert_close(c, gru(x[None])[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("quantizer", ["gumbel", "kmeans"])
def test_codes_behind_the_context_network_are_those_of_each_clip_alone(tiny: Tiny, quantizer: str) -> None:
    network = tiny(quantizer=quantizer, quantizer_position="context", conv_aggregator_layers=LAYERS).eval()
    split, heard = network.quantizer.split_encode(), clips(33, 48, 150)
    assert isinstance(network.context, ConvContext) and split is not None
    found = RowContext(network.context, torch.float32, PARTS).codes(heard, split)
    with torch.no_grad():
        for x, codes in zip(heard, found, strict=True):
            assert torch.equal(codes, network.quantizer.encode(network.context(x[None]))[0])
    assert len(torch.cat(found).unique()) > 3
