"""What every task does around an update: whoever keeps sums of it hears how it ended, and when."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer
from fairseq.tasks import FairseqTask

import vqw2v_plugin

vqw2v_plugin.register()
from vqw2v_plugin.checkpoints.bounds import TooLargeError, fits_memory
from vqw2v_plugin.training import task as task_module
from vqw2v_plugin.training.datasets.mixture import MixtureDataset
from vqw2v_plugin.training.resumed import Before, ResumeError
from vqw2v_plugin.training.task import TrainingConfig, TrainingTask

OVERFLOW = "overflow"


class Model:
    """Says what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def train(self) -> None:
        pass

    def set_num_updates(self, number: int) -> None:
        self.told.append(number)

    def discard_update(self) -> None:
        self.told.append("discard")


def optimizer(kind: type, *norms: float | str) -> Any:
    """Of a kind, with such norms of its gradients, one an update."""
    left, made = list(norms), object.__new__(kind)

    def clip_grad_norm(max_norm: float, aggregate_norm_fn: object = None) -> torch.Tensor:
        norm = left.pop(0)
        if norm == OVERFLOW:
            raise OverflowError("setting loss scale to: 64.0")
        return torch.tensor(norm)

    made.__dict__.update(clip_grad_norm=clip_grad_norm, steps=0, backward=lambda loss: None)
    made.__dict__.update(step=lambda: vars(made).update(steps=made.steps + 1))
    made.__dict__.update(zeroed=0, zero_grad=lambda: vars(made).update(zeroed=made.zeroed + 1))
    return made


def update(task: TrainingTask, model: Model, optimizer: Any, number: int) -> None:
    """As fairseq's trainer makes one, up to an overflow."""

    def criterion(model: Model, sample: dict[str, Any]) -> tuple[torch.Tensor, int, dict[str, Any]]:
        model.told.append("batch")
        return torch.tensor(1.0), 1, {}

    task.train_step({"id": [0], "utts": ["one.wav"]}, model, criterion, optimizer, number)
    try:
        optimizer.clip_grad_norm(0.0)
    except OverflowError:
        return
    task.optimizer_step(optimizer, model, number)


class Plain:
    pass


@pytest.fixture
def task() -> TrainingTask:
    return TrainingTask(SimpleNamespace(max_skipped_updates=3))  # type: ignore[arg-type]


def test_a_model_hears_of_an_update_s_end_with_that_update(task: TrainingTask) -> None:
    """Before the checkpoint is written, and not with the first batch of the next one."""
    model, plain = Model(), optimizer(Plain, 1.0, 1.0)
    update(task, model, plain, 0)
    update(task, model, plain, 1)
    assert model.told == [0, "batch", 1, 1, "batch", 2] and plain.steps == 2


def test_a_skipped_update_is_discarded_before_it_ends(
    task: TrainingTask, caplog: pytest.LogCaptureFixture
) -> None:
    model, plain = Model(), optimizer(Plain, math.nan, 1.0)
    update(task, model, plain, 0)
    assert plain.zeroed == 1
    assert "of the batch of one.wav" in caplog.text
    update(task, model, plain, 1)
    assert model.told == [0, "batch", "discard", 1, 1, "batch", 2] and plain.steps == 1


def test_an_update_that_overflows_in_fp16_is_discarded_and_not_counted(task: TrainingTask) -> None:
    model, scaled = Model(), optimizer(FP16Optimizer, OVERFLOW, 1.0)
    update(task, model, scaled, 0)
    update(task, model, scaled, 0)
    assert model.told == [0, "batch", "discard", 0, "batch", 1] and scaled.steps == 1


def test_an_update_that_overflows_under_amp_is_discarded_and_not_counted(task: TrainingTask) -> None:
    """Its scaler is asked for the step all the same, so that it lowers the scale."""
    model, scaled = Model(), optimizer(AMPOptimizer, math.inf, 1.0)
    update(task, model, scaled, 0)
    update(task, model, scaled, 0)
    assert model.told == [0, "batch", "discard", 0, "batch", 1] and scaled.steps == 2


def test_a_model_that_keeps_nothing_of_an_update_needs_no_method_for_it(task: TrainingTask) -> None:
    told: list[int] = []
    bare = SimpleNamespace(train=lambda: None, set_num_updates=told.append, told=[])
    update(task, bare, optimizer(Plain, math.nan), 0)  # type: ignore[arg-type]
    assert told == [0, 1]


class Held:
    """A data set of which only the content and the moment of a report matter."""

    digested = "its content"

    def __init__(self, content: str) -> None:
        self.content, self.reports, self.digests = content, 0, 0

    def digest(self) -> str:
        self.digests += 1
        return self.content

    def report_skipped(self) -> None:
        self.reports += 1


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is looked at before a model is built, in order, with fairseq's own parts left out."""
    seen: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        return lambda *_: seen.append(name)

    for name in ("check_ranks", "mend_last_checkpoint", "end_where_finished", "leave_memory_alone"):
        monkeypatch.setattr(task_module, name, noted(name))
    monkeypatch.setattr(task_module, "need_our_model", noted("need_our_model"))
    monkeypatch.setattr(TrainingTask, "check_data", noted("check_data"))
    monkeypatch.setattr(FairseqTask, "build_model", lambda *_: "model")
    return seen


def test_all_is_looked_at_before_a_training_begins(task: TrainingTask, begins: list[str]) -> None:
    task.cfg = SimpleNamespace(restore_file="checkpoint_last.pt", save_dir="ck", resume_changed=False)  # type: ignore[assignment]
    looks = ["check_ranks", "mend_last_checkpoint", "end_where_finished", "leave_memory_alone"]
    assert task.build_model(None) == "model" and begins == ["check_data", "need_our_model", *looks]
    assert task.trained_on == {"train"}
    begins.clear()
    task.cfg.restore_file = "another.pt"  # a file of the user's is not ours to mend
    task.build_model(None)
    others = (name for name in looks if name != "mend_last_checkpoint")
    assert begins == ["check_data", "need_our_model", *others]
    begins.clear()
    assert task.build_model(None, from_checkpoint=True) == "model" and begins == ["need_our_model"]


def test_the_checkpoint_s_task_is_compared_when_a_training_goes_on(
    task: TrainingTask, begins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []
    settings = {"dataset": {"train_subset": "train,more"}, "checkpoint": {}}
    earlier = Before(Path("last.pt"), {}, {"symbols": 1}, False, False)
    monkeypatch.setattr(task_module, "as_mapping", lambda _: settings)
    monkeypatch.setattr(task_module, "before", lambda now, may: earlier)
    monkeypatch.setattr(TrainingTask, "check_state", lambda _, state: compared.append(state))
    task.cfg = SimpleNamespace(restore_file="last.pt", resume_changed=False)  # type: ignore[assignment]
    task.build_model(None)
    assert compared == [{"symbols": 1}] and task.trained_on == {"train", "more"}
    task.load_state_dict({"symbols": 2})
    assert compared[1:] == [{"symbols": 2}]


def test_what_a_task_lets_change_is_no_reason_to_refuse(
    task: TrainingTask, begins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    then, now = ({"task": {"data": name, "size": 1}, "checkpoint": {}} for name in ("old", "new"))
    monkeypatch.setattr(task_module, "as_mapping", lambda _: now)
    monkeypatch.setattr(task_module, "before", lambda _, may: Before(Path("last.pt"), then, {}, may, False))
    task.cfg = SimpleNamespace(restore_file="last.pt", resume_changed=False)  # type: ignore[assignment]
    assert task.build_model(None) == "model"
    now["task"]["size"] = 2  # type: ignore[index]
    with pytest.raises(ResumeError, match=r"another training: `task\.size` was 1 and is 2"):
        task.build_model(None)
    task.cfg.resume_changed = True
    assert task.build_model(None) == "model"


def test_how_long_it_still_takes_is_told_behind_an_epoch(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter((0.0, 100.0))
    monkeypatch.setattr("vqw2v_plugin.training.pace.time.monotonic", lambda: next(times))
    with caplog.at_level("INFO"):
        for updates in (10, 110):
            task.end_epoch(updates, 710)
    assert caplog.messages == ["110 of 710 updates, about 10 min left"]


def test_who_says_nothing_has_ten_updates_skipped_and_goes_on_with_no_other_settings() -> None:
    cfg = TrainingConfig()
    assert cfg.max_skipped_updates == 10 and cfg.resume_changed is False


def test_data_is_noted_where_something_is_trained(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SimpleNamespace(persistent_workers=True)
    monkeypatch.setattr(FairseqTask, "get_batch_iterator", lambda *_: made)
    train, valid = Held("a" * 64), Held("b" * 64)
    task.datasets = {"train": train, "valid": valid}
    assert task.get_batch_iterator(valid) is made and not made.persistent_workers
    assert not task.state.state_dict  # of a decoding or a validation alone
    task.trained_on = frozenset({"train"})
    task.before = Before(Path("last.pt"), {}, {"data": {"train": "c" * 64, "valid": "c" * 64}}, False, False)
    for _ in range(3):  # other data to validate on is told, once and not with each epoch
        task.get_batch_iterator(valid)
    assert valid.digests == 1
    with pytest.raises(ResumeError, match=r"train \(its content\)"):
        task.get_batch_iterator(train)
    assert task.state.state_dict == {"data": {"valid": "b" * 64, "train": "a" * 64}}


def test_a_mixture_s_shares_are_told_once_and_only_where_there_are_some(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Mixed(MixtureDataset):
        def __init__(self, name: str, draws: Any) -> None:
            self.name, self.draws, self.kinds = name, draws, []

    class Batches:
        def __len__(self) -> int:
            return 7

    monkeypatch.setattr(FairseqTask, "get_batch_iterator", lambda *_: Batches())
    monkeypatch.setattr(task_module, "told", lambda mixed, batches, _: f"{mixed.name} of {batches}")
    datasets = [Mixed("one", "shares"), Mixed("whole", None), Mixed("two", "shares")]
    with caplog.at_level("INFO"):
        for _ in range(2):  # epochs
            for dataset in datasets:
                task.get_batch_iterator(dataset)
    assert caplog.messages == ["one of 7", "two of 7"]


def test_what_is_learnt_from_is_of_nothing_else(task: TrainingTask) -> None:
    task.trained_on = frozenset({"train", "more"})
    learnt = {split: task.trains_on(split) for split in ("train", "more,train", "valid", "train,valid")}
    assert learnt == {"train": True, "more,train": True, "valid": False, "train,valid": False}


def test_validation_tells_what_was_skipped(task: TrainingTask) -> None:
    task.datasets = {"train": Held(""), "valid": Held("")}
    task.begin_valid_epoch(1, None)
    assert [dataset.reports for dataset in task.datasets.values()] == [1, 1]


def test_a_table_is_of_what_is_trained_on_or_validated_and_is_told_once(
    task: TrainingTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Table:
        """Its lines are the logs that it was given."""

        def __init__(self, dataset: Held) -> None:
            self.said = [dataset.content]

        def add(self, logs: list[dict[str, str]]) -> None:
            self.said += [log["of"] for log in logs]

        def lines(self) -> list[str]:
            return self.said

    monkeypatch.setattr(FairseqTask, "get_batch_iterator", lambda *_: SimpleNamespace())
    monkeypatch.setattr(FairseqTask, "reduce_metrics", lambda *_: None)
    monkeypatch.setattr(task_module, "KindTable", SimpleNamespace(of=Table))
    task.datasets, task.trained_on = {"train": Held("T"), "valid": Held("V")}, frozenset({"train"})
    for dataset in task.datasets.values():
        task.get_batch_iterator(dataset)
    for training in (True, False, True):
        task.reduce_metrics([{"of": f"{training}"}], SimpleNamespace(training=training))
    with caplog.at_level("INFO"):
        for _ in range(2):
            task.post_validate(None, None, None)
            task.end_epoch(1, 0)
    assert caplog.messages == ["V\nFalse", "T\nTrue\nTrue"]


def test_patience_goes_into_a_checkpoint_and_comes_back(task: TrainingTask) -> None:
    def counter() -> None: ...

    task.patience.follow(counter)
    counter.best, counter.num_runs = 2.5, 3  # type: ignore[attr-defined]
    state = task.get_checkpoint_dict()
    other = TrainingTask(SimpleNamespace(max_skipped_updates=3))  # type: ignore[arg-type]
    other.set_checkpoint_dict(state["TrainingTask"])

    def another() -> None: ...

    other.patience.follow(another)
    assert vars(another) == {"best": 2.5, "num_runs": 3}


@pytest.mark.parametrize(
    "build",
    [
        lambda: torch.nn.ModuleList(torch.nn.Identity() for _ in range(10**9)),
        lambda: torch.nn.Linear(10**6, 10**7),
        lambda: torch.nn.Linear(10**12, 10**12),
        lambda: torch.nn.Embedding(2**62, 2**62),
        lambda: torch.nn.Embedding(10**30, 2),
        lambda: torch.tensor([10**30]),
    ],
)
def test_a_model_that_no_memory_holds_is_one_sentence(build: Callable[[], torch.nn.Module]) -> None:
    with pytest.raises(TooLargeError, match=r"settings ask for more than .* GiB, .*; make the model smaller"):
        with fits_memory():
            build()


def test_other_errors_of_a_model_are_told_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"), fits_memory():
        torch.nn.Linear(2, 3)(torch.ones(1, 5))
