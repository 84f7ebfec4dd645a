"""What fairseq sees of vq-wav2vec: options that reach the network and the alarm, and those refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models import vq_wav2vec
from vqw2v_plugin.models.vq_wav2vec import VqWav2VecModel, VqWav2VecModelConfig
from vqw2v_plugin.training.collapse_alarm import LossSettings

SMALL = {
    "conv_feature_layers": "[(16, 10, 5), (16, 8, 4)]",
    "conv_aggregator_layers": "[(16, 2, 1)]",
    "num_negatives": 2,
    "prediction_steps": 2,
    "vq_vars": 8,
    "max_update": 100,
}


def build(**given: Any) -> VqWav2VecModel:
    return VqWav2VecModel.build_model(VqWav2VecModelConfig(**{**SMALL, **given}))


def test_the_alarm_is_the_one_that_was_asked_for() -> None:
    alarm, any_length = build().alarm, build().max_positions()
    assert any_length > 10**9
    assert alarm is not None and (alarm.share, alarm.stop) == (0.05, False)
    alarm = build(collapse_share=0.2, stop_on_collapse=True).alarm
    assert alarm is not None and (alarm.share, alarm.stop) == (0.2, True)


def test_the_alarm_hears_what_the_criterion_asks() -> None:
    model, heard = build(quantizer="kmeans"), list[Any]()
    model.alarm = SimpleNamespace(look=lambda *asked: heard.append(asked))  # type: ignore[assignment]
    model.train()(torch.randn(1, 2000), infonce=True, quantizer_weight=0.5)
    model.set_num_updates(7)
    assert heard == [(7, model.network, LossSettings(True, 0.5))]


def test_sums_of_each_utterance_are_there_where_they_are_asked_for() -> None:
    model, wav = build(quantizer="none").eval(), torch.randn(2, 2000)
    found = model(wav, apart=True).apart
    assert found is not None and found.sums.shape == (2, 3) and model(wav).apart is None


def test_changed_audio_is_what_the_context_hears() -> None:
    """Where it learns; with negatives drawn alike, only what is heard differs."""
    model, wav = build(quantizer="none").train(), torch.randn(2, 2000)

    def loss(changed: torch.Tensor | None) -> float:
        torch.manual_seed(0)
        return model(wav, changed=changed).contrastive.item()

    assert loss(None) == pytest.approx(loss(wav.clone())) != pytest.approx(loss(torch.randn(2, 2000)))


def test_both_networks_are_compiled_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr(vq_wav2vec, "compile_or_warn", compiled.append)
    build()
    assert not compiled
    network = build(compile=True).network
    assert compiled == [network.encoder, network.context]


def test_a_schedule_without_an_end_is_refused_before_the_first_update() -> None:
    with pytest.raises(ValueError, match="max_update"):
        build(quantizer="gumbel", vq_temp=[2.0, 0.5], max_update=0)


def test_it_says_what_a_frame_sees(caplog: pytest.LogCaptureFixture) -> None:
    """Eight samples of the second layer are (8 − 1) · 5 + 10 of audio."""
    with caplog.at_level("INFO"):
        build(quantizer="kmeans")
    assert caplog.messages[-1].startswith("vq_wav2vec: quantizer kmeans, ")
    assert caplog.messages[-1].endswith(" parameters; a frame sees 45 samples, every 20")
