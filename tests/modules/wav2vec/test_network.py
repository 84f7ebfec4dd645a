"""The network's two orders: quantizer before or after the context network, and no quantizer at all."""

from collections.abc import Callable

import pytest
import torch

from vqw2v_plugin.modules.layers.conv_spec import ConvGeometry, parse_conv_layers
from vqw2v_plugin.modules.wav2vec.config import VqWav2VecConfig
from vqw2v_plugin.modules.wav2vec.network import ContextQuantized, VqWav2Vec
from vqw2v_plugin.quantizers import build_quantizer, quantizer_names

Tiny = Callable[..., VqWav2Vec]
WAV = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.mark.parametrize("position", ["encoder", "context"])
@pytest.mark.parametrize("quantizer", quantizer_names())
def test_what_predicts_and_what_is_predicted_follow_the_quantizer(
    tiny: Tiny, quantizer: str, position: str
) -> None:
    network = tiny(quantizer=quantizer, quantizer_position=position).eval()
    states = network.features(WAV)
    z = network.encoder(WAV)
    assert torch.equal(states.z, z)
    x = network.quantizer(network.quantizer_input(z)).x
    if position == "encoder":
        assert torch.equal(states.target, x) and states.source is states.c
        assert torch.equal(states.c, network.context(x))
    else:
        assert torch.equal(states.source, x) and states.target is states.z
        assert torch.equal(states.c, network.context(z))
    if network.has_codes:
        assert torch.equal(network.encode(WAV), states.quantized.codes)
    loss = network.objective(WAV, quantizer_weight=1.0).loss
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_settings_are_those_of_the_papers() -> None:
    config = VqWav2VecConfig()
    # vq-wav2vec §4: eight steps, ten negatives; 320 codes a group of two; τ from 2 to 0.5, γ a quarter
    assert (config.prediction_steps, config.num_negatives, config.cross_sample_negatives) == (8, 10, 0)
    assert (config.vq_vars, config.vq_groups, config.vq_depth, config.combine_groups) == (320, 2, 2, False)
    assert (config.vq_temp, config.vq_gamma) == ([2.0, 0.5], 0.25)
    # wav2vec §3.2 and stock: residuals halved in variance, log(1 + |z|), the past's first frame repeated
    assert (config.residual_scale, config.log_compression, config.agg_zero_pad) == (0.5, True, False)
    assert (config.skip_connections_feat, config.skip_connections_agg) == (False, True)
    encoder = parse_conv_layers(config.conv_feature_layers)
    assert ConvGeometry.of(encoder) == ConvGeometry(465, 160) and len(encoder) == 8
    context = parse_conv_layers(config.conv_aggregator_layers)
    assert [layer.kernel for layer in context] == list(range(2, 14))
    assert {layer.dim for layer in (*encoder, *context)} == {512}
    assert (config.dropout, config.dropout_features, config.dropout_agg) == (0.0, 0.0, 0.0)


def test_the_order_is_chosen_in_one_place() -> None:
    config = VqWav2VecConfig(quantizer_position="context", conv_feature_layers="[(8, 4, 2)]")
    made = VqWav2Vec.make(config, lambda dim: build_quantizer("none", dim, {}))
    assert type(made) is ContextQuantized and made.quantize_context
    with pytest.raises(ValueError, match="`quantizer_position` is 'context'"):
        VqWav2Vec(config, lambda dim: build_quantizer("none", dim, {}))


@pytest.mark.parametrize("position", ["encoder", "context"])
def test_without_a_quantizer_nothing_of_one_is_saved_and_codes_are_refused(tiny: Tiny, position: str) -> None:
    network = tiny(quantizer="none", quantizer_position=position)
    kept = {name.partition(".")[0] for name in network.state_dict()}
    assert kept == {"encoder", "context", "predictor"} and not network.has_codes
    network.train().objective(WAV)
    network.set_num_updates(1)  # schedules and counts of codes have nothing to do
    network.discard_update()
    with pytest.raises(
        ValueError, match=r"no quantizer \(wav2vec 1\.0\), so it has no codes; use its z or c"
    ):
        network.encode(WAV)


def test_a_discarded_update_leaves_no_trace(tiny: Tiny) -> None:
    """Neither in the counts of codes nor in a codebook that follows its frames."""
    args = '{"ema_decay": 0.5, "revive_after": 1}'
    network = tiny(quantizer="kmeans", quantizer_args=args).train()
    network.set_num_updates(0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.contrast(torch.randn(2, 3000))
    network.discard_update()
    network.set_num_updates(1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.contrast(torch.randn(2, 3000))
    network.set_num_updates(2)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {"health.window", "quantizer.codebook.entries", "quantizer.upkeep.ema_counts"} <= changed
