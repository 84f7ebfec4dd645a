"""The alarm of a model that says the same whatever it hears: by entropy, with its likely cause, once."""

import logging
from collections import Counter

import pytest
import torch

from vqw2v_plugin.modules.acoustic.conv_stack import ConvStack, parse_stack
from vqw2v_plugin.training.alike import HypothesesAlarm, entropy

MEANT = [list(f"{i:04b}") for i in range(16)]


def validate(
    alarm: HypothesesAlarm, said: list[list[str]], updates: int, field: int = 9, most: int = 600
) -> None:
    alarm.begin()
    for i, hypothesis in enumerate(said):
        alarm.add(hypothesis, MEANT[i % 16], 40)
    alarm.look(updates, most, field)


def test_entropy_is_in_bits() -> None:
    assert entropy(Counter({("a",): 4, ("b",): 4})) == 1.0 and entropy(Counter({("a",): 3})) == 0.0
    assert entropy(Counter()) == 0.0


def test_it_rings_once_with_its_cause_and_says_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarm, alike = HypothesesAlarm(), [["0", "1"]] * 15 + [["1"]]
    validate(alarm, alike, 60)
    assert not caplog.records  # too early
    validate(alarm, alike, 200, field=30)
    (record,) = caplog.records
    for words in (
        "by update 200, 15 of 16",
        "'0 1' (0.3 bits",
        "has 4.0",
        "sees 30 of an utterance's 40 frames",
    ):
        assert words in record.message
    assert "`model.conv_layers`" in record.message and "--trim 0.1" in record.message
    validate(alarm, alike, 300, field=30)
    assert len(caplog.records) == 1
    validate(alarm, MEANT, 400)
    validate(alarm, alike, 500)
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert "sees" not in caplog.records[-1].message  # a narrow stack is not the cause


def test_silence_is_usual_for_longer(caplog: pytest.LogCaptureFixture) -> None:
    alarm, silent = HypothesesAlarm(), [[""][:0]] * 16
    validate(alarm, silent, 200)
    assert not caplog.records
    validate(alarm, silent, 300)
    assert (
        "16 of 16 hypotheses of the validation set are nothing" in caplog.text
        and "labels come late" in caplog.text
    )


@pytest.mark.parametrize(
    ("said", "updates", "most"),
    [(MEANT, 500, 600), ([["0"]] * 7, 500, 600), ([["0"]] * 16, 500, 0)],
    ids=["different", "few", "unknown length"],
)
def test_it_is_quiet_where_there_is_nothing_to_tell(
    said: list[list[str]], updates: int, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    validate(HypothesesAlarm(), said, updates, most=most)
    assert not caplog.records


def test_utterances_that_all_say_the_same_are_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    alarm = HypothesesAlarm()
    for i in range(40):
        alarm.add(["yes"], ["yes"] if i % 3 else ["no"], 40)
    alarm.look(500, 600, 40)
    assert not caplog.records


@pytest.mark.parametrize("spec", ["[(8, 5, 2)] + [(8, 5)] * 2", "[(8, 3)] * 4", "[(8, 7, 3)]"])
def test_the_receptive_field_is_what_a_frame_s_gradient_reaches(spec: str) -> None:
    stack = ConvStack(3, 4, parse_stack(spec, 0.0), "gelu", "none")
    x = torch.randn(1, 200, 3, requires_grad=True)
    out, lengths = stack(x, torch.tensor([200]))
    out[0, int(lengths) // 2].sum().backward()
    reached = x.grad.abs().sum((0, 2)).nonzero().flatten()  # type: ignore[union-attr]
    assert int(reached[-1] - reached[0]) + 1 == stack.receptive_field


@pytest.mark.parametrize(
    ("updates", "most", "rings"),
    [(999, 0, 0), (1000, 0, 1), (119, 600, 0), (120, 600, 1), (99, 300, 0), (100, 300, 1)],
)
def test_it_waits_for_a_fifth_of_the_training_and_a_hundred_updates_or_a_thousand(
    updates: int, most: int, rings: int, caplog: pytest.LogCaptureFixture
) -> None:
    validate(HypothesesAlarm(), [["0"]] * 16, updates, most=most)
    assert len(caplog.records) == rings


def test_a_few_long_utterances_are_not_the_usual_length(caplog: pytest.LogCaptureFixture) -> None:
    alarm = HypothesesAlarm()
    for i in range(16):
        alarm.add(["0"], MEANT[i], 4_000 if i > 12 else 40)
    alarm.look(500, 600, 21)
    assert "a frame sees 21 of an utterance's 40 frames" in caplog.text


def test_a_validation_is_looked_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Epochs end without one, too; what was too early to tell is not told of later."""
    alarm = HypothesesAlarm()
    validate(alarm, [["0"]] * 16, 60)
    alarm.look(600, 600, 9)
    assert not caplog.records


def test_eight_utterances_of_four_texts_are_enough_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    alarm = HypothesesAlarm()
    for i in range(8):
        alarm.add(["0"], MEANT[i % 4], 40)
    alarm.look(500, 600, 9)
    assert "8 of 8 hypotheses" in caplog.text and "what was said has 2.0" in caplog.text
