"""With stock fairseq's weights, masks and distractors: its codes, scores, layers, losses and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from wav2vec2s import LARGE_STYLE, TINY, even_draws, noise

pytest.importorskip("fairseq")
from fairseq.criterions.wav2vec_criterion import Wav2vecCriterion
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config as StockConfig
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Model

from vqw2v_plugin.checkpoints.stock_wav2vec2 import wav2vec2_settings_of_stock, wav2vec2_weights_of_stock
from vqw2v_plugin.checkpoints.wav2vec2 import make_wav2vec2
from vqw2v_plugin.modules.wav2vec2.config import Wav2Vec2Config
from vqw2v_plugin.modules.wav2vec2.draws import Draws
from vqw2v_plugin.modules.wav2vec2.network import Wav2Vec2

SAMPLES, MASKED = 900, 19
BOTH = {"quantize_input": True, "quantize_targets": True}
CASES: dict[str, dict[str, Any]] = {
    "BASE": {},
    "LARGE": LARGE_STYLE,
    "all of the gradient": {"feature_grad_mult": 1.0},
    "a frozen encoder": {"feature_grad_mult": 0.0},
    "continuous, continuous": {"quantize_targets": False},
    "quantized, continuous": {"quantize_targets": False, "quantize_input": True},
    "quantized, quantized": BOTH,
    "by the same": {**BOTH, "same_quantizer": True, "latent_dim": 12},
    "without a projection": {"encoder_embed_dim": 16},
    "a deep head": {"quantizer_depth": 2},
    "one size": {"final_dim": 0, "latent_dim": 8, "conv_pos": 7},
}


def pair(**settings: Any) -> tuple[Wav2Vec2Model, Wav2Vec2]:
    torch.manual_seed(3)
    options = {"quantize_targets": True, "feature_grad_mult": 0.1, **TINY, **settings}
    config = StockConfig()
    for name, value in {**options, "latent_temp": (2.0, 0.5, 0.9)}.items():
        setattr(config, name, value)
    stock = Wav2Vec2Model(config)
    for name, p in stock.named_parameters():
        if "norm" in name or name.endswith("bias"):  # which begin alike
            torch.nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.0, 0.2)
    ours = make_wav2vec2(Wav2Vec2Config(**wav2vec2_settings_of_stock(vars(config))))
    missing, foreign = ours.load_state_dict(
        wav2vec2_weights_of_stock(stock.state_dict(), ours.config), strict=False
    )
    assert not foreign and all(name.startswith("health.") for name in missing)
    return stock, ours


def give(stock: Wav2Vec2Model, draws: Draws, batch: int) -> Tensor:
    """Makes stock use these distractors; its mask [B, T]."""
    frames = (SAMPLES - 30) // 20 + 1
    mask = torch.zeros(batch * frames, dtype=torch.bool)
    mask[draws.masked.index] = True

    def sample_negatives(y: Tensor, num: int, padding_count: Any = None) -> tuple[Tensor, None]:
        rows = y.reshape(-1, y.size(-1))[draws.distractors]  # [B·K, D, C]
        return rows.view(batch, -1, *rows.shape[1:]).permute(2, 0, 1, 3), None

    stock.sample_negatives = sample_negatives
    return mask.view(batch, frames)


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_step_is_stock_s(settings: dict[str, Any]) -> None:
    stock, ours = pair(**settings)
    draws = even_draws(2, (SAMPLES - 30) // 20 + 1, MASKED, ours.config)
    wav = torch.stack([noise(SAMPLES, i) for i in range(2)])
    sample = {"id": torch.arange(2), "net_input": {"source": wav, "mask_indices": give(stock, draws, 2)}}
    apart = ours.input_quantizer is not None and ours.config.quantize_targets  # ours would count both
    diversity = 0.0 if apart else 0.1
    has_codes = stock.quantizer or stock.input_quantizer
    weights = [diversity, 10.0] if has_codes else [10.0]
    criterion = Wav2vecCriterion(None, infonce=True, loss_weights=weights)
    ours.train().set_num_updates(7)
    for part in filter(None, (stock.train().quantizer, stock.input_quantizer)):
        part.set_num_updates(7)
    torch.manual_seed(11)
    loss, size, logs = criterion(stock, sample)
    torch.manual_seed(11)
    found = ours.objective(wav, weights=(diversity, 10.0), draws=draws)
    assert size == found.num_predictions == 2 * MASKED
    terms = [found.contrastive, *([] if found.quantizer is None else [found.quantizer]), found.penalty]
    for i, term in enumerate(terms):
        assert float(term.detach()) == pytest.approx(logs[f"loss_{i}"], rel=1e-5), i
    torch.testing.assert_close(found.loss, loss, rtol=1e-5, atol=1e-4)
    loss.backward()
    found.loss.backward()
    wanted = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in stock.named_parameters()}
    own = dict(ours.named_parameters())
    for name, grad in wav2vec2_weights_of_stock(wanted, ours.config).items():
        mine = own[name].grad
        mine = torch.zeros_like(grad) if mine is None else mine
        torch.testing.assert_close(
            mine,
            grad,
            rtol=1e-3,
            atol=1e-4 * float(grad.abs().max()) + 1e-5,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("settings", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
@torch.no_grad()
def test_scores_codes_and_layers_are_stock_s(settings: dict[str, Any]) -> None:
    stock, ours = (each.eval() for each in pair(**settings))
    draws = even_draws(2, (SAMPLES - 30) // 20 + 1, MASKED, ours.config)
    wav = torch.stack([noise(SAMPLES, i) for i in range(2)])
    mask = give(stock, draws, 2)
    wanted = stock(wav, mask_indices=mask)["x"].permute(1, 2, 0).flatten(0, 1)  # [B·K, 1 + D]
    scores, targets, _, _ = ours.scores(ours.hear(wav), draws)
    assert torch.equal(scores.isinf(), wanted.isinf()) and bool(wanted.isinf().any())
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-5)
    codes = stock.quantize(wav)[1]
    assert torch.equal(ours.encode(wav), codes) and len(codes.unique()) > 4
    assert torch.equal(targets.codes[0], codes[mask])
    states, frames = ours.states(wav)
    assert frames == [mask.size(1)] * 2
    for layer in range(2):
        there = stock.extract_features(wav, None, layer=layer)["x"].flatten(0, 1)
        if layer == 1:
            there = stock.extract_features(wav, None)["x"].flatten(0, 1)  # a pre-norm model's with its norm
        torch.testing.assert_close(states[layer + 1], there, rtol=1e-4, atol=1e-5)


def test_right_and_wrong_are_counted_as_stock_s_where_nothing_ties() -> None:
    stock, ours = pair(quantize_targets=False)
    draws = even_draws(2, (SAMPLES - 30) // 20 + 1, MASKED, ours.config)
    wav = torch.stack([noise(SAMPLES, i) for i in range(2)])
    sample = {"id": torch.arange(2), "net_input": {"source": wav, "mask_indices": give(stock, draws, 2)}}
    logs = Wav2vecCriterion(None, infonce=True)(stock, sample)[2]
    assert int(ours.objective(wav, draws=draws).num_correct) == logs["correct"]


def test_both_quantizers_have_a_loss_where_stock_counts_one() -> None:
    _, ours = pair(**BOTH)
    wav = torch.stack([noise(SAMPLES, i) for i in range(2)])
    draws = even_draws(2, (SAMPLES - 30) // 20 + 1, MASKED, ours.config)
    one = ours.eval().objective(wav, weights=(1.0, 0.0), draws=draws)
    expected = one.quantized.loss + ours.projected(ours.hear(wav))[1].loss
    torch.testing.assert_close(one.quantizer, 2 * MASKED * expected)
