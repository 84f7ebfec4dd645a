"""One class an utterance: padding changes nothing, layers are mixed, settings are checked."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqw2v_plugin.modules.utterance.network import NORMALIZE, UtteranceConfig, UtteranceNetwork
from vqw2v_plugin.modules.utterance.pooling import POOLINGS

CONFIG = UtteranceConfig(in_dim=3, num_classes=4, num_layers=2, hidden_dim=5)
DIM = CONFIG.in_dim * CONFIG.num_layers


def network(config: UtteranceConfig = CONFIG) -> UtteranceNetwork:
    torch.manual_seed(0)
    made = UtteranceNetwork(config).double().eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p) * 0.5)
    made.fit(torch.randn(DIM), torch.rand(DIM) + 0.1)
    return made


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    more=st.integers(0, 5),
    garbage=st.sampled_from([0.0, 1e6, torch.nan]),
    pooling=st.sampled_from(sorted(POOLINGS)),
    normalize=st.sampled_from(NORMALIZE),
)
def test_neighbours_and_padding_change_nothing(
    lengths: list[int], more: int, garbage: float, pooling: str, normalize: str
) -> None:
    """Neither scores nor gradients, whatever stands behind an utterance's end."""
    made = network(replace(CONFIG, pooling=pooling, normalize=normalize))
    rows = [torch.randn(n, DIM, dtype=torch.float64) for n in lengths]
    batch = torch.full((len(rows), max(lengths) + more, DIM), garbage, dtype=torch.float64)
    for row, into in zip(rows, batch, strict=True):
        into[: len(row)] = row
    together = made(batch, torch.tensor(lengths)).logits
    alone = torch.cat([made(row[None], torch.tensor([len(row)])).logits for row in rows])
    torch.testing.assert_close(together, alone)
    weights = torch.randn_like(together)
    for each, whole in zip(
        torch.autograd.grad((alone * weights).sum(), list(made.parameters())),
        torch.autograd.grad((together * weights).sum(), list(made.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(each, whole)


def test_layers_weigh_the_same_at_first_and_what_is_learnt_later() -> None:
    made = UtteranceNetwork(CONFIG)
    assert made.layer_weights().tolist() == [0.5, 0.5]
    with torch.no_grad():
        made.mix.copy_(torch.tensor([0.0, 100.0]))
    x, lengths = torch.randn(1, 6, DIM), torch.tensor([6])
    before = made.eval()(x, lengths).logits
    x[..., :3] = 7.0  # of the first layer
    assert torch.equal(before, made(x, lengths).logits)
    x[..., 3:] = 7.0
    assert not torch.equal(before, made(x, lengths).logits)
    assert UtteranceNetwork(replace(CONFIG, num_layers=1)).layer_weights().tolist() == [1.0]


def test_attention_begins_as_a_mean_and_hears_single_frames_later() -> None:
    mean, attention = (network(replace(CONFIG, pooling=pooling)) for pooling in ("mean", "attention"))
    attention.load_state_dict(mean.state_dict(), strict=False)
    torch.nn.init.zeros_(attention.pooling.worth.weight)
    x, lengths = torch.randn(2, 8, DIM, dtype=torch.float64), torch.tensor([8, 5])
    torch.testing.assert_close(attention(x, lengths).logits, mean(x, lengths).logits)
    torch.nn.init.normal_(attention.pooling.worth.weight, std=50)
    assert not torch.allclose(attention(x, lengths).logits, mean(x, lengths).logits)


def test_features_are_at_mean_0_and_variance_1_of_training() -> None:
    x = 5 + 3 * torch.randn(1, 4000, DIM)
    raw, fitted = UtteranceNetwork(CONFIG), UtteranceNetwork(CONFIG)
    fitted.load_state_dict(raw.state_dict())
    fitted.fit(x[0].mean(0), x[0].var(0))
    standard = (x - x.mean(1)) / x.std(1)
    lengths = torch.tensor([4000])
    torch.testing.assert_close(
        fitted.eval()(x, lengths).logits, raw.eval()(standard, lengths).logits, atol=1e-4, rtol=1e-3
    )


def test_half_precision_answers_in_single() -> None:
    made = UtteranceNetwork(CONFIG).bfloat16().eval()
    assert made(torch.randn(2, 5, DIM), torch.tensor([5, 3])).logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"in_dim": 0}, "`in_dim` is 0; expected at least 1"),
        ({"num_classes": 1}, "`num_classes` is 1; expected at least 2"),
        ({"num_layers": 0}, "`num_layers` is 0; expected at least 1"),
        ({"hidden_dim": 0}, "`hidden_dim` is 0; expected at least 1"),
        ({"num_layers": 1001}, "`num_layers` is 1,001; expected at most"),
        ({"pooling": "max"}, "`pooling` is 'max'; expected mean or attention"),
        ({"normalize": "x"}, "`normalize` is 'x'; expected corpus or utterance or none"),
        ({"dropout": 1.0}, "`dropout` is 1.0; expected a probability"),
    ],
)
def test_wrong_settings_are_explained(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UtteranceNetwork(replace(CONFIG, **given))


def test_other_features_are_explained() -> None:
    with pytest.raises(ValueError, match=r"\[1, 4, 7\]; expected \[batch, frames, 6\]"):
        UtteranceNetwork(CONFIG)(torch.zeros(1, 4, 7), torch.tensor([4]))
    for shape in ((1, 0, 6), (4, 6)):
        with pytest.raises(ValueError, match=r"expected \[batch, frames, 6\]"):
            UtteranceNetwork(CONFIG)(torch.zeros(shape), torch.tensor([0]))


def test_it_is_a_projection_gelu_a_mean_over_time_and_a_linear_layer() -> None:
    made = UtteranceNetwork(UtteranceConfig(3, 4, hidden_dim=5, normalize="none")).double().eval()
    x = torch.randn(7, 3, dtype=torch.float64)
    inner = x @ made.projection.weight.T + made.projection.bias
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    expected = made.classes.weight @ inner.mean(0) + made.classes.bias
    torch.testing.assert_close(made(x[None], torch.tensor([7])).logits[0], expected)


def test_attention_is_a_mean_where_nothing_is_learnt_yet() -> None:
    x, lengths = torch.randn(2, 8, 5), torch.tensor([8, 5])
    attention, mean = (POOLINGS[name](5)(x, lengths) for name in ("attention", "mean"))
    torch.testing.assert_close(attention, mean)


def test_vectors_are_dropped_in_training_alone() -> None:
    made, x, lengths = (
        UtteranceNetwork(replace(CONFIG, dropout=0.5)),
        torch.randn(1, 6, DIM),
        torch.tensor([6]),
    )
    for training in (True, False):
        one, other = (made.train(training)(x, lengths).logits for _ in range(2))
        assert torch.equal(one, other) != training


def test_a_feature_that_hardly_varies_in_training_is_scaled_by_its_epsilon() -> None:
    made = UtteranceNetwork(CONFIG)
    made.fit(torch.zeros(DIM), torch.full((DIM,), 1e-6))
    torch.testing.assert_close(made.scale, torch.full((2, 3), (1e-6 + 1e-5) ** -0.5))


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_an_utterance_without_a_frame_has_scores_too(pooling: str) -> None:
    made = UtteranceNetwork(replace(CONFIG, pooling=pooling)).eval()
    assert made(torch.randn(2, 4, DIM), torch.tensor([4, 0])).logits.isfinite().all()


def test_who_says_nothing_gets_a_mean_of_features_normed_by_training() -> None:
    config = UtteranceConfig(3, 4)
    assert (config.num_layers, config.hidden_dim, config.dropout) == (1, 128, 0.2)
    assert (config.pooling, config.normalize) == ("mean", "corpus")
