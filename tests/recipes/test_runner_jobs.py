"""Stages side by side: only those that do not need each other, and a failure or another run ends them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from python_code import python

from vqw2v_plugin.common.locks import LockedError, lock_file
from vqw2v_plugin.recipes import runner as recipe
from vqw2v_plugin.recipes.folder import StageError, finish
from vqw2v_plugin.recipes.runner import Stage, run_recipe


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


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stage_is_said_to_run_once_there_is_a_place_for_it(
    tmp_path: Path, jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [Stage(name, [["true"]], name, 0.1) for name in ("one", "two", "three")]
    run_recipe(tmp_path / "run", stages, jobs=jobs)
    lines = capsys.readouterr().out.splitlines()
    begun = [i for i, line in enumerate(lines) if line.startswith("[")]
    done = [i for i, line in enumerate(lines) if " done in " in line]
    assert len(begun) == len(done) == 3
    for number, line in enumerate(begun):
        assert sum(end < line for end in done) >= number + 1 - jobs


def test_a_stage_waits_for_what_it_needs_and_not_for_its_turn(tmp_path: Path) -> None:
    file = tmp_path / "ran"

    def write(word: str, behind: str = "") -> list[list[str]]:
        """Once another word is there."""
        return python(f"""
import pathlib, time
file = pathlib.Path({str(file)!r})
while {behind!r} not in (file.read_text() if file.exists() else ''):
    time.sleep(0.02)
open(file, 'a').write({word!r} + ' ')
""")

    stages = [
        Stage("slow", write("slow", behind="needs_quick"), "", 0.1),
        Stage("needs_slow", write("needs_slow"), "", 0.1, needs=["slow"]),
        Stage("quick", write("quick"), "", 0.1),
        Stage("needs_quick", write("needs_quick"), "", 0.1, needs=["quick"]),
    ]
    run_recipe(tmp_path / "run", stages, jobs=2)
    assert file.read_text().split() == ["quick", "needs_quick", "slow", "needs_slow"]


def test_what_a_needed_stage_needs_is_waited_for_too(tmp_path: Path) -> None:
    file = tmp_path / "run" / "corpus" / "speech"
    stages = [
        Stage("corpus", python(f"import time; time.sleep(1); open({str(file)!r}, 'w')"), "", 0.1),
        Stage("model", python(""), "", 0.1, needs=["corpus"]),
        Stage("usage", python(f"open({str(file)!r})"), "", 0.1, needs=["model"]),
    ]
    run_recipe(tmp_path / "run", stages[:2])
    (tmp_path / "run" / "corpus" / "done").unlink()
    file.unlink()
    run_recipe(tmp_path / "run", stages, jobs=2)


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


def test_what_ended_well_beside_a_failure_is_told(tmp_path: Path) -> None:
    there = tmp_path / "run" / "well" / "done"
    fails = f"""
import pathlib, sys, time
while not pathlib.Path({str(there)!r}).exists():
    time.sleep(0.02)
sys.exit(3)
"""
    ended: list[str] = []
    stages = [Stage("fails", python(fails), "", 1), Stage("well", python(""), "", 1)]
    with pytest.raises(StageError, match="fails failed"):
        run_recipe(tmp_path / "run", stages, after=lambda stage: ended.append(stage.name), jobs=2)
    assert ended == ["well"]


def test_what_another_run_is_at_is_waited_for_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [Stage("one", python("print('ran')"), "", 1)]
    folder = tmp_path / "run" / "one"
    folder.mkdir(parents=True)
    with ExitStack() as other_run:
        other_run.enter_context(lock_file(folder, recipe.LOCK))

        def end_the_other_run(seconds: float) -> None:
            finish(folder, recipe.stage_stamps(stages)["one"])
            other_run.close()

        monkeypatch.setattr(recipe.time, "sleep", end_the_other_run)
        run_recipe(tmp_path / "run", stages)
    assert not (folder / recipe.LOG).exists(), "it was made again"


def test_a_killed_recipe_leaves_no_process_and_no_lock(tmp_path: Path) -> None:
    beats, run = tmp_path / "beats", tmp_path / "run"
    worker = f"""
import time
while True:
    open({str(beats)!r}, 'a').write('.')
    time.sleep(0.05)
"""
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    program = f"""
import sys
from pathlib import Path
from vqw2v_plugin.recipes.runner import Stage, run_recipe
run_recipe(Path({str(run)!r}), [Stage('one', [[sys.executable, '-c', {command!r}]], '', 1)])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: beats.exists() and beats.stat().st_size > 2)
        process.terminate()
        assert process.wait(timeout=30) == 128 + 15
    size = beats.stat().st_size
    time.sleep(0.5)
    assert beats.stat().st_size == size, "a worker goes on"
    with lock_file(run / "one", recipe.LOCK):
        pass


def test_a_process_that_survives_its_recipe_keeps_the_stage(tmp_path: Path) -> None:
    here, run = tmp_path / "here", tmp_path / "run"
    command = f"import os, time; open({str(here)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    program = f"""
import sys
from pathlib import Path
from vqw2v_plugin.recipes.runner import Stage, run_recipe
run_recipe(Path({str(run)!r}), [Stage('one', [[sys.executable, '-c', {command!r}]], '', 1)])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: here.exists() and bool(here.read_text()))
        process.kill()
    with pytest.raises(LockedError), lock_file(run / "one", recipe.LOCK):
        pass
    os.kill(int(here.read_text()), signal.SIGKILL)


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


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


def test_that_another_run_is_at_a_stage_is_said_once_and_that_it_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages, folder = [Stage("one", [["true"]], "", 5)], tmp_path / "one"
    folder.mkdir()
    looks: list[float] = []
    with ExitStack() as other_run:
        other_run.enter_context(lock_file(folder, recipe.LOCK))

        def wait(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                finish(folder, recipe.stage_stamps(stages)["one"])
                other_run.close()

        monkeypatch.setattr(recipe.time, "sleep", wait)
        run_recipe(tmp_path, stages)
    said = capsys.readouterr().out
    assert said.count("[1/1] another run is at it: waiting") == 1 and len(looks) == 3
    assert f"    done by another run: {folder}\n" in said
