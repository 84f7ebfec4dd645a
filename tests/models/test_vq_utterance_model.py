"""What fairseq sees of heads for utterances: their options, features at hand or made on the fly, answers."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.models.vq_utterance import VqUtteranceModel, VqUtteranceModelConfig
from vqw2v_plugin.modules.utterance.network import UtteranceConfig
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.text.classes import Classes

MOODS = Classes(("calm", "glad", "sad"))
LAYERS = [FeatureSpec(layer=layer, stride=160, sample_rate=16_000, dim=20) for layer in ("logmel", "z")]


def build(layers: int = 2, **given: Any) -> VqUtteranceModel:
    torch.manual_seed(0)
    task = SimpleNamespace(classes=MOODS, feature_dim=20, layer_specs=LAYERS[:layers])
    return VqUtteranceModel.build_model(VqUtteranceModelConfig(**given), task)


def of_audio(**given: Any) -> VqUtteranceModel:
    task = SimpleNamespace(classes=MOODS, feature_dim=0, layer_specs=[FeatureSpec(sample_rate=16_000)])
    return VqUtteranceModel.build_model(VqUtteranceModelConfig(front_bands=23, **given), task)


def test_each_option_reaches_the_network() -> None:
    given = {"hidden_dim": 16, "pooling": "attention", "normalize_features": "none", "dropout": 0.5}
    assert build(**given).network.config == UtteranceConfig(20, 3, 2, 16, "attention", "none", 0.5)


def test_who_says_nothing_gets_the_page_s_head() -> None:
    assert build(1).network.config == UtteranceConfig(20, 3, 1, 128, "mean", "corpus", 0.2)


def test_it_says_what_it_is_made_of(caplog: pytest.LogCaptureFixture) -> None:
    """A projection from 20 to 16, three classes of these, and the weights of two layers."""
    with caplog.at_level(logging.INFO):
        build(hidden_dim=16)
    parameters = 20 * 16 + 16 + 16 * 3 + 3 + 2
    said = f"3 classes over 20 features of logmel, z, mean over time, {parameters} parameters"
    assert caplog.messages == [f"vq_utterance: {said}"]


def test_probabilities_are_shares_of_the_classes_and_keep_no_graph() -> None:
    model, x, lengths = build().eval(), torch.randn(2, 9, 40), torch.tensor([9, 5])
    found, logits = model.probabilities(x, lengths), model(x, lengths).logits
    torch.testing.assert_close(found, logits.exp() / logits.exp().sum(1, keepdim=True))
    assert not found.requires_grad and logits.requires_grad


def test_frames_are_those_of_the_features_or_what_samples_give() -> None:
    assert build().frames(560) == 560
    assert [of_audio().frames(samples) for samples in (399, 400, 560)] == [0, 1, 2]
    assert of_audio().max_positions() > 10**9


@pytest.mark.parametrize("standardize", ["none", "utterance", "speaker"])
def test_it_asks_whose_clips_it_hears_only_where_speakers_count(standardize: str) -> None:
    assert of_audio(front_standardize=standardize).wants_clips == (standardize == "speaker")
    assert not build().wants_clips


def test_a_front_s_features_are_what_the_head_hears() -> None:
    model, wav = of_audio().eval(), 0.1 * torch.randn(2, 4000)
    lengths = torch.tensor([4000, 2500])
    features, frames = model.front(wav, lengths)
    assert frames.tolist() == [23, 14] and model.network.config.in_dim == 23
    assert [(spec["layer"], spec["bands"]) for spec in model.about.content["features"]] == [("logmel", 23)]
    torch.testing.assert_close(model(wav, lengths).logits, model.network(features, frames).logits)


def test_the_front_hears_of_which_clips_its_audio_is_and_of_each_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, told, updates = of_audio().eval(), list[Any](), list[int]()
    front = model.front.forward

    def noted(source: torch.Tensor, lengths: torch.Tensor, clips: Any = None) -> Any:
        told.append(clips)
        return front(source, lengths)

    monkeypatch.setattr(model.front, "forward", noted)
    monkeypatch.setattr(model.front, "set_num_updates", updates.append)
    clips, heard = [Clip("a.flac", 4000)], (torch.randn(1, 4000), torch.tensor([4000]))
    model(*heard, clips=clips), model.probabilities(*heard, clips=clips), model.heard(*heard, clips)
    model.set_num_updates(3)
    build().set_num_updates(3)  # without a front nobody hears it
    assert told == [clips] * 3 and updates == [3]
