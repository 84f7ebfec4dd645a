import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics

import vqw2v_plugin
from vqw2v_plugin.modules.quantizers.base import count_perplexity
from vqw2v_plugin.modules.wav2vec.contrastive import contrastive_loss
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

vqw2v_plugin.register()
from vqw2v_plugin.criterions.vq_contrastive import VqContrastiveConfig, VqContrastiveCriterion
from vqw2v_plugin.models.vq_wav2vec import VqWav2VecModel

Build = Callable[..., VqWav2Vec]


def sample(batch: int = 2) -> dict:
    torch.manual_seed(1)
    return {"net_input": {"source": torch.randn(batch, 2000)}, "id": torch.arange(batch), "skipped": 1}


def reduce(logs: list[dict]) -> dict[str, float]:
    with metrics.aggregate(new_root=True) as found:
        VqContrastiveCriterion.reduce_metrics(logs)
    return dict(found.get_smoothed_values())


@pytest.mark.parametrize(
    ("quantizer", "has_own_loss"), [("kmeans", True), ("gumbel", False), ("none", False)]
)
def test_the_paper_s_weight_of_the_quantizer_s_loss_is_the_default(
    tiny: Build, quantizer: str, has_own_loss: bool
) -> None:
    model = VqWav2VecModel(tiny(quantizer=quantizer))
    loss, size, log = VqContrastiveCriterion(None)(model, sample())
    assert ("loss_quantizer" in log) is has_own_loss
    own = log.get("loss_quantizer", torch.tensor(0.0))
    torch.testing.assert_close(loss.detach(), log["loss_contrastive"] + own)
    assert size == log["sample_size"] > 0 and loss.requires_grad
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in log.values())


def test_who_says_nothing_gets_the_paper_s_binary_loss() -> None:
    for cfg in (VqContrastiveConfig(), VqContrastiveCriterion(None)):
        assert (cfg.infonce, cfg.loss_weights) == (False, None)


def test_a_given_weight_scales_the_quantizer_s_loss(tiny: Build) -> None:
    model = VqWav2VecModel(tiny(quantizer="kmeans"))
    one, two = (VqContrastiveCriterion(None, loss_weights=[w])(model, sample())[2] for w in (1.0, 2.0))
    torch.testing.assert_close(two["loss_quantizer"], 2 * one["loss_quantizer"])
    with pytest.raises(ValueError, match="expected one weight"):
        VqContrastiveCriterion(None, loss_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"`loss_weights` is \[nan\]; expected a number"):
        VqContrastiveCriterion(None, loss_weights=[math.nan])
    with pytest.raises(ValueError, match="expected a number"):
        VqContrastiveCriterion(None, loss_weights=[math.inf])
    with pytest.raises(ValueError, match="expected one weight"):
        VqContrastiveCriterion(None, loss_weights=[])


def test_the_objective_is_the_network_s_and_the_criterion_s_options_reach_it(tiny: Build) -> None:
    network = tiny(quantizer="kmeans", balanced_classes=True).eval()
    batch = sample()
    wav = batch["net_input"]["source"]
    torch.manual_seed(2)  # of the negatives
    out = network.contrast(wav)
    scored, quantized = out.scored, out.quantized
    for infonce, weight in ((False, None), (True, 0.5), (False, 0.0)):
        torch.manual_seed(2)
        found = network.objective(wav, infonce, weight)
        first = contrastive_loss(scored, infonce, balanced=True)
        second = (1.0 if weight is None else weight) * scored.num_predictions * quantized.loss
        assert torch.equal(found.contrastive, first) and found.num_predictions == scored.num_predictions
        assert torch.equal(found.loss, first + second)
        assert (found.quantizer is None) == (weight == 0.0)
    torch.manual_seed(2)
    criterion = VqContrastiveCriterion(None, infonce=True, loss_weights=[0.5])
    loss = criterion(VqWav2VecModel(network), batch)[0]
    torch.manual_seed(2)
    assert torch.equal(loss, network.objective(wav, True, 0.5).loss)


def test_without_codes_there_is_neither_a_loss_nor_a_column_of_them(tiny: Build) -> None:
    log = VqContrastiveCriterion(None, loss_weights=[0.5])(VqWav2VecModel(tiny(quantizer="none")), sample())[
        2
    ]
    assert torch.equal(log["loss"], log["loss_contrastive"])
    assert not {"loss_quantizer", "code_counts", "joint_counts"} & set(log)


def test_logs_of_two_batches_are_means_over_predictions(tiny: Build) -> None:
    model = VqWav2VecModel(tiny(quantizer="gumbel"))
    logs = [VqContrastiveCriterion(None)(model, sample(b))[2] for b in (1, 3)]
    found = reduce(logs)
    assert VqContrastiveCriterion.logging_outputs_can_be_summed()
    summed = reduce([{key: logs[0][key] + logs[1][key] for key in logs[0]}])
    assert {key: str(value) for key, value in found.items()} == {
        key: str(value) for key, value in summed.items()
    }
    total = sum(float(log["loss"]) for log in logs) / sum(log["sample_size"] for log in logs) / math.log(2)
    assert found["loss"] == pytest.approx(total, abs=2e-3)
    counts = sum(log["code_counts"] for log in logs)
    assert found["code_perplexity"] == pytest.approx(count_perplexity(counts).mean().item(), abs=2e-3)
    assert found["temp"] == pytest.approx(2.0)
    softmax = [float(log["prob_perplexity"]) for log in logs]
    assert all(1 <= perplexity <= counts.size(1) for perplexity in softmax)
    assert found["prob_perplexity"] == pytest.approx(sum(softmax) / 2, abs=2e-3)
    assert found["skipped"] == 2 and found["ntokens"] == 4 * 2000 and found["nsentences"] == 4
    assert 0 <= found["accuracy"] <= 1


def test_the_means_of_an_epoch_are_over_its_predictions() -> None:
    with metrics.aggregate(new_root=True) as epoch:
        for size, loss, correct in ((10, 30.0, 5), (90, 90.0, 90)):
            log = {"sample_size": size, "loss": loss, "correct": correct, "skipped": size}
            VqContrastiveCriterion.reduce_metrics([log])
    found = epoch.get_smoothed_values()
    assert found["loss"] == pytest.approx(1.2 / math.log(2), abs=1e-3) and found["accuracy"] == 0.95
    assert found["skipped"] == 100


def test_where_no_update_was_made_since_the_last_line_there_is_no_mean() -> None:
    with metrics.aggregate("train_inner", new_root=True) as inner:
        VqContrastiveCriterion.reduce_metrics([{"sample_size": 4, "loss": 8.0, "correct": 1}])
    for meter in inner.values():
        meter.reset()
    found = inner.get_smoothed_values()
    assert math.isnan(found["loss"]) and math.isnan(found["accuracy"])


def test_infonce_logs_its_chance_level_for_equal_scores(tiny: Build) -> None:
    network = tiny(quantizer="none")
    torch.nn.init.zeros_(network.predictor.weight), torch.nn.init.zeros_(network.predictor.bias)
    model = VqWav2VecModel(network)
    found = reduce([VqContrastiveCriterion(None, infonce=True)(model, sample())[2]])
    assert found["loss"] == pytest.approx(math.log2(5), abs=2e-3) and found["accuracy"] == 0


def test_the_codebook_s_columns_are_of_all_batches_together(tiny: Build) -> None:
    model = VqWav2VecModel(tiny(quantizer="kmeans"))
    logs = [VqContrastiveCriterion(None)(model, sample(b))[2] for b in (1, 2)]
    logs[0]["code_counts"] = torch.tensor([[4.0, *[0.0] * 7], [1.0] * 8])
    logs[1]["code_counts"] = torch.tensor([[4.0, *[0.0] * 7], [1.0] * 8])
    found = reduce(logs)
    assert found["group_share"].tolist() == pytest.approx([1 / 8, 1], abs=2e-3)
    assert found["codes_used"] == pytest.approx(9 / 16, abs=1e-3) and found["dead_codes"] == 7
    frames = float(logs[0]["joint_counts"].sum() + logs[1]["joint_counts"].sum())
    perplexity = count_perplexity((logs[0]["joint_counts"] + logs[1]["joint_counts"])[None]).item()
    assert found["joint_share"] == pytest.approx(perplexity / min(64, frames), abs=2e-3)
    for log in logs:  # of three frames, no two with one code
        log["joint_counts"] = torch.zeros(64)
    logs[0]["joint_counts"][[3, 9, 40]] = 1.0
    assert reduce(logs)["joint_share"] == pytest.approx(1.0, abs=2e-3)


def test_the_columns_of_an_epoch_go_on_after_a_resume(tiny: Build, tmp_path: Path) -> None:
    model = VqWav2VecModel(tiny(quantizer="kmeans"))
    logs = [VqContrastiveCriterion(None)(model, sample(b))[2] for b in (1, 2)]
    with metrics.aggregate(new_root=True) as whole:
        for log in logs:
            VqContrastiveCriterion.reduce_metrics([log])
    with metrics.aggregate(new_root=True) as before:
        VqContrastiveCriterion.reduce_metrics(logs[:1])
    torch.save(before.state_dict(), tmp_path / "state.pt")
    with metrics.aggregate(new_root=True) as after:
        after.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        VqContrastiveCriterion.reduce_metrics(logs[1:])
    wanted, got = whole.get_smoothed_values(), after.get_smoothed_values()
    assert {key: str(value) for key, value in got.items()} == {
        key: str(value) for key, value in wanted.items()
    }


def test_the_model_tells_its_network_how_an_update_ended(tiny: Build) -> None:
    model = VqWav2VecModel(tiny(quantizer="kmeans")).train()
    model(**sample()["net_input"])
    model.discard_update()
    model.set_num_updates(1)
    assert not model.network.health.window.any()
    model(**sample()["net_input"])
    model.set_num_updates(2)
    assert model.network.health.window.any()


def test_kinds_have_sums_of_their_own(tiny: Build) -> None:
    """They make up those of the batch; where utterances change kinds, rows change places."""
    model, found = VqWav2VecModel(tiny(quantizer="kmeans")).eval(), []
    for kinds in ([1, 0], [0, 1]):
        torch.manual_seed(2)  # of the negatives
        log = VqContrastiveCriterion(None)(model, {**sample(), "kinds": kinds, "num_kinds": 2})[2]
        whole = torch.tensor([float(log[name]) for name in ("loss_contrastive", "correct", "sample_size")])
        torch.testing.assert_close(log["kind_sums"].sum(0), whole)
        torch.testing.assert_close(log["kind_counts"].sum(0), log["code_counts"].float())
        found.append(log["kind_sums"])
    torch.testing.assert_close(found[0], found[1].flip(0))
    assert not torch.equal(*found) and "kind_sums" not in VqContrastiveCriterion(None)(model, sample())[2]
