"""Criterions `vq_ctc` and `asg`: what is summed, divided by and logged."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.data import Dictionary
from fairseq.logging import metrics

from vqw2v_plugin.checkpoints.acoustic import make_network
from vqw2v_plugin.criterions.asg import AsgCriterion
from vqw2v_plugin.criterions.vq_ctc import VqCtcCriterion
from vqw2v_plugin.modules.acoustic.network import AcousticConfig
from vqw2v_plugin.text.units import Units, asg_units, ctc_units
from vqw2v_plugin.training.alike import HypothesesAlarm

UNITS = {"ctc": ctc_units(["|", "a", "b"]), "asg": asg_units(["|", "a", "b"])}
CRITERIONS = {"ctc": VqCtcCriterion, "asg": AsgCriterion}


def task_of(units: Units) -> SimpleNamespace:
    return SimpleNamespace(units=units, target_dictionary=Dictionary(), hypotheses=HypothesesAlarm())


class Model(torch.nn.Module):
    """The network as fairseq's model has it."""

    def __init__(self, units: Units) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = make_network(AcousticConfig(4, len(units), "[(8, 3)]", norm="none"), units)

    def forward(self, source: torch.Tensor, lengths: torch.Tensor):
        return self.network(source, lengths)


def sample_of(units: Units, texts: list[str] = ["ab|", "abba|"], frames: int = 12) -> dict:  # noqa: B006
    torch.manual_seed(1)
    columns = [torch.tensor(units.encode(text)) for text in texts]
    return {
        "net_input": {
            "source": torch.randn(len(texts), frames, 4),
            "lengths": torch.tensor([frames - i for i in range(len(texts))]),
        },
        "targets": torch.nn.utils.rnn.pad_sequence(columns, batch_first=True),
        "target_lengths": torch.tensor([len(c) for c in columns]),
        "ntokens": sum(map(len, columns)),
        "nsentences": len(texts),
    }


@pytest.mark.parametrize("loss", ["ctc", "asg"])
def test_the_loss_is_the_sum_over_utterances_and_trains(loss: str) -> None:
    units, model = UNITS[loss], Model(UNITS[loss])
    sample = sample_of(units)
    criterion = CRITERIONS[loss](task_of(units))
    total, size, logs = criterion(model, sample)
    out = model(**sample["net_input"])
    each = model.network.sequence_loss(
        out.emissions, out.lengths, sample["targets"], sample["target_lengths"]
    )
    assert total.item() == pytest.approx(each.sum().item()) and size == sample["ntokens"]
    assert "labels" not in logs  # best paths are for validation
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert CRITERIONS[loss](task_of(units), sentence_avg=True)(model, sample)[1] == 2


@pytest.mark.parametrize("loss", ["ctc", "asg"])
def test_error_rates_are_those_of_the_best_path(loss: str) -> None:
    units, model = UNITS[loss], Model(UNITS[loss]).eval()
    sample = sample_of(units)
    criterion = CRITERIONS[loss](task_of(units)).eval()
    path = model.network.sequence_loss.best_path(*_emissions(model, sample)).sequences()
    said = [units.decode(columns) for columns in path]
    sample["targets"] = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(units.encode(labels) or [0]) for labels in said], batch_first=True
    )
    sample["target_lengths"] = torch.tensor([len(units.encode(labels)) for labels in said])
    right = criterion._errors(model.network.sequence_loss, model(**sample["net_input"]), sample)
    assert right["label_errors"] == right["word_errors"] == 0 and right["labels"] == sum(map(len, said))
    heard: list[Any] = []
    criterion.task.hypotheses = SimpleNamespace(add=lambda *told: heard.append(told))
    wrong = criterion(model, sample_of(units))[2]
    assert heard == [(said[0], list("ab|"), 12), (said[1], list("abba|"), 11)]
    assert wrong["labels"] == len("ab|abba|") and wrong["words"] == 2 and wrong["label_errors"] > 0


def _emissions(model: Model, sample: dict) -> tuple[torch.Tensor, torch.Tensor]:
    out = model(**sample["net_input"])
    return out.emissions, out.lengths


def test_logs_of_batches_and_ranks_make_one_rate() -> None:
    logs = [
        {"loss": torch.tensor(2.0), "sample_size": 4, "ntokens": 4, "nsentences": 1, "labels": 4}
        | {"label_errors": 1, "words": 1, "word_errors": 1},
        {"loss": torch.tensor(6.0), "sample_size": 12, "ntokens": 12, "nsentences": 3, "labels": 12}
        | {"label_errors": 3, "words": 3, "word_errors": 1},
    ]
    with metrics.aggregate() as agg:
        VqCtcCriterion.reduce_metrics(logs)
    found = agg.get_smoothed_values()
    assert found["loss"].item() == pytest.approx(0.5 / math.log(2), abs=1e-3)
    assert found["uer"].item() == pytest.approx(25.0) and found["wer"].item() == pytest.approx(50.0)
    assert VqCtcCriterion.logging_outputs_can_be_summed()


def test_the_columns_of_an_epoch_are_over_what_they_count() -> None:
    with metrics.aggregate(new_root=True) as epoch:
        for loss, size, errors in ((2.0, 4, 1), (24.0, 12, 9)):
            log = {"loss": loss, "sample_size": size, "labels": size, "label_errors": errors}
            VqCtcCriterion.reduce_metrics([log])
    found = epoch.get_smoothed_values()
    assert float(found["loss"]) == pytest.approx(26 / 16 / math.log(2), abs=1e-3)
    assert float(found["uer"]) == pytest.approx(100 * 10 / 16)


def test_words_are_not_counted_of_phones() -> None:
    units = ctc_units(["|", "a", "b"], "phones")
    logs = VqCtcCriterion(task_of(units))(Model(units).eval(), sample_of(units))[2]
    assert logs["words"] == 0 and logs["labels"] > 0


def test_another_loss_than_the_model_s_is_refused() -> None:
    with pytest.raises(ValueError, match="`criterion` is asg, but the model is one of CTC"):
        AsgCriterion(task_of(UNITS["ctc"]))
    with pytest.raises(ValueError, match="`criterion` is vq_ctc, but the model is one of ASG"):
        VqCtcCriterion(task_of(UNITS["asg"]))
