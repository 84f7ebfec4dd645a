"""Criterion `vq_adversarial`: a step's sum in training, and what a model of text says of phones elsewhere."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.unpaired import LOSS
from vqw2v_plugin.criterions.vq_adversarial import VqAdversarialCriterion
from vqw2v_plugin.modules.unpaired.network import Step, UnpairedOutput
from vqw2v_plugin.text.units import Units


class Model:
    """Says `a b` where nothing is learnt, and notes what it was asked."""

    def __init__(self, training: bool) -> None:
        self.training, self.units, self.asked = training, Units(("a", "b"), "phones", None, loss=LOSS), {}

    def __call__(self, source: Any, lengths: Any, **asked: Any) -> Any:
        self.asked = asked
        if self.training:
            terms = {"dense_g": torch.tensor(3.0, requires_grad=True), "idle": torch.tensor(0.0)}
            return Step(terms, {"code_ppl": torch.tensor(2.0)})
        return UnpairedOutput(torch.tensor([[[9.0, 0], [0, 9], [9, 0]]]), torch.tensor([2]))


def task(heard: list[Any]) -> Any:
    """Its text gives each phone a tenth, and it knows that `a` was said."""
    return SimpleNamespace(
        unpaired=None,
        alarm=SimpleNamespace(add=heard.append),
        text_model=SimpleNamespace(score=lambda phones: -float(len(phones))),
        true_phones=lambda sample: [["a"]],
    )


SAMPLE = {"net_input": {"source": None, "lengths": None}, "nsentences": 4, "ntokens": 30}


def test_a_step_is_divided_by_its_utterances_and_the_alarm_hears_of_it() -> None:
    heard: list[Any] = []
    loss, size, log = VqAdversarialCriterion(task(heard))(Model(True), SAMPLE)
    assert loss.item() == 3 and loss.requires_grad and size == log["sample_size"] == 4
    assert heard == [log] and log["ntokens"] == 30 and log["code_ppl"] == 2 and "loss_idle" not in log


def test_elsewhere_the_text_s_model_judges_the_phones_of_joined_runs() -> None:
    """Two phones, of a tenth each, and an end; one of them is an error."""
    heard: list[Any] = []
    model = Model(False)
    loss, size, log = VqAdversarialCriterion(task(heard))(model, SAMPLE)
    assert model.asked == {"joined": True} and not heard
    assert loss.item() == pytest.approx(2 * math.log2(10)) and size == 2 + 1
    assert log["seen"].tolist() == [1, 1] and (log["phone_errors"], log["phones"]) == (1, 1)
    assert VqAdversarialCriterion.logging_outputs_can_be_summed()


def test_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="learns from text; take `--task vq_unpaired`"):
        VqAdversarialCriterion(SimpleNamespace())
