"""The loss of masked speech: a mean over the codes that are known, and what a blind guess would get."""

import math

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from speech_bert import speech_bert

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_masked_speech import VqMaskedSpeechCriterion
from vqw2v_plugin.models.vq_speech_bert import VqSpeechBertModel


def sample(target: list[list[int]]) -> dict:
    """Frames 3, 4, … are masked; the most frequent code is 5."""
    torch.manual_seed(1)
    masked = torch.arange(len(target)) + 3
    given = {"frames": torch.randn(12, 20), "lengths": [12], "masked": masked, "counts": [len(target)]}
    wanted = torch.tensor(target, dtype=torch.int64).view(-1, 2)
    return {
        "net_input": given,
        "target": wanted,
        "scored": int((wanted >= 0).sum()),
        "common": int((wanted == 5).sum()),
        "ntokens": 24,
        "nsentences": 1,
    }


def reduce(logs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as found:
        VqMaskedSpeechCriterion.reduce_metrics(logs)
    return {key: float(value) for key, value in found.get_smoothed_values().items()}


def test_codes_that_nobody_knows_count_nowhere() -> None:
    model = VqSpeechBertModel(speech_bert()).eval()
    loss, size, log = VqMaskedSpeechCriterion(None)(model, sample([[5, -1], [2, 5], [-1, -1]]))
    assert size == 3
    found = reduce([log])
    assert found["loss"] == pytest.approx(float(loss.detach()) / 3 / math.log(2), abs=1e-3)
    assert found["chance"] == 0.6667 and found["masked"] == pytest.approx(3 / 24)
    assert found["accuracy"] == pytest.approx(int(log["correct"]) / 3, abs=1e-4)


def test_an_epoch_s_chance_is_a_mean_over_codes() -> None:
    logs = [
        {"loss": 1.0, "correct": 0, "sample_size": n, "common": c, "ntokens": 10} for n, c in ((2, 2), (8, 0))
    ]
    with metrics.aggregate(new_root=True) as epoch:
        for log in logs:
            VqMaskedSpeechCriterion.reduce_metrics([log])
    assert epoch.get_smoothed_values()["chance"] == pytest.approx(0.2)


def test_a_step_in_which_nothing_was_masked_logs_nothing() -> None:
    model = VqSpeechBertModel(speech_bert()).eval()
    loss, size, log = VqMaskedSpeechCriterion(None)(model, sample([]))
    loss.backward()
    assert loss == 0 and size == 0 and not {"loss", "chance"} & set(reduce([log]))
