"""Updates without a finite gradient: named, skipped, counted, and not skipped for ever."""

import logging
import math
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("fairseq")
from fairseq.optim.amp_optimizer import AMPOptimizer

from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.training.update_guard import NumericalTroubleError, UpdateGuard

ROOT = Path(__file__).resolve().parents[2]
NAN, FINE = torch.tensor(float("nan")), torch.tensor(1.0)
OVERFLOW = -1.0


class Optimizer:
    """Answers with the norms it is given."""

    def __init__(self, *norms: float) -> None:
        self.norms = list(norms)

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: object = None) -> torch.Tensor:
        return torch.tensor(self.norms.pop(0))


def run(guard: UpdateGuard, optimizer: Optimizer, loss: torch.Tensor, utts: list[str]) -> bool:
    guard.watch(optimizer)
    guard.note(utts, loss, {})
    norm = optimizer.clip_grad_norm(1.0)
    assert torch.isfinite(norm)
    return guard.skips()


def test_a_bad_update_is_skipped_and_its_batch_named(caplog: pytest.LogCaptureFixture) -> None:
    guard, optimizer = UpdateGuard(3), Optimizer(1.0, float("inf"), 2.0)
    assert not run(guard, optimizer, FINE, ["a"])
    assert run(guard, optimizer, NAN, ["b", "c"])
    assert not run(guard, optimizer, FINE, ["d"])
    assert "the loss is not finite for the batch of b, c" in caplog.text and "(1 of at most 3)" in caplog.text


def test_only_the_batch_at_fault_is_named(caplog: pytest.LogCaptureFixture) -> None:
    guard, optimizer = UpdateGuard(3), Optimizer(float("nan"), float("nan"))
    guard.watch(optimizer)
    guard.note(["good"], FINE, {})
    assert run(guard, optimizer, NAN, ["bad"])
    assert "of bad" in caplog.text and "good" not in caplog.text
    assert run(guard, optimizer, FINE, [f"u{i}" for i in range(20)])
    assert "the losses here are finite" in caplog.text and "… (20 in all)" in caplog.text


def test_it_stops_with_advice_after_the_last_allowed() -> None:
    guard, optimizer = UpdateGuard(2), Optimizer(*[float("nan")] * 3)
    assert run(guard, optimizer, NAN, ["a"]) and run(guard, optimizer, NAN, ["a"])
    with pytest.raises(
        NumericalTroubleError, match=r"stopped: 3 updates .* `max_skipped_updates` is 2.*`lr`"
    ):
        run(guard, optimizer, NAN, ["a"])


def test_a_hundred_good_updates_let_earlier_ones_be_forgotten() -> None:
    guard = UpdateGuard(1)
    optimizer = Optimizer(float("nan"), *[1.0] * 100, float("nan"))
    for i in range(102):
        assert run(guard, optimizer, FINE, ["a"]) is (i in (0, 101))


def test_good_updates_with_a_bad_one_between_them_are_not_in_a_row() -> None:
    guard = UpdateGuard(2)
    optimizer = Optimizer(*[float("nan"), *[1.0] * 60] * 2, float("nan"))
    for _ in range(122):
        run(guard, optimizer, FINE, ["a"])
    with pytest.raises(NumericalTroubleError, match="3 updates"):
        run(guard, optimizer, FINE, ["a"])


def test_logs_of_a_bad_batch_do_not_spoil_the_means() -> None:
    logs = UpdateGuard(1).note(["a"], NAN, {"loss": NAN, "sample_size": 3, "codes": torch.tensor([1, 2])})
    endless = torch.tensor([math.inf, -math.inf, 2.0])
    assert UpdateGuard(1).note(["a"], NAN, {"loss": endless})["loss"].tolist() == [0, 0, 2]
    assert logs["loss"] == 0 and logs["sample_size"] == 3 and logs["codes"].tolist() == [1, 2]


def test_an_optimizer_is_watched_once() -> None:
    guard, optimizer = UpdateGuard(1), Optimizer(1.0)
    guard.watch(optimizer)
    wrapped = optimizer.clip_grad_norm
    guard.watch(optimizer)
    assert optimizer.clip_grad_norm is wrapped


def test_nothing_is_kept_of_batches_that_nobody_judges() -> None:
    """AMP's scaler has its own way with updates that are not finite; a loss kept would stay on the device."""
    kept: list[weakref.ref[torch.Tensor]] = []

    class Loss:
        def detach(self) -> torch.Tensor:
            value = torch.tensor(1.0)
            kept.append(weakref.ref(value))
            return value

    guard, optimizer = UpdateGuard(1), object.__new__(AMPOptimizer)
    for _ in range(3):
        guard.watch(optimizer)
        assert guard.note(["a"], Loss(), {"loss": NAN})["loss"] == 0
    assert all(loss() is None for loss in kept)


def test_batches_of_an_overflow_in_fp16_are_not_named_later(caplog: pytest.LogCaptureFixture) -> None:
    class Overflowing(Optimizer):
        def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: object = None) -> torch.Tensor:
            if self.norms[0] == OVERFLOW:
                self.norms.pop(0)
                raise OverflowError("setting loss scale to: 64.0")  # fairseq's trainer goes on
            return super().clip_grad_norm(max_norm, aggregate_norm_fn)

    guard, optimizer = UpdateGuard(3), Overflowing(OVERFLOW, float("nan"))
    with pytest.raises(OverflowError):
        run(guard, optimizer, FINE, ["overflowed"])
    assert not guard.skips()
    assert run(guard, optimizer, FINE, ["bad"])
    assert "the batch of bad" in caplog.text and "overflowed" not in caplog.text


@pytest.mark.parametrize(
    ("allowed", "says", "status"), [(1, "update skipped (1 of at most 1)", 0), (0, "stopped: 1 updates", 1)]
)
def test_training_survives_one_absurd_file_or_stops(
    tmp_path: Path, allowed: int, says: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = []
    for i in range(6):
        wav = np.random.default_rng(i).normal(0, 0.1, 6_000).astype(np.float32)
        soundfile.write(tmp_path / f"clip{i}.wav", wav * (1e30 if i == 3 else 1), 16_000, subtype="FLOAT")
        rows.append({"path": f"clip{i}.wav", "samples": 6_000})
    write_manifest(tmp_path / "train.tsv", str(tmp_path), rows)
    options = (
        "--task vq_audio_pretraining --arch vq_wav2vec --quantizer kmeans --criterion vq_contrastive --cpu"
    )
    options += f" --optimizer adam --lr 1e-3 --max-epoch 1 --batch-size 1 --max-skipped-updates {allowed}"
    options += (
        f" --num-workers 0 --disable-validation --log-format json --vq-vars 8 --save-dir {tmp_path / 'ck'}"
    )
    layers = ["--conv-feature-layers", "[(16, 10, 5), (16, 8, 4), (16, 4, 2)]"]
    layers += ["--conv-aggregator-layers", "[(16, 2, 1)]", "--user-dir", str(ROOT / "vqw2v_plugin")]
    command = [str(Path(sys.executable).parent / "fairseq-train"), str(tmp_path), *options.split(), *layers]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    said = done.stdout + done.stderr
    assert done.returncode == status, said[-3000:]
    assert says in said and "the batch of clip3" in said
    if status == 0:
        state = torch.load(tmp_path / "ck" / "checkpoint_last.pt", weights_only=True)
        assert all(weight.isfinite().all() for weight in state["model"].values())
        assert state["model"]["network.health.window"].sum() > 0
        assert '"train_skipped_updates": "1"' in said and '"train_loss": NaN' not in said


def test_batches_of_tokens_are_named_by_number_and_eight_of_many(caplog: pytest.LogCaptureFixture) -> None:
    for count, told in ((8, "number 6, number 7"), (9, "number 6, number 7, … (9 in all)")):
        guard, optimizer = UpdateGuard(1), Optimizer(float("nan"))
        assert run(guard, optimizer, NAN, torch.arange(count))  # type: ignore[arg-type]
        assert caplog.records[-1].message.endswith(told)
