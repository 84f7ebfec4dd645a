"""Stages side by side: only those that do not need each other, and a failure or another run ends them."""

import sys
import time
from pathlib import Path

import pytest

from vqw2v_plugin.data.run_lock import Rank, claimed
from vqw2v_plugin.recipe import Stage, StageError, run_recipe


def python(code: str) -> list[list[str]]:
    return [[sys.executable, "-c", code]]


def meet(mine: Path, other: Path) -> list[list[str]]:
    """Says that it is there, and waits for the other: alone it never ends well."""
    return python(f"""
import pathlib, time
pathlib.Path({str(mine)!r}).touch()
end = time.monotonic() + 30
while not pathlib.Path({str(other)!r}).exists():
    assert time.monotonic() < end, 'alone'
    time.sleep(0.02)
""")


def test_stages_that_do_not_need_each_other_run_side_by_side(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    stages = [Stage("one", meet(a, b), "One", 0.1), Stage("two", meet(b, a), "Two", 0.1)]
    run_recipe(tmp_path / "run", stages, jobs=2)
    assert (tmp_path / "run" / "one" / "done").exists() and (tmp_path / "run" / "two" / "done").exists()


def test_a_stage_waits_for_what_it_needs_and_not_for_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "ran"

    def write(word: str, wait: float) -> list[list[str]]:
        return python(f"import time; time.sleep({wait}); open({str(file)!r}, 'a').write({word!r} + ' ')")

    stages = [
        Stage("slow", write("slow", 3), "", 0.1),
        Stage("needs_slow", write("needs_slow", 0), "", 0.1, needs=["slow"]),
        Stage("quick", write("quick", 0), "", 0.1),
        Stage("needs_quick", write("needs_quick", 0), "", 0.1, needs=["quick"]),
    ]
    ended: list[str] = []
    run_recipe(tmp_path / "run", stages, after=lambda stage: ended.append(stage.name), jobs=2)
    assert file.read_text().split() == ended == ["quick", "needs_quick", "slow", "needs_slow"]


def test_a_failure_ends_what_runs_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    going = tmp_path / "going"
    long = f"import pathlib, time; pathlib.Path({str(going)!r}).touch(); time.sleep(60)"
    fails = f"""
import pathlib, sys, time
while not pathlib.Path({str(going)!r}).exists():
    time.sleep(0.02)
print('no more paper')
sys.exit(3)
"""
    stages = [
        Stage("long", python(long), "", 1),
        Stage("fails", python(fails), "", 1),
        Stage("later", python(""), "", 1, needs=["long"]),
    ]
    began = time.monotonic()
    with pytest.raises(StageError, match=r"fails failed \(status 3\)"):
        run_recipe(tmp_path / "run", stages, jobs=2)
    assert time.monotonic() - began < 30
    assert "no more paper" in capsys.readouterr().out
    assert not (tmp_path / "run" / "long" / "done").exists() and not (tmp_path / "run" / "later").exists()


def test_a_stage_that_another_run_is_at_is_left_to_it(tmp_path: Path) -> None:
    stages = [Stage("one", python(""), "", 1)]
    run_recipe(tmp_path / "run", stages)
    (tmp_path / "run" / "one" / "done").unlink()
    with (
        claimed(tmp_path / "run" / "one", Rank()),
        pytest.raises(StageError, match="one is being written by another run; wait"),
    ):
        run_recipe(tmp_path / "run", stages)
    run_recipe(tmp_path / "run", stages)


def test_each_has_the_threads_that_it_is_given_unless_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [Stage("one", python("import os; print(os.environ['OMP_NUM_THREADS'])"), "", 1)]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_recipe(tmp_path / "a", stages, threads=3)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    run_recipe(tmp_path / "b", stages, threads=3)
    assert [(tmp_path / run / "one" / "log.txt").read_text() for run in "ab"] == ["3\n", "5\n"]


def test_no_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0; expected"):
        run_recipe(tmp_path, [], jobs=0)
