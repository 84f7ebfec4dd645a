"""The alarm rings for a collapse, names group and cure, and not for what only begins."""

import dataclasses
import logging
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models.vq_wav2vec import VqWav2VecModel
from vqw2v_plugin.modules.quantizers.gumbel import GumbelConfig, GumbelQuantizer
from vqw2v_plugin.modules.quantizers.health import CodebookHealth
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.quantizers import build_quantizer
from vqw2v_plugin.training.collapse_alarm import CollapseAlarm, CollapseError, spelled_cure


def health(*groups: list[float]) -> CodebookHealth:
    made = CodebookHealth(len(groups), len(groups[0]))
    made.add(torch.tensor(groups))
    made.end_update()
    return made


FINE, GONE = [5.0] * 20, [90.0, *[0.0] * 19]


def test_it_names_the_group_and_the_cure_once(caplog: pytest.LogCaptureFixture) -> None:
    alarm = CollapseAlarm(0.05, stop=False)
    for number in range(100, 600, 10):
        alarm.look(number, health(FINE, GONE), "do this")
    assert len(caplog.records) == 1
    assert "group 1 has perplexity 1.0 of 20" in caplog.text and "do this" in caplog.text
    assert "group 0" not in caplog.text and "by update 100" in caplog.text


def test_it_reminds_and_says_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarm = CollapseAlarm(0.05, stop=False)
    for number in (150, 1150, 1200):
        alarm.look(number, health(GONE), "cure")
    alarm.look(1250, health(FINE), "cure")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert "recovered" in caplog.records[-1].message


def test_it_gives_a_young_codebook_time_and_looks_seldom(caplog: pytest.LogCaptureFixture) -> None:
    alarm = CollapseAlarm(0.05, stop=False)
    alarm.look(99, health(GONE), "cure")
    alarm.look(100, health(FINE), "cure")
    alarm.look(149, health(GONE), "cure")
    assert not caplog.records


def test_it_stops_training_where_asked() -> None:
    with pytest.raises(CollapseError, match=r"collapsed by update 100: group 0 .* cure"):
        CollapseAlarm(0.05, stop=True).look(100, health(GONE), "cure")


def test_it_can_be_turned_off_and_refuses_shares_without_a_meaning(caplog: pytest.LogCaptureFixture) -> None:
    CollapseAlarm(0, stop=True).look(100, health(GONE), "cure")
    assert not caplog.records
    with pytest.raises(ValueError, match="`collapse_share` is 1"):
        CollapseAlarm(1, stop=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kmeans", """; as options: `quantizer_args` '{"ema_decay": 0.99, "revive_after": 20}'"""),
        ("gumbel", "; as options: `criterion.loss_weights=[0.1]`"),
        ("fsq", "for longer"),
    ],
)
def test_a_quantizer_s_cure_is_spelled_as_options(name: str, options: str) -> None:
    quantizer = build_quantizer(name, 8, {"vq_vars": 8, "vq_groups": 2})
    assert spelled_cure(quantizer).endswith(options)
    for field in {"loss_weight": 0.1, **quantizer.cure_values}:  # the quantizer itself names fields alone
        assert hasattr(quantizer, field) or field in {f.name for f in dataclasses.fields(quantizer.Config)}
    assert not any(sign in quantizer.cure for sign in ("--", "=", "{", "criterion.", "quantizer_args"))


def test_a_cure_among_the_model_s_options_is_spelled_so() -> None:
    class Cured(GumbelQuantizer):
        cure, cure_values = "warm it", {"vq_temp": 4, "head_dim": 64}

    quantizer = Cured(8, GumbelConfig(vq_vars=8))
    assert spelled_cure(quantizer) == (
        "warm it; as options: `model.vq_temp=4`, `quantizer_args` '{\"head_dim\": 64}'"
    )


def test_wav2vec_without_codes_has_no_collapse(tiny: Callable[..., VqWav2Vec]) -> None:
    model = VqWav2VecModel(tiny(quantizer="none"), CollapseAlarm(0.05, stop=True))
    model.train()(torch.randn(1, 2000))
    model.set_num_updates(100)


def test_the_model_rings_it_after_an_update(tiny: Callable[..., VqWav2Vec]) -> None:
    model = VqWav2VecModel(tiny(quantizer="kmeans", vq_vars=20), CollapseAlarm(0.05, stop=True))
    model.network.health.add(torch.tensor([GONE, FINE]))
    model.set_num_updates(99)
    with pytest.raises(CollapseError, match=r"group 0 .*quantizer_args"):
        model.set_num_updates(100)
