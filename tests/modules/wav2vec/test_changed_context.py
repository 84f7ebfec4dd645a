"""Changed audio is heard by the context alone: what is predicted from it is as it was."""

from collections.abc import Callable

import pytest
import torch

from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Tiny = Callable[..., VqWav2Vec]


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(3)
    wav = 0.1 * torch.randn(2, 4_000, generator=drawn)
    return wav, wav + 0.05 * torch.randn(2, 4_000, generator=drawn)


@pytest.mark.parametrize("position", ["encoder", "context"])
@pytest.mark.parametrize("quantizer", ["none", "kmeans"])
def test_sources_are_of_the_changed_and_targets_of_the_clean(
    tiny: Tiny, quantizer: str, position: str
) -> None:
    if (quantizer, position) == ("none", "context"):
        return
    network = tiny(quantizer=quantizer, quantizer_position=position, dropout=0.0).train()
    wav, changed = pair()
    both, clean, other = network.features(wav, changed), network.features(wav), network.features(changed)
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(both.z, clean.z, **close)
    torch.testing.assert_close(both.target, clean.target, **close)
    torch.testing.assert_close(both.source, other.source, **close)
    torch.testing.assert_close(both.c, other.c, **close)
    assert not torch.allclose(both.source, clean.source, atol=1e-3)


def test_the_same_audio_twice_is_the_loss_of_once(tiny: Tiny) -> None:
    network = tiny(quantizer="kmeans", dropout=0.0).train()
    wav, _ = pair()
    losses = []
    for changed in (None, wav):
        torch.manual_seed(1)
        losses.append(network.objective(wav, True, changed=changed).loss)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-3, rtol=1e-5)


def test_evaluation_hears_nothing_changed(tiny: Tiny) -> None:
    network, (wav, changed) = tiny(quantizer="kmeans").eval(), pair()
    assert torch.equal(network.features(wav, changed).source, network.features(wav).source)


def test_both_ways_teach_the_encoder(tiny: Tiny) -> None:
    network, (wav, changed) = tiny(quantizer="none", dropout=0.0).train(), pair()
    states = network.features(wav, changed.requires_grad_())
    (gradient,) = torch.autograd.grad(states.source.sum(), changed, retain_graph=True)
    (clean,) = torch.autograd.grad(states.target.sum(), changed)
    assert gradient.abs().sum() > 0 and not clean.any()
