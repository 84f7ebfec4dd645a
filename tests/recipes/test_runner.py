"""Recipes: stages are skipped, resumed and run anew as their commands and what they need say."""

import re
import signal
from pathlib import Path

import pytest
from python_code import python

from vqw2v_plugin.recipes.folder import StageError
from vqw2v_plugin.recipes.runner import Stage, finished, run_or_say, run_recipe, stage_stamps


def append(file: Path, word: str) -> list[list[str]]:
    return python(f"open({str(file)!r}, 'a').write({word!r} + ' ')")


def words(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def two_stages(run: Path, file: Path, first: str = "a", second: str = "b") -> list[Stage]:
    return [
        Stage("one", append(file, first), "First", 0.1),
        Stage("two", append(file, second), "Second", 0.1, needs=["one"]),
    ]


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "ran"
    for _ in range(2):
        run_recipe(tmp_path / "run", two_stages(tmp_path, file))
    assert words(file) == ["a", "b"]


def test_a_changed_command_runs_anew_with_what_needs_it(tmp_path: Path) -> None:
    file = tmp_path / "ran"
    run_recipe(tmp_path / "run", two_stages(tmp_path, file))
    (tmp_path / "run" / "one" / "product").touch()
    run_recipe(tmp_path / "run", two_stages(tmp_path, file, first="c"))
    assert words(file) == ["a", "b", "c", "b"]
    assert not (tmp_path / "run" / "one" / "product").exists(), "products of other settings stayed"
    run_recipe(tmp_path / "run", two_stages(tmp_path, file, first="c", second="d"))
    assert words(file) == ["a", "b", "c", "b", "d"]


def test_what_is_finished_is_of_today_s_commands(tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "ran"
    assert finished(run, two_stages(run, file)) == set()
    run_recipe(run, two_stages(run, file)[:1])
    assert finished(run, two_stages(run, file)) == {"one"}
    run_recipe(run, two_stages(run, file))
    assert finished(run, two_stages(run, file)) == {"one", "two"}
    assert finished(run, two_stages(run, file, second="c")) == {"one"}
    assert finished(run, two_stages(run, file, first="c")) == set()


def test_a_failed_stage_stops_the_recipe_and_goes_on_with_its_products(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, product = tmp_path / "ran", tmp_path / "run" / "half" / "product"
    code = f"""
import pathlib, sys
product = pathlib.Path({str(product)!r})
if not product.exists():
    product.touch()
    print('no more paper')
    sys.exit(3)
"""
    stages = [Stage("half", python(code), "Fails once", 0.1), Stage("next", append(file, "a"), "Next", 0.1)]
    with pytest.raises(StageError, match=r"half failed \(status 3\).*log\.txt"):
        run_recipe(tmp_path / "run", stages)
    assert "no more paper" in capsys.readouterr().out
    assert words(file) == []
    run_recipe(tmp_path / "run", stages)
    assert words(file) == ["a"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_command_that_a_signal_ended_is_not_done(tmp_path: Path, number: int) -> None:
    file = tmp_path / "ran"
    stages = [
        Stage("killed", python(f"import os; os.kill(os.getpid(), {int(number)})"), "Is killed", 0.1),
        Stage("next", append(file, "a"), "Next", 0.1, needs=["killed"]),
    ]
    for _ in range(2):  # nor when the recipe goes on
        with pytest.raises(StageError, match=rf"killed failed \(status -{int(number)}\)"):
            run_recipe(tmp_path / "run", stages)
    assert finished(tmp_path / "run", stages) == set() and words(file) == []


def test_a_stranger_s_folder_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "run" / "one" / "thesis.txt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(StageError, match="no recipe made it"):
        run_recipe(tmp_path / "run", two_stages(tmp_path, tmp_path / "ran"))
    assert kept.exists()


def test_shown_lines_are_seen_now_and_when_the_stage_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage("one", python("print('WER 12.3'); print('noise')"), "Says", 0.1, shown="^WER")
    for _ in range(2):
        run_recipe(tmp_path / "run", [stage])
        said = capsys.readouterr().out
        assert "WER 12.3" in said
        assert "    noise" not in said
    assert (tmp_path / "run" / "one" / "log.txt").read_text() == "WER 12.3\nnoise\n"


def test_a_training_s_updates_become_a_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import time
for n in (0, 100, 200):
    print(f'| train_inner | epoch 001: 1 / 9 loss=2.5, accuracy=0.3, num_updates={n}, lr=1', flush=True)
    time.sleep(0.1)
"""
    stage = Stage("train", python(code), "Trains", 0.1, updates=400)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("vqw2v_plugin.common.progress._LINE_EVERY", 0.0)
        run_recipe(tmp_path, [stage])
    said = capsys.readouterr().out
    assert " 50% 200 of 400" in said
    assert "loss 2.5  accuracy 0.3" in said


def test_short_epochs_before_the_first_log_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import time
for n in range(3):
    print('[fairseq.trainer][INFO] - begin training epoch', n + 1, flush=True)
    time.sleep(0.5)
print('| train_inner | epoch 003: 1 / 9 loss=2.5, num_updates=3, lr=1', flush=True)
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqw2v_plugin.common.progress._LINE_EVERY", 0.0)
        run_recipe(tmp_path, [Stage("train", python(code), "Trains", 0.1, updates=400)])
    speed = re.search(r"3 of 400, ([\d.]+)/s", capsys.readouterr().out)
    assert speed and float(speed[1]) <= 2.0  # three in 1.5 s or more, not in the last half second


def test_each_stage_is_told_by_its_number_its_commands_and_where_it_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [
        Stage("one", [["echo", "a b"], ["echo", "c"]], "First", 3, result="a file"),
        Stage("two", [["true"]], "Second", 0.5, needs=["one"]),
    ]
    run = tmp_path / "run"
    run_recipe(run, stages)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 stages, about 4 min; a second run goes on where this one stops"
    assert lines[2:6] == [
        "[1/2] First",
        f"    about 3 min; log: {run}/one/log.txt",
        "    $ echo 'a b'",
        "    $ echo c",
    ]
    assert re.fullmatch(r"    done in \d+ s: a file", lines[6]) and "[2/2] Second" in lines
    assert (run / "one/log.txt").read_text() == "a b\nc\n"
    run_recipe(run, stages)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 stages, all of them done before;")
    assert f"    done before: {run}/two" in lines


def test_of_a_stage_that_fails_the_last_lines_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; [print('line', i) for i in range(40)]; sys.exit(1)"
    with pytest.raises(StageError):
        run_recipe(tmp_path, [Stage("one", python(code), "", 0.1)])
    said = capsys.readouterr().out
    assert [i for i in range(40) if f"line {i}\n" in said] == list(range(25, 40))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (StageError("stage one failed"), "stage one failed"),
        (ValueError("jobs is 0"), "jobs is 0"),
        (OSError("no disk"), "no disk"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_script_that_fails_says_so_in_a_line_and_by_its_status(
    error: BaseException, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run_or_say("recipe.py", fail) == 1
    assert capsys.readouterr().err == f"recipe.py: {says}; the same command goes on where this one stopped\n"
    assert run_or_say("recipe.py", lambda: None) == 0
    with pytest.raises(ZeroDivisionError):
        run_or_say("recipe.py", lambda: print(1 / 0))


def test_only_a_training_s_own_lines_advance_its_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "print('| valid | epoch 001 | loss 2 | num_updates=300'); print('x train_inner y num_updates=100')"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqw2v_plugin.common.progress._LINE_EVERY", 0.0)
        run_recipe(tmp_path, [Stage("train", python(code), "Trains", 0.1, updates=400)])
    said = capsys.readouterr().out
    assert "100 of 400" in said and "300 of 400" not in said


def test_a_changed_file_runs_anew(tmp_path: Path) -> None:
    file, settings = tmp_path / "ran", tmp_path / "settings.yaml"
    for text in ("lr: 1", "lr: 1", "lr: 2"):
        settings.write_text(text)
        run_recipe(tmp_path / "run", [Stage("one", append(file, "x"), "", 0.1, reads=[settings])])
    assert words(file) == ["x", "x"]


def test_stages_name_only_stages_before_them() -> None:
    with pytest.raises(ValueError, match="needs two, which is no stage before it"):
        stage_stamps([Stage("one", [], "", 0, needs=["two"]), Stage("two", [], "", 0)])
    with pytest.raises(ValueError, match="two stages are called one"):
        stage_stamps([Stage("one", [], "", 0), Stage("one", [], "", 0)])


def test_a_command_s_own_bar_is_shown_with_its_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = "utterances: [####                    ]  17% 170 of 1,000"
    run_recipe(tmp_path, [Stage("features", python(f"print({bar!r}); print('17%', 'are done')"), "", 0.1)])
    said = capsys.readouterr().out
    assert f"    features: {bar}\n" in said and "17% are done" not in said


def test_what_is_done_behind_a_stage_is_done_of_those_that_ran(tmp_path: Path) -> None:
    ended: list[str] = []
    for second in ("b", "c"):
        stages = two_stages(tmp_path, tmp_path / "ran", second=second)
        run_recipe(tmp_path / "run", stages, after=lambda stage: ended.append(stage.name))
    assert ended == ["one", "two", "two"]


def test_what_is_left_is_said_behind_each_stage_but_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [Stage(name, [["true"]], name, minutes) for name, minutes in (("one", 0), ("two", 7))]
    run_recipe(tmp_path, stages)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("    about 7 min left in all") == 1 and "left in all" not in lines[-1]
