"""Our network against stock fairseq's own classes: the same weights, the same noise, the same negatives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("fairseq")
from fairseq.criterions.wav2vec_criterion import Wav2vecCriterion
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel

from vqw2v_plugin.checkpoints.stock_wav2vec import wav2vec_settings_of_stock, wav2vec_weights_of_stock
from vqw2v_plugin.checkpoints.wav2vec import build_network
from vqw2v_plugin.modules.wav2vec.contrastive import contrastive_loss, sample_negatives
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

SMALL = {
    "conv_feature_layers": "[(32, 10, 5), (32, 8, 4), (32, 4, 2), (32, 4, 2), (32, 1, 1)]",
    "conv_aggregator_layers": "[(32, 2, 1), (32, 3, 1), (48, 4, 1)]",
    "vq_vars": 20,
    "vq_depth": 2,
    "prediction_steps": 5,
    "infonce": False,
}
# each row changes the numbers in its own way
VARIANTS: dict[str, dict[str, Any]] = {
    "wav2vec": {"vq_type": "none"},
    "gumbel": {"vq_type": "gumbel"},
    "gumbel, one layer": {"vq_type": "gumbel", "vq_depth": 1},
    "gumbel, three layers": {"vq_type": "gumbel", "vq_depth": 3, "vq_groups": 4},
    "gumbel, shared codebook": {"vq_type": "gumbel", "combine_groups": True, "activation": "gelu"},
    "kmeans": {"vq_type": "kmeans"},
    "kmeans, shared codebook": {"vq_type": "kmeans", "combine_groups": True, "vq_gamma": 0.5},
    "no log": {"vq_type": "kmeans", "log_compression": False},
    "gelu and log": {"vq_type": "none", "activation": "gelu"},
    "encoder skips": {"vq_type": "none", "skip_connections_feat": True, "residual_scale": 0.3},
    "no context skips": {"vq_type": "gumbel", "skip_connections_agg": False},
    "zero padding": {"vq_type": "none", "agg_zero_pad": True, "no_conv_bias": True},
    "plain norm": {"vq_type": "kmeans", "non_affine_group_norm": True},
    "offset": {"vq_type": "none", "offset": "1"},
    "balanced": {"vq_type": "none", "balanced_classes": True},
    "infonce": {"vq_type": "gumbel", "infonce": True},
    "projected, same": {
        "vq_type": "none",
        "project_features": "same",
        "conv_aggregator_layers": "[(32, 2, 1), (32, 3, 1)]",
    },
    "projected, new": {
        "vq_type": "none",
        "project_features": "new",
        "conv_aggregator_layers": "[(32, 2, 1), (32, 3, 1)]",
    },
}


def pair(
    variant: dict[str, Any], base: dict[str, Any] = SMALL
) -> tuple[Wav2VecModel, VqWav2Vec, Wav2VecConfig]:
    torch.manual_seed(7)
    config = Wav2VecConfig()
    for name, value in {**base, **variant}.items():
        setattr(config, name, value)
    stock = Wav2VecModel(config)
    ours = build_network(wav2vec_settings_of_stock(vars(config)))
    ours.load_state_dict(wav2vec_weights_of_stock(stock.state_dict(), ours))
    return stock, ours, config


def fix_negatives(stock: Wav2VecModel, rows: Tensor) -> None:
    """Makes stock gather our negatives [B, T, N] in its own layout [N, B, C, T]."""

    def gather(y: Tensor) -> Tensor:
        return y.transpose(1, 2).flatten(0, 1)[rows].permute(2, 0, 3, 1)

    stock.wav2vec_predictions.sample_negatives = gather


def relative(ours: Tensor, stock: Tensor) -> float:
    return float((ours - stock).abs().max() / stock.abs().max().clamp_min(1e-12))


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    yield VARIANTS[request.param]


def test_features_equal_stock(variant: dict[str, Any]) -> None:
    stock, ours, _ = pair(variant)
    wav = torch.randn(3, 4000) * 0.1
    stock.eval(), ours.eval()
    with torch.no_grad():
        z = stock.feature_extractor(wav)
        mine = ours.features(wav)
        assert relative(mine.z.transpose(1, 2), z) <= 1e-5
        if stock.vector_quantizer is not None:
            z, codes = stock.vector_quantizer.forward_idx(z)
            assert torch.equal(mine.quantized.codes, codes)
            assert relative(mine.quantized.x.transpose(1, 2), z) <= 1e-5
        assert relative(mine.c.transpose(1, 2), stock.feature_aggregator(z)) <= 1e-5


def test_losses_and_all_gradients_equal_stock(variant: dict[str, Any]) -> None:
    stock, ours, config = pair(variant)
    wav = torch.randn(2, 4000) * 0.1
    frames = ours.encoder.geometry.frames(4000)
    rows = sample_negatives(2, frames, config.num_negatives)
    fix_negatives(stock, rows)
    weight = 0.0 if config.vq_type == "none" else 0.7
    criterion = Wav2vecCriterion(None, config.infonce, [weight] if weight else None)

    torch.manual_seed(3)  # stock's Gumbel noise and ours come from the same draws
    sample = {"net_input": {"source": wav}, "id": torch.arange(2)}
    loss, size, log = criterion(stock, sample)
    loss.backward()

    torch.manual_seed(3)
    out = ours.contrast(wav, rows)
    mine = contrastive_loss(out.scored, config.infonce, config.balanced_classes)
    assert out.scored.num_predictions == size
    if weight:
        assert relative(mine.detach(), torch.tensor(log["loss_0"])) <= 1e-5
        scale = config.vq_vars * config.vq_groups if config.vq_type == "gumbel" else 1
        mine = mine + weight * size * scale * out.quantized.loss
    mine.backward()
    assert relative(mine.detach(), loss.detach()) <= 1e-5
    expected = wav2vec_weights_of_stock({n: p.grad for n, p in stock.named_parameters()}, ours)
    for name, parameter in ours.named_parameters():
        assert relative(parameter.grad, expected[name]) <= 2e-4, name


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"quantizer": "gumbel", "combine_groups": True, "prediction_steps": 12}, 34_063_488),
        ({"quantizer": "kmeans", "combine_groups": True, "prediction_steps": 12}, 33_014_272),
        ({"quantizer": "gumbel", "prediction_steps": 12}, 34_145_408),
        ({"quantizer": "kmeans", "prediction_steps": 12}, 33_096_192),
        ({"quantizer": "gumbel", "combine_groups": True}, 33_014_912),
        ({"quantizer": "kmeans", "combine_groups": True}, 31_965_696),
    ],
)
def test_parameter_counts_are_the_published_ones(settings: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        network = build_network({**settings, "max_update": 1})
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("num_clips", [3, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("vq_type", ["gumbel", "kmeans"])
def test_codes_of_real_speech_equal_stock_where_fp64_tells_them_apart(
    vq_type: str, num_clips: int, real_data: Path
) -> None:
    """The 33 M model on recorded clips; every difference must be a near-tie in fp64, and rare."""
    sf = pytest.importorskip("soundfile")
    stock, ours, _ = pair(
        {"vq_type": vq_type, "combine_groups": True, "vq_depth": 2}, base={"infonce": False}
    )
    stock.eval(), ours.eval()
    exact = build_network(vars(ours.config)).double().eval()
    exact.load_state_dict({k: v.double() for k, v in ours.state_dict().items()})
    different = total = 0
    for path in sorted((real_data / "so762_std" / "flac").rglob("*.flac"))[:num_clips]:
        wav = torch.from_numpy(sf.read(path, dtype="float32")[0][None])
        with torch.no_grad():
            theirs = stock.vector_quantizer.forward_idx(stock.feature_extractor(wav))[1]
            differ = ours.encode(wav) != theirs
            total += differ.numel()
            different += int(differ.sum())
            if differ.any():
                assert margins(exact, wav)[differ].max() <= 1e-5
    print(f"{vq_type}: {different} of {total:,} codes differ from stock's")
    assert total > 1000 and different <= total / 1000


def margins(network: VqWav2Vec, wav: Tensor) -> Tensor:
    """How far, relatively, the best code's score is from the second best [B, T, G]."""
    z = network.encoder(wav.double())
    quantizer = network.quantizer
    if hasattr(quantizer, "logits"):
        scores = quantizer.logits(z)
    else:
        parts = quantizer.project(z).unflatten(-1, (quantizer.num_groups, -1))
        entries = quantizer.codebook.entries.expand(quantizer.num_groups, -1, -1)
        scores = -torch.stack([torch.cdist(parts[0, :, g], entries[g]) for g in range(len(entries))], 1)[None]
    best = scores.topk(2, -1).values
    return (best[..., 0] - best[..., 1]).abs() / best.abs().amax(-1).clamp_min(1e-12)


def test_stock_lets_the_positive_through_and_ours_does_not() -> None:
    """Why training is not compared step by step: one in T of stock's negatives is the positive."""
    stock, _, _ = pair({"vq_type": "none"})
    frames = 50
    y = torch.arange(frames, dtype=torch.float32).view(1, 1, frames).expand(1, 32, frames)
    drawn = torch.cat([stock.wav2vec_predictions.sample_negatives(y)[:, 0, 0] for _ in range(60)])  # [N, T]
    assert (drawn == torch.arange(frames)).any()
    rows = sample_negatives(1, frames, 600)[0]  # [T, N]
    assert not (rows == torch.arange(frames)[:, None]).any()


def test_recurrent_context_recurs_over_time() -> None:
    _, ours, _ = pair({"vq_type": "none", "aggregator": "cnn"})
    recurrent = build_network({**vars(ours.config), "aggregator": "gru", "gru_dim": 8}).eval()
    wav = torch.randn(2, 4000)
    with torch.no_grad():
        together, alone = recurrent.features(wav).c, recurrent.features(wav[:1]).c
    torch.testing.assert_close(together[:1], alone)


def test_contrast_can_quantize_after_the_context_network() -> None:
    _, ours, _ = pair({"vq_type": "kmeans"})
    late = build_network({**vars(ours.config), "quantizer_position": "context", "vq_dim": 48})
    wav = torch.randn(2, 4000)
    states = late.features(wav)
    assert torch.equal(states.quantized.codes, late.quantizer.encode(states.c))
    assert torch.equal(late.eval().encode(wav), late.features(wav).quantized.codes)
    out = late.contrast(wav)
    (contrastive_loss(out.scored) + out.quantized.loss).backward()
    assert all(
        p.grad is not None and F.normalize(p.grad.flatten(), dim=0).norm() > 0 for p in late.parameters()
    )
