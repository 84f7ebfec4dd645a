"""The alarm tells what has died, names a cure that is not yet set, and is silent of what only begins."""

import logging
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.models.vq_wav2vec import VqWav2VecModel
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.training.collapse_alarm import CollapseAlarm, CollapseError, LossSettings

Tiny = Callable[..., VqWav2Vec]
FINE, GONE = [5.0] * 20, [90.0, *[0.0] * 19]
CURED = {"centred": True, "quantizer_args": '{"start": "frames", "ema_decay": 0.99, "revive_after": 20}'}
INFONCE = LossSettings(infonce=True)


def varying(share: float) -> torch.Tensor:  # [B, T, C], of whose power so much varies over time
    wave = torch.tensor([1.0, -1.0]).repeat(8)[None, :, None].expand(2, -1, 3)
    return (1 - share) ** 0.5 + share**0.5 * wave


def seen(
    network: VqWav2Vec, *codes: list[float], z: float = 0.5, c: float = 0.3, correct: int = 50
) -> VqWav2Vec:
    """As if updates had left these counts of codes, shares that vary, and right guesses of 100."""
    if codes:
        network.health.window.copy_(torch.tensor(codes))
        network.health.idle.copy_((torch.tensor(codes) == 0).int() * 50)
    network.signs.discard()
    network.signs.add(torch.tensor(correct), 100, varying(z), varying(c))
    network.signs._window = None
    network.signs.end_update()
    return network


def kmeans(tiny: Tiny, **settings: object) -> VqWav2Vec:
    return tiny(quantizer="kmeans", vq_vars=20, vq_groups=2, **settings)


def test_it_names_the_group_once(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    alarm, network = CollapseAlarm(0.05, stop=False), seen(kmeans(tiny), FINE, GONE)
    for number in range(100, 600, 10):
        alarm.look(number, network, INFONCE)
    assert len(caplog.records) == 1
    assert "codebook has collapsed by update 100: group 1 has perplexity 1.0 of 20 and 19" in caplog.text
    assert "group 0" not in caplog.text


@pytest.mark.parametrize(
    ("signs", "codes", "says"),
    [
        ({"z": 0.01}, (GONE, GONE), "z or c no longer depends on the audio by update 100: 1.0% of z's"),
        ({"c": 0.001}, (GONE, GONE), "z or c no longer depends on the audio by update 100: 50.0% of z's"),
        ({"correct": 0}, (FINE, GONE), "the codebook has collapsed by update 100: group 1"),
        ({"correct": 20}, (FINE, FINE), "no better than guessing by update 100: accuracy 0.2000"),
    ],
)
def test_the_first_cause_is_told(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, signs: dict, codes: tuple, says: str
) -> None:
    CollapseAlarm(0.05, stop=False).look(100, seen(kmeans(tiny), *codes, **signs), INFONCE)
    assert len(caplog.records) == 1 and says in caplog.text


def test_a_training_that_learns_is_left_in_peace(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    CollapseAlarm(0.05, stop=True).look(100, seen(kmeans(tiny), FINE, FINE, z=0.1, correct=22), INFONCE)
    CollapseAlarm(0.05, stop=True).look(100, seen(kmeans(tiny), FINE, FINE, z=0.03, c=0.01), INFONCE)
    assert not caplog.records


def test_it_reminds_and_says_when_it_is_over(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarm, network = CollapseAlarm(0.05, stop=False), seen(kmeans(tiny), GONE, FINE)
    for number in (150, 1150, 1200):
        alarm.look(number, network, INFONCE)
    alarm.look(1250, seen(network, FINE, FINE), INFONCE)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert "by update 1150" in caplog.records[1].message
    alarm.look(1300, network, INFONCE)
    alarm.look(1350, seen(network, GONE, FINE), INFONCE)
    assert [record.levelname for record in caplog.records[3:]] == ["WARNING"]
    assert "recovered by update 1250: 100%/100% of the codebook, accuracy 0.5000" in caplog.text


def test_another_trouble_is_told_at_once(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    alarm, network = CollapseAlarm(0.05, stop=False), seen(kmeans(tiny), GONE, FINE)
    alarm.look(100, network, INFONCE)
    alarm.look(150, seen(network, z=0), INFONCE)
    assert len(caplog.records) == 2 and "depends on the audio by update 150" in caplog.text


def test_it_gives_a_young_codebook_time_and_looks_seldom(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    alarm, network = CollapseAlarm(0.05, stop=False), seen(kmeans(tiny), GONE, GONE)
    alarm.look(99, network, INFONCE)
    alarm.look(100, seen(network, FINE, FINE), INFONCE)
    alarm.look(149, seen(network, GONE, GONE), INFONCE)
    assert not caplog.records


def test_it_stops_training_where_asked_but_not_for_a_slow_start(tiny: Tiny) -> None:
    network = seen(kmeans(tiny), GONE, FINE)
    with pytest.raises(CollapseError, match=r"collapsed by update 100: group 0"):
        CollapseAlarm(0.05, stop=True).look(100, network, INFONCE)
    with pytest.raises(CollapseError, match=r"no longer depends on the audio"):
        CollapseAlarm(0.05, stop=True).look(100, seen(network, z=0), INFONCE)
    CollapseAlarm(0.05, stop=True).look(100, seen(network, FINE, FINE, correct=0), INFONCE)


def test_it_can_be_turned_off_and_refuses_shares_without_a_meaning(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    CollapseAlarm(0, stop=True).look(100, seen(kmeans(tiny), GONE, GONE, z=0), INFONCE)
    assert not caplog.records
    with pytest.raises(ValueError, match="`collapse_share` is 1"):
        CollapseAlarm(1, stop=False)
    with pytest.raises(ValueError, match=r"`collapse_share` is -0\.01"):
        CollapseAlarm(-0.01, stop=False)


ARGS = "`model.quantizer_args='{}'`"


@pytest.mark.parametrize(
    ("settings", "loss", "told", "not_told"),
    [
        (
            {"quantizer": "kmeans"},
            LossSettings(),
            [
                "`model.centred=true`",
                "`criterion.infonce=true`",
                ARGS.format('{"start": "frames", "ema_decay": 0.99, "revive_after": 20}'),
            ],
            [],
        ),
        (
            {"quantizer": "kmeans", "centred": True, "quantizer_args": '{"ema_decay": 0.9}'},
            INFONCE,
            [ARGS.format('{"ema_decay": 0.9, "start": "frames", "revive_after": 20}')],
            ["centred", "infonce"],
        ),
        (
            {"quantizer": "kmeans", "centred": True, "quantizer_args": '{"ema_decay": 0, "revive_after": 9}'},
            INFONCE,
            [ARGS.format('{"ema_decay": 0.99, "revive_after": 9, "start": "frames"}')],
            [],
        ),
        ({"quantizer": "kmeans", **CURED}, INFONCE, [], ["begin anew", "quantizer_args", "ema_decay"]),
        (
            {"quantizer": "gumbel"},
            INFONCE,
            ["`criterion.loss_weights=[0.1]`", ARGS.format('{"start_dim": 8}')],
            ["infonce"],
        ),
        (
            {"quantizer": "gumbel", "centred": True, "quantizer_args": '{"start_dim": 4}'},
            LossSettings(True, 0.2),
            [],
            ["loss_weights", "start_dim", "begin anew"],
        ),
        ({"quantizer": "fsq"}, INFONCE, [ARGS.format('{"start_spread": 1.0}')], ["loss_weights"]),
    ],
)
def test_what_is_set_is_never_recommended(
    tiny: Tiny,
    caplog: pytest.LogCaptureFixture,
    settings: dict,
    loss: LossSettings,
    told: list[str],
    not_told: list[str],
) -> None:
    network = seen(tiny(vq_vars=20, vq_groups=2, **settings), GONE, GONE)
    CollapseAlarm(0.05, stop=False).look(100, network, loss)
    assert "lower the learning rate" in caplog.text
    assert all(words in caplog.text for words in told), caplog.text
    assert not any(words in caplog.text for words in not_told), caplog.text


def test_a_cure_among_the_model_s_own_options_is_named_unless_it_is_set(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = seen(tiny(quantizer="kmeans", vq_vars=20, vq_groups=2), GONE, GONE)
    monkeypatch.setattr(type(network.coder), "cure_values", {"vq_vars": 20, "vq_groups": 4})
    CollapseAlarm(0.05, stop=False).look(100, network, INFONCE)
    assert "`model.vq_groups=4`" in caplog.text and "vq_vars" not in caplog.text


@pytest.mark.parametrize(("own", "told"), [(0.0, True), (0.5, False)])
def test_a_weight_that_a_quantizer_s_loss_has_by_itself_is_not_recommended(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, own: float, told: bool
) -> None:
    network = seen(tiny(quantizer="gumbel", vq_vars=20, vq_groups=2), GONE, GONE)
    monkeypatch.setattr(type(network.coder), "loss_weight", own)
    CollapseAlarm(0.05, stop=False).look(100, network, INFONCE)
    assert ("`criterion.loss_weights=[0.1]`" in caplog.text) is told


def test_a_quantizer_s_options_are_no_cure_for_what_died_before_it(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    CollapseAlarm(0.05, stop=False).look(100, seen(kmeans(tiny), GONE, GONE, z=0), INFONCE)
    assert "`model.centred=true`" in caplog.text and "quantizer_args" not in caplog.text


def test_options_that_are_recommended_can_be_built(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("kmeans", "gumbel", "fsq"):
        network = seen(tiny(quantizer=name, vq_vars=20, vq_groups=2), GONE, GONE)
        CollapseAlarm(0.05, stop=False).look(100, network, INFONCE)
        args = caplog.records[-1].message.split("model.quantizer_args='")[1].split("'`")[0]
        tiny(quantizer=name, vq_vars=20, vq_groups=2, quantizer_args=args)


def test_wav2vec_without_codes_is_watched_too(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    model = VqWav2VecModel(tiny(quantizer="none"), CollapseAlarm(0.05, stop=True))
    model.train()(torch.randn(1, 2000))
    seen(model.network, z=0.0)
    with pytest.raises(CollapseError, match=r"no longer depends on the audio .*centred"):
        model.set_num_updates(100)


def test_the_model_rings_it_after_an_update(tiny: Tiny) -> None:
    model = VqWav2VecModel(kmeans(tiny), CollapseAlarm(0.05, stop=True))
    model.train()(torch.randn(1, 2000), infonce=True)
    model.network.health.discard()
    seen(model.network, GONE, FINE)
    model.set_num_updates(99)
    with pytest.raises(CollapseError, match=r"group 0 .*quantizer_args") as told:
        model.set_num_updates(100)
    assert "infonce" not in str(told.value)


def test_signs_are_what_training_saw(tiny: Tiny) -> None:
    network = kmeans(tiny).train()
    wav = torch.randn(2, 3000)
    made = network.objective(wav)
    assert network.signs.shares() is None  # the update is not over
    network.set_num_updates(1)
    accuracy, z_varies, _ = network.signs.shares() or (0, 0, 0)
    z = network.encoder(wav)
    assert accuracy == pytest.approx(int(made.num_correct) / made.num_predictions)
    varies = (z - z.mean(1, keepdim=True)).square().sum() / z.square().sum()
    assert z_varies == pytest.approx(varies.item(), rel=1e-3)
    network.objective(wav)
    network.discard_update()
    before = network.signs.shares()
    network.set_num_updates(2)
    assert network.signs.shares() == before
    network.eval().objective(wav)
    network.set_num_updates(3)
    assert network.signs.shares() == before


def test_guessing_is_measured_by_all_negatives(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    """Of 20 candidates half of what would be chance among 5 is learnt already."""
    alarm = CollapseAlarm(0.05, stop=False)
    alarm.look(100, seen(kmeans(tiny, cross_sample_negatives=15), FINE, FINE, correct=20), INFONCE)
    assert not caplog.records
    alarm = CollapseAlarm(0.05, stop=False)
    alarm.look(100, seen(kmeans(tiny, cross_sample_negatives=15), FINE, FINE, correct=5), INFONCE)
    assert "no better than guessing" in caplog.text
