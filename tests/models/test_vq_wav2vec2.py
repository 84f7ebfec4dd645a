"""Model `vq_wav2vec2` of fairseq's: archs and their sizes, schedules, the alarm."""

import logging
from typing import Any

import pytest
import torch
from wav2vec2s import LAYERS, TINY, noise, tiny_wav2vec2

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from omegaconf import OmegaConf

from vqw2v_plugin.models import vq_wav2vec2
from vqw2v_plugin.models.vq_wav2vec2 import HELPS, OF_THE_ARCH, VqWav2Vec2Model, VqWav2Vec2ModelConfig
from vqw2v_plugin.modules.wav2vec2.config import ARCHS, BASE, LARGE, SMALL, Wav2Vec2Config
from vqw2v_plugin.training.collapse_alarm import CollapseAlarm, CollapseError, LossSettings


def built(arch: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Wav2Vec2Config:
    """The settings that an arch's network would have."""
    found = []

    class Asked(Exception):
        pass

    def make(config: Wav2Vec2Config) -> None:
        found.append(config)
        raise Asked

    monkeypatch.setattr(vq_wav2vec2, "make_wav2vec2", make)
    options = OmegaConf.structured(VqWav2Vec2ModelConfig)
    cfg = OmegaConf.merge(options, {"max_update": 9, **given})
    OmegaConf.set_struct(cfg, False)
    cfg._name = arch
    with pytest.raises(Asked):
        VqWav2Vec2Model.build_model(cfg)
    return found[0]


@pytest.mark.parametrize(
    ("arch", "config"),
    [
        ("vq_wav2vec2", BASE),
        ("vq_wav2vec2_base", BASE),
        ("vq_wav2vec2_large", LARGE),
        ("vq_wav2vec2_small", SMALL),
    ],
)
def test_an_arch_has_its_own_values_where_none_is_given(
    arch: str, config: Wav2Vec2Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ARCH_MODEL_NAME_REGISTRY.get(arch, arch) == "vq_wav2vec2"
    found = built(arch, monkeypatch)
    assert vars(found) == {**vars(config), "max_update": 9}


def test_what_is_given_stands_in_an_arch_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"encoder_layers": 3, "latent_temp": [2.0, 0.5], "conv_bias": False, "quantize_targets": "false"}
    found = built("vq_wav2vec2_large", monkeypatch, **given)
    assert (found.encoder_layers, found.latent_temp, found.conv_bias) == (3, [2.0, 0.5], False)
    assert not found.quantize_targets and found.encoder_embed_dim == LARGE.encoder_embed_dim


def test_what_differs_among_archs_is_left_to_them() -> None:
    differ = {
        name for name in vars(BASE) for config in ARCHS.values() if vars(config)[name] != vars(BASE)[name]
    }
    assert differ <= set(OF_THE_ARCH) and set(HELPS) == set(vars(BASE))


def test_a_temperature_that_falls_to_the_end_wants_to_know_where_that_is() -> None:
    options = {"latent_temp": [2.0, 0.5], "conv_feature_layers": LAYERS, "encoder_layers": 1, "max_update": 0}
    cfg = OmegaConf.merge(OmegaConf.structured(VqWav2Vec2ModelConfig), options)
    with pytest.raises(ValueError, match="`max_update` is not set"):
        VqWav2Vec2Model.build_model(cfg)


def trained(*codes: float, correct: int = 50, **settings: Any) -> VqWav2Vec2Model:
    """As if updates had left these counts of codes in each group, and right guesses of 100."""
    network = tiny_wav2vec2(num_negatives=9, **settings)
    network.health.window.copy_(torch.tensor(codes).expand_as(network.health.window))
    waves = [torch.tensor(0.5), torch.tensor(1.0)] * 2
    network.signs.add_powers(torch.tensor(correct), 100, waves)
    network.signs.end_update()
    return VqWav2Vec2Model(network, CollapseAlarm(0.01, True, 500))


FINE, GONE = [5.0] * 9, [90.0, *[0.0] * 8]


def test_the_alarm_tells_a_collapse_of_codes_from_the_500th_update_on() -> None:
    model = trained(*GONE)
    model.set_num_updates(499)
    with pytest.raises(
        CollapseError, match=r"the codebook has collapsed by update 500: group 0 has perplexity 1\.0"
    ):
        model.set_num_updates(500)


def test_its_advice_is_in_options_that_there_are() -> None:
    model = trained(*GONE)
    model.eval()(noise(900)[None], weights=(0.0, 10.0))
    with pytest.raises(CollapseError) as error:
        model.set_num_updates(500)
    assert "`criterion.loss_weights=[0.1,10]`" in str(error.value) and "centred" not in str(error.value)
    assert """`model.quantizer_args='{"start_dim": 8}'`""" in str(error.value)
    kmeans = trained(*GONE, quantizer="kmeans")
    with pytest.raises(CollapseError, match="ema_decay"):
        kmeans.set_num_updates(500)


def test_guessing_is_that_of_its_distractors(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trained(*FINE, correct=12).set_num_updates(500)
        assert not caplog.records
        trained(*FINE, correct=10).set_num_updates(500)
    assert "no better than guessing by update 500: accuracy 0.1000, that of guessing is 0.1000" in caplog.text


def test_a_skipped_update_leaves_no_trace() -> None:
    model = VqWav2Vec2Model(tiny_wav2vec2(quantizer="kmeans", quantizer_args='{"ema_decay": 0.9}')).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(noise(900)[None], seeds=[1])
    model.discard_update()
    model.set_num_updates(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(noise(900)[None], seeds=[1])
    model.set_num_updates(2)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"network.health.window", "network.quantizer.codebook.entries"} <= changed


def test_any_length_fits() -> None:
    assert VqWav2Vec2Model(tiny_wav2vec2()).max_positions() > 10**9


def made(**given: Any) -> VqWav2Vec2Model:
    return VqWav2Vec2Model.build_model(
        OmegaConf.merge(OmegaConf.structured(VqWav2Vec2ModelConfig), {"max_update": 9, **TINY, **given})
    )


def test_the_alarm_looks_from_the_500th_update_on_for_a_hundredth_of_the_codes() -> None:
    alarm = made().alarm
    assert alarm is not None and (alarm.share, alarm.stop, alarm.first) == (0.01, False, 500)
    alarm = made(collapse_share=0.2, stop_on_collapse=True).alarm
    assert alarm is not None and (alarm.share, alarm.stop) == (0.2, True)


def test_the_alarm_hears_what_the_criterion_asks() -> None:
    model = made().eval()
    for weights, own, penalty in (((None, 10.0), 0.1, 10.0), ((0.5, 0.0), 0.5, 0.0), ((0.0, 1.0), 0.0, 1.0)):
        model(noise(900)[None], seeds=[1], weights=weights)
        assert model._loss == LossSettings(True, own, (penalty,))
    assert VqWav2Vec2Model.pads and VqWav2Vec2Model.criterion == "vq_masked_contrastive"


def test_it_says_what_a_frame_sees(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        made()
    assert caplog.messages[-1].startswith("vq_wav2vec2: 2 layers of 24, quantizer gumbel, ")
    assert caplog.messages[-1].endswith(" parameters; a frame sees 30 samples, every 20")


def test_what_is_asked_of_a_batch_reaches_the_network() -> None:
    model, wav, changed = made(quantizer="kmeans").train(), noise(900)[None], noise(900, 1)[None]
    found, plain = model(wav, seeds=[1], changed=changed, apart=True), model(wav, seeds=[1])
    wanted = model.network.objective(wav, None, [1], (None, 10.0), changed=changed)
    assert found.loss == wanted.loss != plain.loss
    assert found.apart is not None and found.apart.sums.shape == (1, 3) and plain.apart is None
