"""wav2vec 2.0 in training: what is dropped, what an update ends or forgets, where gradients are recorded."""

from dataclasses import replace

import pytest
import torch
from wav2vec2s import LARGE_STYLE, STILL, noise, tiny_wav2vec2

from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.quantizers.base import CodeStats
from vqw2v_plugin.modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from vqw2v_plugin.modules.wav2vec2.positions import PositionConv
from vqw2v_plugin.modules.wav2vec2.targets import _together, quantize


def test_a_dropped_layer_is_passed_by_with_gradients_of_zero_and_one_coin_for_an_update_s_batch() -> None:
    network = tiny_wav2vec2(encoder_layers=6, encoder_layerdrop=0.5).train()
    wav = noise(900)[None]

    def gone(update: int, batches: int = 1) -> list[list[bool]]:
        found = []
        network.set_num_updates(update)
        for _ in range(batches):
            network.set_num_updates(update)  # which fairseq says for each batch
            network.zero_grad()
            network.objective(wav, seeds=[1]).loss.backward()
            grads = [layer.fc1.weight.grad for layer in network.transformer.layers]
            assert all(grad is not None for grad in grads)
            found.append([not bool(grad.any()) for grad in grads])
        return found

    torch.manual_seed(5)
    first = gone(1, 3)
    torch.manual_seed(5)
    torch.rand(7)  # what another rank has drawn meanwhile
    assert gone(2, 3) == first and first[0] != first[1]
    torch.manual_seed(6)
    assert gone(3, 3) != first
    shares = []
    for i in range(40):
        torch.manual_seed(100 + i)
        shares += network.transformer._drawn()
    assert 0.35 < sum(shares) / len(shares) < 0.65
    assert all(network.eval().transformer._drawn())


@pytest.mark.parametrize("name", [name for name in STILL if name != "encoder_layerdrop"])
def test_each_dropout_drops_in_training_alone(name: str) -> None:
    network, wav = tiny_wav2vec2(**{name: 0.5, "quantize_targets": False}), noise(900)[None]
    with torch.no_grad():
        one, two = (float(network.train().objective(wav, seeds=[1]).contrastive) for _ in range(2))
        quiet = [float(network.eval().objective(wav, seeds=[1]).contrastive) for _ in range(2)]
    assert one != two and quiet[0] == quiet[1]


@pytest.mark.parametrize("multiple", [1.0, 0.1, 0.0])
def test_the_encoder_is_recorded_only_where_its_gradient_is_wanted(multiple: float) -> None:
    """Without, nothing of its layers is kept: neither frozen, nor where nobody learns."""
    network = tiny_wav2vec2(feature_grad_mult=multiple)
    recorded: list[bool] = []
    network.encoder.register_forward_hook(lambda module, inputs, made: recorded.append(made[0].requires_grad))
    network.hear(noise(900)[None])
    with torch.no_grad():
        network.hear(noise(900)[None])
    assert recorded == [multiple > 0, False]


@pytest.mark.parametrize("skipped", [False, True])
def test_an_update_ends_in_both_quantizers_or_is_forgotten_by_both(skipped: bool) -> None:
    both = {"quantize_input": True, "quantizer": "kmeans", "quantizer_args": '{"ema_decay": 0.5}'}
    network = tiny_wav2vec2(**both).train()
    books = [part.codebook.entries for part in (network.quantizer, network.input_quantizer)]
    before = [book.clone() for book in books]
    found = network.objective(noise(900)[None], seeds=[1])
    assert found.quantized.codes.size(1) == found.num_predictions < found.num_frames  # the targets'
    if skipped:
        network.discard_update()
    network.set_num_updates(1)
    assert [torch.equal(*pair) for pair in zip(books, before, strict=True)] == [skipped] * 2
    assert (network.signs.shares() is None) == skipped != bool(network.health.window.any())


KMEANS = {"quantize_input": True, "quantizer": "kmeans"}


def test_the_end_of_an_update_is_that_of_what_it_showed() -> None:
    """Also of a model whose codes are those of what it hears: then these are counted."""
    for both in ({}, {"quantize_targets": False}):
        network = tiny_wav2vec2(**KMEANS, **both).train()
        found = network.objective(noise(900)[None], seeds=[1])
        assert network.signs.shares() is None and not network.health.window.any()
        network.set_num_updates(1)
        frames = found.num_frames if both else found.num_predictions
        codes = found.quantized.codes
        assert codes.size(1) == frames and network.health.window.sum(1).tolist() == [found.num_frames] * 2
        shares = network.signs.shares()
        assert shares is not None and shares[0] == int(found.num_correct) / found.num_predictions


@torch.no_grad()
def test_each_of_two_quantizers_has_its_own_loss_in_the_objective() -> None:
    network, wav = tiny_wav2vec2(**KMEANS).eval(), noise(900)[None]
    heard = network.hear(wav)
    targets, inputs = (
        quantize(part, heard.z, heard.frames).loss for part in (network.quantizer, network.input_quantizer)
    )
    assert not torch.isclose(targets, inputs)
    found = network.objective(wav, seeds=[1], weights=(0.5, 0.0))
    torch.testing.assert_close(found.quantizer, 0.5 * found.num_predictions * (targets + inputs))
    torch.testing.assert_close(found.loss, found.contrastive + found.quantizer)


def test_codes_of_both_quantizers_begin_anew() -> None:
    network = tiny_wav2vec2(**KMEANS)
    books = [part.codebook.entries for part in (network.quantizer, network.input_quantizer)]
    before = [book.clone() for book in books]
    network.seed_codes([noise(900)[None], noise(700, 1)[None]], 1, True)
    assert [torch.equal(*pair) for pair in zip(books, before, strict=True)] == [False] * 2


@torch.no_grad()
def test_the_states_of_the_first_layers_are_the_same_without_the_others() -> None:
    """Of norms before the blocks too, where the last layer's states alone are normed once more."""
    for style in ({}, LARGE_STYLE):
        network, wav = tiny_wav2vec2(encoder_layers=3, **style).eval(), noise(900)[None]
        whole, _ = network.states(wav)
        for depth in (0, 1, 2, 3):
            some, _ = network.states(wav, depth=depth)
            assert len(some) == depth + 1
            for one, other in zip(some, whole, strict=False):
                torch.testing.assert_close(one, other)


def test_a_perplexity_of_utterances_is_a_mean_over_their_frames() -> None:
    parts = [
        CodeStats(torch.tensor([[count, 0]]), torch.tensor([soft]), 0.5)
        for count, soft in ((1, 2.0), (3, 6.0))
    ]
    found = _together(parts, [0.25, 0.75])
    assert found.counts.tolist() == [[4, 0]] and found.temperature == 0.5
    assert found.prob_perplexity is not None and found.prob_perplexity.tolist() == [5.0]
    assert _together([parts[0], replace(parts[1], prob_perplexity=None)], [0.5, 0.5]).prob_perplexity is None


@torch.no_grad()
def test_utterances_of_unequal_lengths_are_quantized_by_themselves_and_their_loss_is_by_frame() -> None:
    torch.manual_seed(0)
    quantizer = KmeansQuantizer(8, KmeansConfig(vq_vars=4, vq_groups=2)).eval()
    assert not quantizer.by_frame
    z = torch.cat([torch.zeros(10, 8), torch.randn(90, 8)])
    short, long = (quantizer(part[None]) for part in (z[:10], z[10:]))
    assert not torch.isclose(short.loss, long.loss, rtol=0.2)
    found = quantize(quantizer, z, [10, 90])
    torch.testing.assert_close(found.loss, 0.1 * short.loss + 0.9 * long.loss)
    torch.testing.assert_close(found.x, torch.cat([short.x, long.x], 1))
    assert torch.equal(found.codes, torch.cat([short.codes, long.codes], 1))
    assert torch.equal(found.stats.counts, short.stats.counts + long.stats.counts)


@torch.no_grad()
def test_what_the_first_layer_hears_is_dropped_too() -> None:
    network = tiny_wav2vec2(dropout=0.5).train()
    first = network.transformer.states(torch.randn(200, 24), [200], 0)
    assert len(first) == 1 and 0.4 < float((first[0] == 0).float().mean()) < 0.6
    assert not bool((network.eval().transformer.states(torch.randn(200, 24), [200], 0)[0] == 0).any())


@torch.no_grad()
def test_weights_are_those_of_base_where_none_are_said() -> None:
    network, wav = tiny_wav2vec2().eval(), noise(900)[None]
    plain = network.objective(wav, seeds=[1])
    said, ones = (network.objective(wav, seeds=[1], weights=pair) for pair in ((0.1, 10.0), (1.0, 1.0)))
    assert plain.loss == said.loss and plain.penalty == said.penalty != ones.penalty
    assert plain.quantizer == said.quantizer != ones.quantizer


@torch.no_grad()
def test_positions_begin_with_the_weights_that_were_drawn() -> None:
    """As torch's weight norm has it: each tap's norm is at first its own."""
    conv = PositionConv(24, 8, 4)
    torch.testing.assert_close(conv.weight, conv.direction)
    conv.direction[..., 3] *= 5
    torch.testing.assert_close(torch.linalg.vector_norm(conv.weight, dim=(0, 1)), conv.norm.flatten())


@pytest.mark.parametrize("known", [True, False])
def test_quantizers_that_begin_anew_are_told_whether_they_know_the_encoder(known: bool) -> None:
    network, wav, told = tiny_wav2vec2(**KMEANS).train(), noise(900)[None], []
    for part in (network.quantizer, network.input_quantizer):
        part.seed_codes = lambda *given: told.append(given)
    network.seed_codes([wav], 7, known)
    assert len(told) == 2 and network.training
    for (frames,), *others in told:
        assert others == [7, known] and torch.equal(frames, network.eval().hear(wav).z[None])


@torch.no_grad()
def test_a_model_s_codes_are_its_targets_or_else_what_it_hears() -> None:
    wav = noise(900)[None]
    for targets in (True, False):
        network = tiny_wav2vec2(**KMEANS, quantize_targets=targets).eval()
        part = network.quantizer if targets else network.input_quantizer
        assert torch.equal(network.encode(wav), part.encode(network.hear(wav).z[None]))
        assert network.coder is part and network.has_codes and network.chance == 1 / 6


def test_what_varies_is_what_varies_within_an_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    network, levels = tiny_wav2vec2().train(), torch.randn(2, 24)
    rows = levels[:, :16].repeat_interleave(44, 0)
    monkeypatch.setattr(network.encoder, "forward", lambda wav, lengths: (rows, [44, 44]))
    monkeypatch.setattr(
        network.transformer,
        "forward",
        lambda x, frames, masked: levels.repeat_interleave(torch.tensor(masked.counts), 0),
    )
    network.objective(torch.zeros(2, 900), seeds=[1, 2])
    network.set_num_updates(1)
    shares = network.signs.shares()
    assert shares is not None and shares[1:] == pytest.approx((0, 0), abs=1e-5)


@torch.no_grad()
def test_k_means_has_the_weight_of_its_paper_where_none_is_said() -> None:
    """Which is 1; 0.1 is for those that have none of their own."""
    network, wav = tiny_wav2vec2(quantizer="kmeans").eval(), noise(900)[None]
    plain, said = (network.objective(wav, seeds=[1], weights=(weight, 10.0)) for weight in (None, 1.0))
    assert plain.quantizer == said.quantizer and plain.loss == said.loss


def test_evaluation_counts_no_codes_and_shows_no_signs() -> None:
    network = tiny_wav2vec2().eval()
    network.objective(noise(900)[None], seeds=[1])
    network.set_num_updates(1)
    assert network.signs.shares() is None and not network.health.window.any()


@pytest.mark.parametrize("frames", [[100], [60, 40]])
@torch.no_grad()
def test_what_a_quantizer_that_looks_beyond_a_frame_hears_is_changed_too(frames: list[int]) -> None:
    """As by dropout."""
    torch.manual_seed(0)
    quantizer, z = KmeansQuantizer(8, KmeansConfig(vq_vars=4, vq_groups=2)).eval(), torch.randn(100, 8)
    found = quantize(quantizer, z, frames, Rows(torch.tensor([3, 70]), [1, 1]), lambda z: z.flip(1))
    whole = quantize(quantizer, z.flip(1), frames)
    assert torch.equal(found.codes, whole.codes[:, [3, 70]]) and torch.equal(found.x, whole.x[:, [3, 70]])
    assert not torch.equal(found.x, quantize(quantizer, z, frames).x[:, [3, 70]])
