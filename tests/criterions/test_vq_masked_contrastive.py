"""Criterion `vq_masked_contrastive`: weights of its terms, what it logs, what it divides by."""

import math

import pytest
import torch
from wav2vec2s import noise, padded, tiny_wav2vec2

pytest.importorskip("fairseq")
from fairseq.logging import metrics

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_masked_contrastive import (
    VqMaskedContrastiveConfig,
    VqMaskedContrastiveCriterion,
)
from vqw2v_plugin.models.vq_wav2vec2 import VqWav2Vec2Model


def sample() -> dict:
    source, lengths = padded([noise(900), noise(1300, 1)])
    return {"net_input": {"source": source, "lengths": lengths, "seeds": [1, 2]}, "id": torch.arange(2)}


def reduce(logs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as found:
        VqMaskedContrastiveCriterion.reduce_metrics(logs)
    return dict(found.get_smoothed_values())


def model(**settings: object) -> VqWav2Vec2Model:
    return VqWav2Vec2Model(tiny_wav2vec2(**settings)).eval()


@pytest.mark.parametrize(("quantizer", "own"), [("gumbel", 0.1), ("kmeans", 1.0), ("none", None)])
def test_the_papers_weights_are_the_default(quantizer: str, own: float | None) -> None:
    given = VqMaskedContrastiveCriterion(None, [1.0, 1.0])(model(quantizer=quantizer), sample())[2]
    loss, size, logs = VqMaskedContrastiveCriterion(None)(model(quantizer=quantizer), sample())
    assert ("loss_quantizer" in logs) is (own is not None)
    if own is not None:
        torch.testing.assert_close(logs["loss_quantizer"], own * given["loss_quantizer"])
    torch.testing.assert_close(logs["loss_penalty"], 10 * given["loss_penalty"])
    parts = [value for name, value in logs.items() if name.startswith("loss_")]
    torch.testing.assert_close(loss.detach(), torch.stack(parts).sum())
    assert (logs["nsentences"], logs["ntokens"], logs["frames"]) == (2, 2 * 1300, 44 + 64)
    assert type(size) is int and size == logs["sample_size"] > 0
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in logs.values())


def test_who_says_nothing_gets_the_paper_s_weights() -> None:
    assert VqMaskedContrastiveConfig().loss_weights is None
    assert VqMaskedContrastiveCriterion(None).weights == (
        None,
        10.0,
    )  # the quantizer's own, and the penalty's


def test_a_weight_of_zero_takes_its_term_away() -> None:
    logs = VqMaskedContrastiveCriterion(None, [0.0, 0.0])(model(), sample())[2]
    assert not {"loss_quantizer", "loss_penalty"} & set(logs) and logs["loss"] == logs["loss_contrastive"]


@pytest.mark.parametrize("weights", [[0.1], [0.1, 10.0, 1.0], []])
def test_two_weights_are_wanted(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected two weights, of the quantizer's loss and of the penalty"):
        VqMaskedContrastiveCriterion(None, weights)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"`loss_weights` is \[{wrong}, 1.0\]; expected numbers"):
            VqMaskedContrastiveCriterion(None, [wrong, 1.0])


def test_the_log_is_of_all_batches_together() -> None:
    network = model()
    logs = [VqMaskedContrastiveCriterion(None)(network, sample())[2] for _ in range(2)]
    logs[1] = {**logs[1], "sample_size": 3 * logs[1]["sample_size"], "frames": 3 * logs[1]["frames"]}
    found = reduce(logs)
    size = sum(log["sample_size"] for log in logs)
    for name in ("loss", "loss_contrastive", "loss_quantizer", "loss_penalty"):
        wanted = float(sum(log[name] for log in logs)) / size / math.log(2)
        assert float(found[name]) == pytest.approx(wanted, abs=1e-3), name
    assert float(found["accuracy"]) == pytest.approx(
        float(sum(log["correct"] for log in logs)) / size, abs=1e-4
    )
    assert float(found["masked"]) == pytest.approx(logs[0]["sample_size"] / logs[0]["frames"], abs=1e-3)
    assert {"code_perplexity", "group_share", "dead_codes", "prob_perplexity", "temp"} <= set(found)
    assert "skipped" not in found
    assert float(reduce([{**logs[0], "skipped": 2}])["skipped"]) == 2
    assert VqMaskedContrastiveCriterion.logging_outputs_can_be_summed()


def test_the_columns_of_an_epoch_are_over_what_they_count() -> None:
    with metrics.aggregate(new_root=True) as epoch:
        for size, frames, skipped in ((10, 20, 1), (30, 200, 2)):
            log = {"loss": 1.0, "sample_size": size, "frames": frames, "skipped": skipped}
            VqMaskedContrastiveCriterion.reduce_metrics([log])
    found = epoch.get_smoothed_values()
    assert float(found["masked"]) == pytest.approx(40 / 220, abs=1e-3) and found["skipped"] == 3


def test_what_was_skipped_is_the_batch_s() -> None:
    skipped = [
        VqMaskedContrastiveCriterion(None)(model(), {**sample(), **more})[2]["skipped"]
        for more in ({}, {"skipped": 3})
    ]
    assert skipped == [0, 3]


def test_kinds_have_sums_of_their_own() -> None:
    """They make up those of the batch, and each is its utterance's."""
    network, found = model(), []
    for kinds in ([1, 0], [0, 1]):
        log = VqMaskedContrastiveCriterion(None)(network, {**sample(), "kinds": kinds, "num_kinds": 2})[2]
        whole = torch.tensor([float(log[name]) for name in ("loss_contrastive", "correct", "sample_size")])
        torch.testing.assert_close(log["kind_sums"].sum(0), whole)
        found.append(log["kind_sums"])
    torch.testing.assert_close(found[0], found[1].flip(0))
    assert not torch.equal(*found)
    assert "kind_sums" not in VqMaskedContrastiveCriterion(None)(network, sample())[2]
