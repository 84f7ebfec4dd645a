"""A training that is over stays as it is, whatever ended it, however often its command is given again."""

import re
from pathlib import Path
from types import SimpleNamespace

import fairseq_cli.train
import pytest
from fairseq import checkpoint_utils
from small_training import noise_corpus, num_updates, options, train

from vqw2v_plugin.training.finished import Patience, end_where_finished, keep_a_best, over


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_corpus(tmp_path_factory.mktemp("noise"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (["--max-update", "5"], "`max_update`"),
        (["--max-epoch", "2", "--max-update", "100"], ""),
        (["--stop-time-hours", "1e-9", "--max-update", "100"], "`stop_time_hours`"),
        (["--stop-min-lr", "0.0001", "--lr-scheduler", "polynomial_decay", "--total-num-update", "6"], ""),
        (["--patience", "1", "--lr", "1e-9", "--max-epoch", "9", "--max-update", "100"], "`patience`"),
    ],
    ids=["updates", "epochs", "hours", "rate", "patience"],
)
def test_a_finished_training_is_not_trained_on(
    data: Path, tmp_path: Path, limit: list[str], says: str
) -> None:
    given = options(data, tmp_path / "ck", limit)
    first = train(given, tmp_path)
    assert first.status == 0, first.said
    before, made = (tmp_path / "ck/checkpoint_last.pt").read_bytes(), num_updates(tmp_path / "ck")
    for _ in range(2):
        again = train(given, tmp_path)
        assert again.status == 0, again.said
        assert num_updates(tmp_path / "ck") == made
        assert (tmp_path / "ck/checkpoint_last.pt").read_bytes() == before
        assert "done training in" in again.said and says in again.said
        assert "next: vqw2v usage" in again.said


def settings(max_update: int = 0, stop_time_hours: float = 0, patience: int = -1) -> SimpleNamespace:
    limits = SimpleNamespace(max_update=max_update, stop_time_hours=stop_time_hours)
    return SimpleNamespace(optimization=limits, checkpoint=SimpleNamespace(patience=patience))


def trainer(updates: int, hours: float = 0) -> SimpleNamespace:
    return SimpleNamespace(get_num_updates=lambda: updates, _previous_training_time=3600 * hours)


@pytest.mark.parametrize(
    ("cfg", "updates", "hours", "names"),
    [
        (settings(max_update=5), 4, 0, None),
        (settings(max_update=5), 5, 0, "5 updates, `max_update` is 5"),
        (settings(), 10**6, 100, None),
        (settings(stop_time_hours=2), 1, 2, None),
        (settings(stop_time_hours=2), 1, 2.1, "`stop_time_hours` is 2"),
        (settings(patience=3), 1, 0, None),
        (settings(patience=2), 1, 0, "the last 2 validations .* `patience` is 2"),
    ],
)
def test_what_has_ended_a_training_ends_it_before_the_next_update(
    cfg: SimpleNamespace, updates: int, hours: float, names: str | None
) -> None:
    patience = Patience()
    patience.load_state_dict({"best": 1.0, "num_runs": 2})
    patience.follow(SimpleNamespace())
    reason = over(cfg, trainer(updates, hours), patience)
    assert reason is None if names is None else re.search(names, str(reason))


def test_patience_is_what_it_was_in_the_checkpoint() -> None:
    """fairseq counts in attributes of a function."""
    counter, resumed = SimpleNamespace(best=9.0, num_runs=5), SimpleNamespace()
    patience, other = Patience(), Patience()
    assert patience.state_dict() == {}
    patience.follow(counter)
    assert patience.state_dict() == {}  # that was another training's, in this process
    counter.best, counter.num_runs = 2.5, 1
    other.load_state_dict(patience.state_dict())
    other.follow(resumed)
    assert (resumed.best, resumed.num_runs, other.num_runs) == (2.5, 1, 1)
    resumed.num_runs = 2
    other.follow(resumed)
    assert other.state_dict() == {"best": 2.5, "num_runs": 2}


def test_trainings_of_other_tasks_are_fairseq_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(fairseq_cli.train, "train", lambda *given: calls.append(given) or ([1.0], False))
    end_where_finished()
    end_where_finished()
    assert fairseq_cli.train.train(settings(max_update=1), trainer(9), object(), None) == ([1.0], False)
    ours = SimpleNamespace(patience=Patience())
    assert fairseq_cli.train.train(settings(max_update=1), trainer(9), ours, None) == ([None], True)
    assert len(calls) == 1


def test_what_an_epoch_tells_is_told_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(fairseq_cli.train, "train", lambda *_: told.append("epoch") or ([1.0], False))
    end_where_finished()
    task = SimpleNamespace(patience=Patience(), end_epoch=lambda *given: told.append(given))
    assert fairseq_cli.train.train(settings(max_update=10), trainer(9), task, None) == ([1.0], False)
    assert told == ["epoch", (9, 10)]


@pytest.mark.parametrize(
    ("there", "chosen", "kept"),
    [
        *(("last", False, True), ("last", True, True), ("last best", False, True)),
        *(("last best", True, False), ("best", False, False), ("", False, False)),
    ],
)
def test_the_last_checkpoint_is_the_best_one_unless_a_validation_chose_another(
    there: str, chosen: bool, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_utils.save_checkpoint, "best", 1.0, raising=False)
    if not chosen:
        monkeypatch.delattr(checkpoint_utils.save_checkpoint, "best")
    for name in there.split():
        (tmp_path / f"checkpoint_{name}.pt").write_text(name)
    assert keep_a_best(tmp_path) is kept
    best = tmp_path / "checkpoint_best.pt"
    assert best.exists() == bool(there) and (not kept or best.read_text() == "last")


def test_another_training_of_this_process_begins_with_no_validation_waited_for() -> None:
    def counter() -> None: ...

    counter.best, counter.num_runs = 1.0, 7  # type: ignore[attr-defined]
    patience = Patience()
    patience.follow(counter)
    assert patience.num_runs == 0 and not vars(counter)
