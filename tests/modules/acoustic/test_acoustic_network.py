"""The acoustic network: normalised, masked in training, in float32 where it counts, and able to learn."""

import pytest
import torch
from torch import Tensor

from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.acoustic.conv_stack import ARCHS
from vqw2v_plugin.modules.acoustic.ctc import CTC
from vqw2v_plugin.modules.acoustic.network import AcousticConfig, AcousticModel, AcousticOutput, normalized
from vqw2v_plugin.modules.layers.masks import SpecMasks

LOSSES = {"ctc": CTC, "asg": lambda: ASG(7)}
TARGETS, TARGET_LENGTHS = torch.tensor([[1, 2, 3, 2, 4], [5, 1, 6, 0, 0]]), torch.tensor([5, 3])


def model(loss: str = "ctc", **options: object) -> AcousticModel:
    torch.manual_seed(0)
    return AcousticModel(AcousticConfig(5, 7, "[(16, 5, 2), (16, 3)]", **options), LOSSES[loss]())  # type: ignore[arg-type]


def batch(lengths: tuple[int, ...] = (40, 26)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 3 + 2 * torch.randn(len(lengths), max(lengths), 5, generator=generator), torch.tensor(lengths)


def test_each_feature_of_an_utterance_has_mean_0_and_variance_1() -> None:
    x, lengths = batch()
    x[1, 26:] = float("nan")
    y = normalized(x, lengths)
    for row, n in zip(y, (40, 26), strict=True):
        torch.testing.assert_close(row[:n].mean(0), torch.zeros(5), atol=1e-5, rtol=0)
        torch.testing.assert_close(row[:n].var(0, unbiased=False), torch.ones(5), atol=1e-3, rtol=0)
        assert not row[n:].any()
    torch.testing.assert_close(normalized(7 * x - 2, lengths), y, atol=1e-3, rtol=0)
    assert not normalized(torch.full((1, 4, 2), 3.0), torch.tensor([4])).any()  # a constant is its own mean


@pytest.mark.parametrize("normalize", ["utterance", "none"])
def test_a_padded_batch_is_each_utterance_alone(normalize: str) -> None:
    network = model(normalize=normalize).eval().double()
    x, lengths = batch((40, 26, 1, 9))
    with torch.no_grad():
        out = network(x.double(), lengths)
        for i, n in enumerate(lengths.tolist()):
            alone = network(x[i : i + 1, :n].double(), lengths[i : i + 1])
            frames = int(alone.lengths)
            assert frames == int(out.lengths[i]) == network.frames(n) == -(-n // network.stride)
            torch.testing.assert_close(out.emissions[i, :frames], alone.emissions[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_halved_model_scores_and_loses_in_float32(loss: str, dtype: torch.dtype) -> None:
    network, halved = model(loss), model(loss).to(dtype)
    x, lengths = batch()
    out = halved(x, lengths)
    losses = halved.sequence_loss(out.emissions, out.lengths, TARGETS, TARGET_LENGTHS)
    assert out.emissions.dtype == losses.dtype == torch.float32
    losses.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in halved.parameters())
    expected = network(x, lengths)
    wide = network.sequence_loss(expected.emissions, expected.lengths, TARGETS, TARGET_LENGTHS)
    torch.testing.assert_close(losses, wide, rtol=0.02, atol=0)


def test_features_of_16_bit_are_normalised_in_32() -> None:
    """Squares of a thousand are more than fp16 holds."""
    network, (x, lengths) = model().eval(), batch()
    loud = (1000 * x).half()
    with torch.no_grad():
        found = network(loud, lengths).emissions
        torch.testing.assert_close(found, network(loud.float(), lengths).emissions)


def test_what_is_masked_is_the_mean_and_changes_no_other_frame() -> None:
    network, (x, lengths) = model(masks=SpecMasks(time_masks=2, time_mask_width=9)).train(), batch()
    heard: list[Tensor] = []
    network.stack.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    network(x, lengths)
    hidden = (heard[0] == 0).all(2)
    assert 0 < hidden.sum() < hidden.numel()
    expected = normalized(x, lengths).masked_fill(hidden.unsqueeze(2), 0.0)
    assert torch.equal(heard[0], expected)


def test_masks_are_of_training_alone() -> None:
    network = model(masks=SpecMasks(time_masks=3, feature_masks=1))
    x, lengths = batch()
    with torch.no_grad():
        assert not torch.equal(network(x, lengths).emissions, network(x, lengths).emissions)
        network.eval()
        assert torch.equal(network(x, lengths).emissions, network(x, lengths).emissions)


def test_what_it_gives_leads_back_to_every_parameter() -> None:
    """DDP looks for parameters in use from the result on, before any loss is known."""
    out: AcousticOutput = model("asg")(*batch())
    assert out.transitions is not None
    found, left = set(), [out.emissions.grad_fn, out.transitions.grad_fn]
    while left:
        node = left.pop()
        if hasattr(node, "variable"):
            found.add(tuple(node.variable.shape))
        left += [following for following, _ in node.next_functions if following is not None]
    assert (7, 7) in found and (16, 5, 5) in found
    assert model("ctc")(*batch()).transitions is None


@pytest.mark.parametrize("loss", LOSSES)
def test_the_tiny_stack_learns_two_utterances_by_heart(loss: str) -> None:
    torch.manual_seed(0)
    spec, activation, norm, drop = ARCHS["vq_wav2letter_tiny"]
    network = AcousticModel(AcousticConfig(5, 7, spec, activation, norm, drop), LOSSES[loss]())
    x, lengths = batch((40, 28))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        out = network(x, lengths)
        network.sequence_loss(out.emissions, out.lengths, TARGETS, TARGET_LENGTHS).sum().backward()
        optimizer.step()
    network.eval()
    out = network(x, lengths)
    best = network.sequence_loss.best_path(out.emissions, out.lengths).sequences()
    assert best == [[1, 2, 3, 2, 4], [5, 1, 6]]
    assert network.transitions is None or bool(network.transitions.abs().sum() > 0)


def test_wrong_input_and_wrong_options_are_named() -> None:
    x, lengths = batch()
    with pytest.raises(ValueError, match=r"`features` are \[2, 40, 4\]; expected \[batch, frames, 5\]"):
        model()(x[..., :4], lengths)
    with pytest.raises(ValueError, match=r"`features` are \[2, 0, 5\]; expected \[batch, frames, 5\]"):
        model()(x[:, :0], 0 * lengths)
    with pytest.raises(ValueError, match=r"`features` are \[40, 5\]; expected \[batch, frames, 5\]"):
        model()(x[0], lengths)
    with pytest.raises(
        ValueError, match="`normalize_features` is 'speaker'; expected one of utterance, none"
    ):
        model(normalize="speaker")
    with pytest.raises(ValueError, match=r"`dropout` is 1\.0"):
        model(dropout=1.0)
    with pytest.raises(ValueError, match="`in_dim` is 0"):
        AcousticModel(AcousticConfig(0, 7), CTC())
    with pytest.raises(ValueError, match="`num_columns` is 0"):
        AcousticModel(AcousticConfig(5, 0), CTC())


def test_what_hardly_varies_is_normed_by_its_epsilon() -> None:
    x = 1e-3 * batch((40,))[0]  # a variance of some 4e-6 beside an epsilon of 1e-5
    expected = (x - x.mean(1)) / (x.var(1, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(normalized(x, torch.tensor([40])), expected, atol=1e-6, rtol=1e-4)


def test_a_frame_of_emissions_sees_so_many_of_them_however_few_of_the_last() -> None:
    """5 + 2 · 2 frames of features, of which two are one of emissions."""
    assert model().receptive_field == 5 and model().stride == 2


def test_who_says_nothing_gets_the_small_stack_without_masks_or_dropout() -> None:
    config = AcousticConfig(5, 7)
    assert (config.layers, config.activation) == (ARCHS["vq_wav2letter_tiny"].conv_layers, "relu")
    assert (config.norm, config.dropout, config.normalize) == ("layer", 0.0, "utterance")
    assert config.masks == SpecMasks()


def test_settings_of_the_model_reach_its_blocks() -> None:
    config = AcousticConfig(5, 7, "[(16, 5, 2), (16, 3, 1, 1, 0.5)]", "prelu", "weight", dropout=0.3)
    first, second = AcousticModel(config, CTC()).stack.blocks
    for block in (first, second):
        assert isinstance(block.activation, torch.nn.PReLU) and block.norm is None
        assert hasattr(block.conv, "parametrizations")
    assert (first.layer.dropout, second.layer.dropout) == (0.3, 0.5)
    assert isinstance(model(norm="layer").stack.blocks[0].norm, torch.nn.LayerNorm)
