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
    # what is ours, or stock's and not the papers', is to be asked for
    assert (config.centred, config.prediction_gain, config.balanced_classes) == (False, 1.0, False)
    assert (config.aggregator, config.gru_dim, config.project_features) == ("cnn", 512, "none")
    assert (config.quantizer, config.quantizer_position, config.offset) == ("none", "encoder", "auto")
    assert (config.no_conv_bias, config.non_affine_group_norm, config.sample_distance) == (False, False, None)


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


@pytest.mark.parametrize("project", ["none", "new"])
def test_a_centred_network_is_centred_from_encoder_to_predictions(tiny: Tiny, project: str) -> None:
    network = tiny(quantizer="kmeans", centred=True, project_features=project)
    network.objective(WAV).loss.backward()
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv1d) and m.weight.size(1) > 1]
    assert len(layers) > 4 and network.predictor.weight.grad is not None
    held = [(m.weight, m.weight.grad, 1) for m in layers] + [
        (network.predictor.weight, network.predictor.weight.grad, 2)
    ]
    for weight, grad, inputs in held:
        assert weight.std() > 1e-3 and weight.sum(inputs).abs().max() < 1e-4
        assert grad is not None and grad.sum(inputs).abs().max() < 1e-3 * grad.abs().sum(inputs).max()
    plain = tiny(quantizer="kmeans", project_features=project)
    assert plain.predictor.weight.sum(2).abs().max() > 1e-2  # so the test can fail


def test_predictions_begin_as_small_as_their_gain_says(tiny: Tiny) -> None:
    whole, tenth = tiny().predictor, tiny(prediction_gain=0.1).predictor
    torch.testing.assert_close(tenth.weight, 0.1 * whole.weight)
    torch.testing.assert_close(tenth.bias, 0.1 * whole.bias)
    assert whole.bias.min() < 0 < whole.bias.max()


def test_settings_of_the_network_reach_its_parts(tiny: Tiny) -> None:
    assert tiny(offset="4").predictor.offset == 4
    recurrent = tiny(aggregator="gru", gru_dim=24)
    assert recurrent.context.dim == 24 and recurrent.features(WAV).c.size(2) == 24
    assert tiny(no_conv_bias=True).context.layers[0].conv.bias is None
    assert tiny(agg_zero_pad=True).context.layers[0].pad_mode == "constant"
    assert not tiny(skip_connections_agg=False).context.layers[0].skip
    bare = tiny(non_affine_group_norm=True)
    assert bare.encoder.blocks[0].norm.weight is None and bare.context.layers[0].norm.weight is None
    scaled = tiny(residual_scale=0.25, skip_connections_feat=True, log_compression=False)
    assert scaled.encoder.residual_scale == scaled.context.layers[0].residual_scale == 0.5
    assert scaled.encoder.skip_connections and not scaled.encoder.log_compression
    smooth = tiny(activation="gelu")
    for block in (smooth.encoder.blocks[0], smooth.context.layers[0]):
        assert isinstance(block.activation, torch.nn.GELU)
    dropped = tiny(dropout=0.25, project_features="new")
    assert dropped.context.layers[0].dropout.p == dropped.predictor.dropout.p == 0.25
    assert dropped.target_context.layers[0].dropout.p == 0.25


def test_targets_through_the_context_network_teach_it_too(tiny: Tiny) -> None:
    network = tiny(quantizer="none", project_features="same").train()
    targets = torch.randn(1, 9, network.quantizer.out_dim, requires_grad=True)
    assert torch.equal(network._project(targets), network.context(targets)) and network.target_context is None
    network._project(targets).sum().backward()
    assert targets.grad is not None


def test_the_end_of_an_update_is_told_its_number(tiny: Tiny) -> None:
    """A run that is resumed after it draws the same, which only the number decides."""
    network, told = tiny(quantizer="kmeans"), []
    network.quantizer.end_update = told.append  # type: ignore[method-assign]
    for number in (0, 3, 3, 4):
        network.set_num_updates(number)
    assert told == [3, 4]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        *[({name: 1.0}, f"`{name}` is 1.0") for name in ("dropout", "dropout_features", "dropout_agg")],
        *[({name: -0.1}, f"`{name}` is -0.1") for name in ("dropout", "dropout_features", "dropout_agg")],
        *[
            ({name: "false"}, f"`{name}` is 'false'; expected true or false")
            for name in ("centred", "no_conv_bias")
        ],
        ({"gru_dim": 0}, "`gru_dim` is 0; expected at least 1"),
        ({"sample_distance": 0}, "`sample_distance` is 0; expected at least 1 frame"),
        ({"prediction_gain": 1.5}, "`prediction_gain` is 1.5"),
        ({"prediction_gain": -0.1}, "`prediction_gain` is -0.1"),
        ({"residual_scale": 0.0}, "`residual_scale` is 0.0"),
        ({"residual_scale": float("inf")}, "`residual_scale` is inf"),
        ({"project_features": "both"}, "`project_features` is 'both'; expected none or same or new"),
        ({"offset": "-1"}, "`offset` is '-1'; expected 'auto' or a number of frames"),
        ({"offset": "9" * 5000}, "`offset` is '99999999999999999999'; expected 'auto' or a number of frames"),
        ({"cross_sample_negatives": -1}, "`cross_sample_negatives` is -1; expected 0 to 10,000"),
        ({"cross_sample_negatives": 2**31}, "`cross_sample_negatives` is 2147483648; expected 0 to 10,000"),
        ({"num_negatives": -1, "cross_sample_negatives": 3}, "`num_negatives` is -1; expected 0 to 10,000"),
        ({"num_negatives": 2**31}, "`num_negatives` is 2147483648; expected 0 to 10,000"),
    ],
)
def test_settings_at_the_edge_of_what_has_a_meaning_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        VqWav2VecConfig(**settings)
    assert says in str(caught.value)
    VqWav2VecConfig(prediction_gain=0.0)


def test_a_quantizer_without_codes_may_have_a_loss(tiny: Tiny) -> None:
    network = tiny(quantizer="none")
    assert network.objective(WAV, quantizer_weight=1.0).quantizer is None
    network.quantizer.loss_weight = 0.5
    found = network.objective(WAV, quantizer_weight=1.0)
    assert found.quantizer is not None and found.quantizer == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("position", ["encoder", "context"])
def test_codes_begin_anew_from_what_the_quantizer_hears(tiny: Tiny, position: str, known: bool) -> None:
    network, told = tiny(quantizer="kmeans", quantizer_position=position, dropout=0.5).train(), []
    network.quantizer.seed_codes = lambda *given: told.append(given)  # type: ignore[method-assign]
    network.seed_codes([WAV[:1], WAV[1:, :900]], 7, known)
    ((frames, *others),) = told
    assert others == [7, known] and network.training
    with torch.no_grad():
        for found, wav in zip(frames, (WAV[:1], WAV[1:, :900]), strict=True):
            z = network.eval().encoder(wav)
            assert torch.equal(found, z if position == "encoder" else network.context(z))


def test_a_guess_is_right_as_often_as_there_are_candidates(tiny: Tiny) -> None:
    assert tiny(num_negatives=3, cross_sample_negatives=4).chance == 1 / 8


def test_a_loss_of_the_quantizer_s_that_weighs_nothing_is_none(tiny: Tiny) -> None:
    found = tiny(quantizer="kmeans").eval().objective(WAV, quantizer_weight=0.0)
    assert found.quantizer is None and found.loss == found.contrastive


@pytest.mark.parametrize(("quantizer", "weight"), [("kmeans", 1.0), ("gumbel", 0.0), ("fsq", 0.0)])
def test_by_default_a_quantizer_s_loss_has_the_weight_of_its_paper(
    tiny: Tiny, quantizer: str, weight: float
) -> None:
    """vq-wav2vec trains gumbel without its diversity (§3.2), and k-means with both of its terms."""
    network = tiny(quantizer=quantizer).eval()
    found = network.objective(WAV)
    assert network.quantizer.loss_weight == weight and (found.quantizer is None) == (weight == 0)
    expected = found.contrastive + weight * found.num_predictions * found.quantized.loss
    torch.testing.assert_close(found.loss, expected)


@pytest.mark.parametrize("position", ["encoder", "context"])
@pytest.mark.parametrize("project", ["none", "same", "new"])
def test_predictions_go_from_the_size_of_what_predicts_to_that_of_what_is_predicted(
    tiny: Tiny, project: str, position: str
) -> None:
    """z has 16 numbers, c has 24, and what is quantized 8."""
    if (project, position) == ("same", "context"):
        return
    settings = {"aggregator": "gru", "gru_dim": 24, "vq_dim": 8, "project_features": project}
    network = tiny(quantizer="kmeans", quantizer_position=position, **settings)
    source, target = (24, 8) if position == "encoder" else (8, 16)
    target = target if project == "none" else 24
    assert network.predictor.weight.shape[1:] == (target, source)
    assert network.objective(WAV).loss.isfinite()


def test_the_loss_is_the_paper_s_binary_one_unless_the_other_is_asked_for(tiny: Tiny) -> None:
    network, losses = tiny(quantizer="none").eval(), []
    for given in ({}, {"infonce": False}, {"infonce": True}):
        torch.manual_seed(3)
        losses.append(float(network.objective(WAV, **given).loss))
    assert losses[0] == losses[1] != losses[2]
