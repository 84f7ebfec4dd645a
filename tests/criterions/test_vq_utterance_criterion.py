"""The loss of heads for utterances: a sum of cross-entropies, in which rare classes may count more."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_utterance import VqUtteranceCriterion, VqUtteranceCriterionConfig

TASK = SimpleNamespace(learning=SimpleNamespace(weights=lambda: torch.tensor([0.5, 2.0, 1.0])))
SAMPLE = {"net_input": {}, "targets": torch.tensor([[0], [1], [1]]), "nsentences": 3, "ntokens": 21}


class Head:
    """It prefers the second class in the last utterance, and none elsewhere."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.logits = torch.zeros(3, 3)
        self.logits[2, 1] = math.log(2)  # a half beside two quarters

    def __call__(self) -> Any:
        return SimpleNamespace(logits=self.logits.requires_grad_())


@pytest.mark.parametrize(("weights", "by_class"), [("none", (1, 1)), ("balanced", (0.5, 2))])
def test_the_loss_is_the_sum_of_the_utterances_weighted_by_class(
    weights: str, by_class: tuple[float, float]
) -> None:
    loss, size, log = VqUtteranceCriterion(TASK, weights)(Head(True), SAMPLE)
    first, second = by_class
    assert loss.item() == pytest.approx(first * math.log(3) + second * math.log(3) + second * math.log(2))
    assert size == log["sample_size"] == log["nsentences"] == 3 and log["ntokens"] == 21
    assert loss.requires_grad and not log["loss"].requires_grad


def test_who_says_nothing_weighs_all_alike() -> None:
    assert VqUtteranceCriterion(TASK).weights is None
    assert str(VqUtteranceCriterionConfig().class_weights) == "none"


@pytest.mark.parametrize("training", [True, False])
def test_what_is_taken_for_what_is_counted_in_validation_alone(training: bool) -> None:
    log = VqUtteranceCriterion(TASK)(Head(training), SAMPLE)[2]
    assert log["class_of"].tolist() == [1, 2, 0] and log["class_correct"].tolist() == [1, 1, 0]
    assert ("confusion" in log) is not training
    if not training:
        assert log["confusion"].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert VqUtteranceCriterion.logging_outputs_can_be_summed()
