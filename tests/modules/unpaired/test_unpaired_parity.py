"""Losses of stock fairseq's `wav2vec_u` with the same weights, and figures of one of its runs."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from stock_wav2vec_u import stock_classes, stock_losses, stock_of
from torch import Tensor

from vqw2v_plugin.modules.layers.padding import padding
from vqw2v_plugin.modules.unpaired import losses
from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork

V, D = 7, 5
FIRST = UnpairedConfig(
    D, V, generator_dropout=0.0, discriminator_dim=6, discriminator_kernel=3, mean_pool_join=True,
    gradient_penalty=0.0, stock_padding=True,
)  # fmt: skip
SECOND = replace(
    FIRST, generator_kernel=9, generator_stride=3, generator_batch_norm=30.0, generator_residual=True,
    smoothness_weight=1.5, mmi_weight=0.5, target_dim=4, smoothing=0.1,
)  # fmt: skip
OTHERS = [
    replace(FIRST, segments="none", discriminator_causal=False, discriminator_depth=3),
    replace(FIRST, discriminator_linear_emb=True, discriminator_act_after_linear=True),
    replace(FIRST, discriminator_max_pool=True, generator_bias=True, generator_kernel=5, generator_dilation=2,
            generator_pad=4),
    replace(FIRST, smoothing=0.2, smoothing_one_sided=True),
    replace(FIRST, segments="uniform_join", subsample_rate=0.5),
]  # fmt: skip

STOCK = {"code_pen": 0.0802, "smoothness": 3.4166, "dense_g": 2.5751, "dense_d": 1.6542, "token_d": 2.5749}


def waves(shape: tuple[int, ...], step: float, size: float = 0.5) -> Tensor:
    """Numbers by a formula, the same on every machine."""
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * step + step).view(shape) * size


def network(config: UnpairedConfig) -> UnpairedNetwork:
    made = UnpairedNetwork(config).double()
    with torch.no_grad():
        for number, p in enumerate(made.parameters(), 1):
            p.copy_(waves(tuple(p.shape), 0.37 * number + 0.11))
    return made


LENGTHS, TEXT_LENGTHS = torch.tensor([12, 9, 11]), torch.tensor([8, 8, 8])
FEATURES = waves((3, 12, D), 1.7, 2.0).masked_fill(padding(LENGTHS, 12).unsqueeze(2), 0.0)
TEXT = (torch.arange(24) * 5 % (V - 1)).view(3, 8)
CODES = (torch.arange(36) % 4).view(3, 12).masked_fill(padding(LENGTHS, 12), -1)


def inputs(lengths: Tensor, codes: bool) -> dict[str, Tensor | None]:
    return {
        "features": FEATURES,
        "padding_mask": padding(lengths, 12),
        "random_label": TEXT,
        "aux_target": CODES if codes else None,
    }


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    pytest.importorskip("fairseq")
    found = stock_classes()
    if found is None:
        pytest.skip("this fairseq comes without its wav2vec-U")
    return found


@pytest.mark.parametrize("number", range(2 + len(OTHERS)))
def test_the_same_weights_give_stock_s_losses(number: int, names: dict[str, Any]) -> None:
    config = [FIRST, SECOND, *OTHERS][number]
    # stock's residual layer, its chunks and what looks ahead let padding into valid frames
    whole = config.generator_residual or config.segments.startswith("uniform")
    whole = whole or not config.discriminator_causal
    lengths = torch.tensor([12, 12, 12]) if whole else LENGTHS
    ours, codes = network(config), bool(config.mmi_weight)
    stock = stock_of(names, ours)
    of_generator = ours.generator_step(FEATURES, lengths, CODES if codes else None)
    of_discriminator = ours.discriminator_step(FEATURES, lengths, TEXT, TEXT_LENGTHS)
    for updates, step in ((0, of_generator), (1, of_discriminator)):
        expected = stock_losses(stock, updates, inputs(lengths, codes))
        assert expected.keys() == step.terms.keys()
        for name, value in expected.items():
            # stock counts phones in float32
            torch.testing.assert_close(step.terms[name], value.double(), rtol=1e-6, atol=5e-6)


def test_the_same_draws_give_stock_s_penalty(names: dict[str, Any]) -> None:
    ours = network(FIRST)
    stock = stock_of(names, ours)
    text, generated = waves((3, 8, V), 0.9).softmax(-1), waves((3, 6, V), 1.3).softmax(-1)
    torch.manual_seed(5)
    expected = stock.calc_gradient_penalty(text, generated.clone().requires_grad_())
    torch.manual_seed(5)
    share = torch.rand(3, 1, 1).double()
    sizes = torch.tensor([8, 8, 8]), torch.tensor([6, 6, 6])
    part, other, _ = losses.common_part(text, sizes[0], generated, sizes[1])
    torch.testing.assert_close(
        losses.gradient_penalty(ours.discriminator, part, other, share),
        expected.sum().double(),
        rtol=1e-6,
        atol=0,
    )


def test_figures_of_a_run_of_stock_s() -> None:
    """What `stock_losses` said of `FIRST` with these weights and inputs, for those without stock."""
    ours = network(FIRST)
    terms = {
        **ours.generator_step(FEATURES, LENGTHS).terms,
        **ours.discriminator_step(FEATURES, LENGTHS, TEXT, TEXT_LENGTHS).terms,
    }
    assert {name: round(float(value), 4) for name, value in terms.items()} == STOCK
