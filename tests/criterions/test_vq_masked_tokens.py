"""The loss of masked tokens: stock's own value and log, and an accuracy beside it."""

import argparse
import math

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.criterions.masked_lm import MaskedLmLoss
from fairseq.logging import metrics

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_masked_tokens import VqMaskedTokensCriterion
from vqw2v_plugin.models.vq_bert import VqBertModel
from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import PAD, Symbols

SYMBOLS = Symbols(tuple(f"{i}" for i in range(20)))
SMALL = {
    "encoder_layers": 1,
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 1,
}


@pytest.fixture
def model() -> VqBertModel:
    torch.manual_seed(0)
    return VqBertModel(Bert(BertConfig(**SMALL), SYMBOLS)).eval()


def sample(masked: list[int]) -> dict:
    torch.manual_seed(1)
    tokens = torch.randint(4, 24, (12,))
    tokens[0], tokens[-1] = 0, 2
    counts = [len(masked)]
    given = {
        "tokens": tokens,
        "lengths": [12],
        "masked": torch.tensor(masked, dtype=torch.int64),
        "counts": counts,
    }
    return {"net_input": given, "target": tokens[masked], "ntokens": 12, "nsentences": 1}


def reduce(logs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as found:
        VqMaskedTokensCriterion.reduce_metrics(logs)
    return {key: float(value) for key, value in found.get_smoothed_values().items()}


def test_loss_and_log_are_stock_s(model: VqBertModel) -> None:
    batch = sample([2, 3, 7])
    loss, size, log = VqMaskedTokensCriterion(None)(model, batch)
    target = torch.full((1, 12), PAD)
    target[0, [2, 3, 7]] = batch["target"]

    class Stock(torch.nn.Module):
        def forward(self, masked_tokens: torch.Tensor) -> tuple[torch.Tensor]:
            given = batch["net_input"]
            return (model.network.scores(given["tokens"], given["lengths"])[0][None][masked_tokens],)

        def get_targets(self, sample: dict, _: object) -> torch.Tensor:
            return sample["target"]

    task = argparse.Namespace(target_dictionary=argparse.Namespace(pad=lambda: PAD))
    stock = MaskedLmLoss(argparse.Namespace(tpu=False), task)
    theirs, their_size, their_log = stock(Stock(), {**batch, "net_input": {}, "target": target})
    torch.testing.assert_close(loss, theirs)
    assert size == int(their_size) == 3 and log["ntokens"] == their_log["ntokens"]
    with metrics.aggregate(new_root=True) as found:
        MaskedLmLoss.reduce_metrics([their_log])
    assert reduce([log])["loss"] == pytest.approx(float(found.get_smoothed_values()["loss"]), abs=1e-3)


def test_logs_of_two_batches_are_means_over_masked_tokens(model: VqBertModel) -> None:
    logs = [VqMaskedTokensCriterion(None)(model, sample(masked))[2] for masked in ([2], [3, 4, 5])]
    found = reduce(logs)
    assert not logs[0]["loss"].requires_grad and VqMaskedTokensCriterion.logging_outputs_can_be_summed()
    assert found == reduce([{key: logs[0][key] + logs[1][key] for key in logs[0]}])
    assert found["loss"] == pytest.approx(sum(float(x["loss"]) for x in logs) / 4 / math.log(2), abs=1e-3)
    assert found["ppl"] == pytest.approx(2 ** found["loss"], rel=0.01)
    assert found["accuracy"] == sum(int(x["correct"]) for x in logs) / 4
    assert found["masked"] == pytest.approx(4 / 24, abs=1e-3)


def test_the_means_of_an_epoch_are_over_what_they_count() -> None:
    first = {"loss": 2.0, "correct": 1, "sample_size": 2, "ntokens": 10, "nsentences": 1}
    second = {"loss": 2.0, "correct": 8, "sample_size": 8, "ntokens": 30, "nsentences": 1}
    with metrics.aggregate(new_root=True) as epoch:
        for log in (first, second):
            VqMaskedTokensCriterion.reduce_metrics([log])
    found = epoch.get_smoothed_values()
    assert found["masked"] == pytest.approx(10 / 40) and found["accuracy"] == pytest.approx(0.9)
    assert found["loss"] == pytest.approx(0.4 / math.log(2), abs=1e-3)


def test_accuracy_counts_what_is_likeliest(model: VqBertModel) -> None:
    batch = sample([2, 3, 7])
    with torch.no_grad():
        model.network.vocabulary.bias[9] = 100.0
    batch["target"] = torch.tensor([9, 8, 9])
    _, _, log = VqMaskedTokensCriterion(None)(model, batch)
    assert log["correct"] == 2 and reduce([log])["accuracy"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_step_in_which_nothing_was_masked_logs_nothing(model: VqBertModel) -> None:
    loss, size, log = VqMaskedTokensCriterion(None)(model, sample([]))
    loss.backward()
    assert loss == 0 and size == 0 and "loss" not in reduce([log])


def test_kinds_have_sums_of_their_own(model: VqBertModel) -> None:
    """Of two utterances the first has two masked tokens, the second one."""
    batch, kinds = sample([2, 3, 8]), {"kinds": [1, 0], "num_kinds": 2}
    batch["net_input"] |= {"lengths": [7, 5], "counts": [2, 1]}
    log = VqMaskedTokensCriterion(None)(model, {**batch, **kinds})[2]
    whole = torch.tensor([float(log[name]) for name in ("loss", "correct", "sample_size")])
    torch.testing.assert_close(log["kind_sums"].sum(0), whole)
    assert log["kind_sums"][:, 2].tolist() == [1, 2]
    assert "kind_sums" not in VqMaskedTokensCriterion(None)(model, batch)[2]
