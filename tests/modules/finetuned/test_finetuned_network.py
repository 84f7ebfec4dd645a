"""A fine-tuned network: masks by seeds, what learns when, and utterances that know nothing of each other."""

from dataclasses import asdict, replace

import pytest
import torch
from finetuned import STILL, UNITS, tiny_fine_tuned
from torch import Tensor
from wav2vec2s import LARGE_STYLE, config_of, noise, padded

from vqw2v_plugin.modules.acoustic.asg import ASG
from vqw2v_plugin.modules.finetuned.config import FineTunedConfig, FineTuning, without_targets
from vqw2v_plugin.modules.finetuned.network import FineTuned, unit_clips
from vqw2v_plugin.modules.kernels import devices
from vqw2v_plugin.modules.wav2vec2 import long_clips
from vqw2v_plugin.modules.wav2vec2.draws import draw_masks

WAVS = [noise(900, 1), noise(640, 2), noise(1400, 3)]
SAID, SEEDS = [[2, 3, 3], [5], [4, 1, 4, 1]], [11, 12, 13]


def losses(network: FineTuned, wav: Tensor, lengths: list[int], which: list[int]) -> Tensor:  # [B]
    out = network(wav, torch.tensor(lengths), [SEEDS[i] for i in which])
    said = torch.nn.utils.rnn.pad_sequence([torch.tensor(SAID[i]) for i in which], batch_first=True)
    sizes = torch.tensor([len(SAID[i]) for i in which])
    found: Tensor = network.sequence_loss(out.emissions, out.lengths, said, sizes)
    return found


def gradients(network: FineTuned, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("style", [{}, LARGE_STYLE], ids=["BASE", "LARGE"])
def test_an_utterance_s_loss_and_gradient_are_the_same_alone_and_beside_others(
    style: dict[str, bool],
) -> None:
    network = tiny_fine_tuned(replace(STILL, feature_grad_mult=0.5), **style).double().train()
    alone = [losses(network, wav[None].double(), [len(wav)], [i]) for i, wav in enumerate(WAVS)]
    summed = gradients(network, torch.cat(alone).sum())
    wav, lengths = padded(WAVS, more=137)
    together = losses(network, wav.double(), lengths, [0, 1, 2])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)
    found = gradients(network, together.sum())
    assert found.keys() == summed.keys() and "wav2vec2.mask" in found
    for name, grad in found.items():
        torch.testing.assert_close(
            grad, summed[name], rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_masks_are_those_of_the_seeds_and_of_training_alone() -> None:
    network, wav = tiny_fine_tuned(), WAVS[0][None]
    size = torch.tensor([900])
    with torch.no_grad():
        one, same, other = (network.train()(wav, size, [seed]).emissions for seed in (5, 5, 6))
        still = network.eval()(wav, size, [5]).emissions
        assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one, still)
        unmasked = tiny_fine_tuned(replace(STILL, apply_mask=False)).train()(wav, size, [5]).emissions
        torch.testing.assert_close(unmasked, still)


@torch.no_grad()
def test_one_clip_is_heard_as_in_a_batch_and_a_long_one_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network, wav = tiny_fine_tuned().eval(), WAVS[0]
    whole, clip = network(wav[None], torch.tensor([len(wav)])), network.of_clip(wav)
    torch.testing.assert_close(clip.emissions, whole.emissions)
    assert torch.equal(clip.lengths, whole.lengths)
    for name, frames in (("WHOLE", 30), ("MARGIN", 8), ("PIECE", 20)):
        monkeypatch.setattr(long_clips, name, frames)
    assert network.of_clip(wav).emissions.shape == whole.emissions.shape
    for layer in network.wav2vec2.transformer.layers:  # then no frame looks beyond the margins
        layer.out.weight.zero_()
    again = network(wav[None], torch.tensor([len(wav)])).emissions
    torch.testing.assert_close(network.of_clip(wav).emissions, again, rtol=1e-4, atol=1e-4)


def test_as_much_of_a_short_utterance_is_masked_as_of_a_long_one() -> None:
    config = config_of(mask_prob=0.65, mask_channel_prob=0.5, mask_channel_length=6)
    sizes = [30, 400] * 60
    masks = draw_masks(sizes, range(120), config)
    hidden = torch.zeros(sum(sizes), dtype=torch.bool)
    hidden[masks.frames] = True
    rows = torch.split(hidden, sizes)
    short, long = (torch.stack(rows[i::2]).float().mean() for i in (0, 1))
    assert 0.44 < long < 0.54 and abs(short - long) < 0.12
    assert masks.channels is not None and 0.3 < masks.channels.float().mean() < 0.5
    assert bool(torch.stack(rows[1::2])[:, -1].any())  # the last frame too


def test_nothing_is_masked_of_what_is_too_short() -> None:
    masks = draw_masks([1, 2, 3], [0, 1, 2], config_of())
    assert masks.channels is None and len(masks.frames) and int(masks.frames.min()) >= 3


def test_while_it_is_held_the_linear_layer_alone_learns() -> None:
    network = tiny_fine_tuned(replace(STILL, feature_grad_mult=1.0)).train()
    network.is_held = True
    held = gradients(network, losses(network, WAVS[0][None], [900], [0]).sum())
    network.is_held = False
    all_of_it = gradients(network, losses(network, WAVS[0][None], [900], [0]).sum())
    assert held.keys() == all_of_it.keys() == {name for name, _ in network.named_parameters()}
    assert {name for name, grad in held.items() if grad.any()} == {"projection.weight", "projection.bias"}
    assert sum(bool(grad.any()) for grad in all_of_it.values()) > 30
    torch.testing.assert_close(all_of_it["projection.bias"], held["projection.bias"])


def test_a_frozen_encoder_is_nothing_for_an_optimizer() -> None:
    network = tiny_fine_tuned()
    fixed = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert fixed and all(name.startswith("wav2vec2.encoder.") for name in fixed)
    assert "wav2vec2.encoder.layers.2.conv.weight" in fixed


def test_where_gradients_are_gathered_every_learner_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import vqw2v_plugin.modules.finetuned.network as module

    monkeypatch.setattr(module, "is_one_of_many", lambda: True)
    network = tiny_fine_tuned(replace(STILL, apply_mask=False)).train()
    held = gradients(network, losses(network, WAVS[0][None], [900], [0]).sum())
    assert held.keys() == {name for name, p in network.named_parameters() if p.requires_grad}
    assert not held["wav2vec2.mask"].any() and held["projection.bias"].any()


def test_what_is_dropped_is_dropped_in_training_alone() -> None:
    tuning = FineTuning(apply_mask=False, layerdrop=0.5, dropout=0.2, final_dropout=0.2)
    network, wav, size = tiny_fine_tuned(tuning), WAVS[0][None], torch.tensor([900])
    config = network.wav2vec2.config
    assert (config.encoder_layerdrop, config.dropout, config.activation_dropout) == (0.5, 0.2, 0.1)
    assert not torch.equal(network.train()(wav, size).emissions, network(wav, size).emissions)
    assert torch.equal(network.eval()(wav, size).emissions, network(wav, size).emissions)


def test_clips_are_normed_each_by_itself() -> None:
    wav, lengths = padded([3 * WAVS[0] + 1, WAVS[1]], more=50)
    found = unit_clips(wav.double(), torch.tensor(lengths))
    assert found.shape == wav.shape and found.dtype == torch.float32
    torch.testing.assert_close(
        found[0, :900], unit_clips(WAVS[0][None], torch.tensor([900]))[0], rtol=1e-3, atol=1e-5
    )
    assert not found[0, 900:].any() and abs(float(found[1, :640].std(correction=0)) - 1) < 1e-3


def test_on_a_gpu_all_clips_are_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wav, lengths = 3 + torch.randn(3, 900), torch.tensor([900, 500, 777])
    plain = unit_clips(wav, lengths)
    monkeypatch.setattr(devices, "is_gpu", lambda x: True)
    torch.testing.assert_close(unit_clips(wav, lengths), plain, rtol=1e-4, atol=1e-5)


def test_half_precision_hears_audio_and_tells_letters_in_full() -> None:
    network = tiny_fine_tuned().bfloat16().train()
    out = network(torch.stack([WAVS[0].double()] * 2), torch.tensor([900, 700]), [1, 2])
    assert out.emissions.dtype == torch.float32 and out.lengths.tolist() == [44, 34]
    clip = network.eval().of_clip(WAVS[0].double())
    assert clip.emissions.dtype == torch.float32 and clip.lengths.tolist() == [44]


def test_a_pretrained_one_s_targets_are_not_in_it() -> None:
    names = {name.split(".")[1] for name in tiny_fine_tuned().state_dict() if name.startswith("wav2vec2.")}
    assert names == {"mask", "encoder", "norm", "projection", "transformer", "health", "signs"} & names
    assert "quantizer" not in names and "final_projection" not in names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_prob": 0.0}, "`mask_prob` is 0.0"),
        ({"layerdrop": 1.0}, "`layerdrop` is 1.0"),
        ({"final_dropout": -0.1}, "`final_dropout` is -0.1"),
        ({"activation_dropout": 1.5}, "`activation_dropout` is 1.5"),
        ({"mask_channel_length": 0}, "`mask_channel_length` is 0"),
        ({"apply_mask": "yes"}, "`apply_mask` is 'yes'; expected true or false"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        FineTunedConfig(len(UNITS), without_targets(config_of()), FineTuning(**settings))  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_network_without_columns_is_none() -> None:
    with pytest.raises(ValueError, match="`num_columns` is 0; expected at least 1"):
        FineTunedConfig(0)


def test_a_clip_that_is_nearly_silent_is_normed_by_its_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    wav = 1e-2 * WAVS[0][None]  # a variance of 1e-6 beside an epsilon of 1e-5
    expected = (wav - wav.mean()) / (wav.var(correction=0) + 1e-5).sqrt()
    for at_once in (False, True):
        monkeypatch.setattr(devices, "is_gpu", lambda x, at_once=at_once: at_once)
        torch.testing.assert_close(unit_clips(wav, torch.tensor([900])), expected, atol=1e-5, rtol=1e-4)


def test_the_linear_layer_begins_uniform_as_glorot_has_it() -> None:
    weight = tiny_fine_tuned(encoder_embed_dim=96).projection.weight.detach()
    bound = (6 / (96 + len(UNITS))) ** 0.5
    assert 0.95 * bound < float(weight.abs().max()) <= bound
    plain = tiny_fine_tuned()
    assert not FineTuned(plain.config, plain.wav2vec2, plain.sequence_loss).projection.bias.any()


def test_what_letters_are_told_from_is_dropped_by_a_setting_of_its_own() -> None:
    network, wav = tiny_fine_tuned(replace(STILL, apply_mask=False, final_dropout=0.5)), WAVS[0][None]
    for training in (True, False):
        one, other = (network.train(training)(wav, torch.tensor([900])).emissions for _ in range(2))
        assert torch.equal(one, other) != training


@torch.no_grad()
def test_without_seeds_masks_are_those_of_places_in_the_batch() -> None:
    network, wav = tiny_fine_tuned().train(), torch.stack([WAVS[0], WAVS[0]])
    sizes = torch.tensor([900, 900])
    found, said = (network(wav, sizes, seeds).emissions for seeds in (None, [0, 1]))
    assert torch.equal(found, said) and not torch.equal(found[0], found[1])


@pytest.mark.parametrize(("same", "size"), [(True, 12), (False, 24)])
def test_what_hears_codes_has_them_in_the_size_that_they_were_learnt_in(same: bool, size: int) -> None:
    """Of the targets, or of the Transformer."""
    both = {"quantize_input": True, "same_quantizer": same}
    found = without_targets(config_of(**both))
    assert (found.latent_dim, found.quantize_targets, found.same_quantizer) == (size, False, False)
    assert without_targets(config_of(**both, latent_dim=8)).latent_dim == 8
    network = tiny_fine_tuned(**both).wav2vec2
    assert network.input_quantizer is not None and network.input_quantizer.out_dim == size


def test_transitions_are_told_with_the_emissions() -> None:
    plain, wav = tiny_fine_tuned(), WAVS[0]
    network = FineTuned(plain.config, plain.wav2vec2, ASG(len(UNITS))).train()
    found = network(wav[None], torch.tensor([900]), [1]).transitions
    assert found is not None and torch.equal(found, network.transitions) and found.grad_fn is not None
    assert network.eval().of_clip(wav).transitions is network.transitions
    assert plain(wav[None], torch.tensor([900]), [1]).transitions is plain.of_clip(wav).transitions is None


def test_every_setting_of_the_fine_tuning_is_that_of_the_network() -> None:
    """Whatever it was pretrained with."""
    tuning = FineTuning(
        mask_prob=0.31, mask_length=3, mask_channel_prob=0.32, mask_channel_length=5, layerdrop=0.33,
        dropout=0.34, attention_dropout=0.35, activation_dropout=0.36, dropout_input=0.37, final_dropout=0.38,
        feature_grad_mult=0.39,
    )  # fmt: skip
    said, pretrained = asdict(tuning), without_targets(config_of())
    config = FineTunedConfig(5, pretrained, tuning).network
    assert config.encoder_layerdrop == 0.33
    inside = said.keys() - {"apply_mask", "layerdrop", "final_dropout"}
    assert {name: getattr(config, name) for name in inside} == {name: said[name] for name in inside}
    assert replace(pretrained, encoder_layerdrop=0.33, **{name: said[name] for name in inside}) == config


def test_updates_frames_and_strides_are_those_of_the_wav2vec2_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    network, told = tiny_fine_tuned(), list[int]()
    assert (network.stride, network.frames(900), network.frames(29)) == (20, 44, 0)
    monkeypatch.setattr(network.wav2vec2, "set_num_updates", told.append)
    network.set_num_updates(7)
    assert told == [7]
