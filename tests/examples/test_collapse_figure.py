"""The figure of a collapse: two runs that differ in the cure alone, and what their logs say."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from recipe_files import scripts_of, value_of

UPDATES = (10, 20)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with scripts_of("vq_wav2vec", "collapse") as (module,):
        yield module


def log(collapses: bool, status: int = 0) -> SimpleNamespace:
    """What a training prints."""
    lines = ["[t][fairseq_cli.train][INFO] - {'a': 1}"]
    for n in UPDATES:
        row = {
            "num_updates": str(n),
            "group_share": [n / 100, n / 50],
            "dead_codes": str(n),
            "accuracy": "0.5",
        }
        lines.append(f"[t][train_inner][INFO] - {json.dumps(row)}")
    if collapses:
        lines.append("[t][alarm][WARNING] - the codebook has collapsed by update 20: group 0; do so")
    return SimpleNamespace(returncode=status, stdout="\n".join(lines) + "\n")


@pytest.fixture
def asked(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run; the first training collapses, the second does not."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command)
        return log(collapses=len(commands) == 1)

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": run}))
    return commands


def test_two_trainings_differ_in_the_cure_and_both_are_told(
    script: ModuleType,
    asked: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, drawn = tmp_path / "figure.png", []
    monkeypatch.setattr(script, "draw", lambda *what: drawn.append(what))
    arguments = [str(tmp_path / "corpus"), "--updates", "20", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["collapse.py", *arguments])
    script.main()
    own, cured = asked
    for command in asked:
        assert Path(command[0]).name == "fairseq-hydra-train"
        assert (
            Path(value_of(command, "--config-dir")) / f"{value_of(command, '--config-name')}.yaml"
        ).is_file()
        wanted = {"model.vq_vars=320", "optimization.max_update=20", "common.log_format=json"}
        assert wanted | {f"task.data={tmp_path / 'corpus'}"} <= set(command)
    differ = set(own) ^ set(cured)
    assert {word.partition("=")[0] for word in differ} == {
        *("model.quantizer_args", "checkpoint.save_dir", "hydra.run.dir")
    }
    assert "model.quantizer_args='{}'" in own
    cure = json.loads(next(w for w in cured if w.startswith("model.quantizer_args"))[22:-1])
    assert cure == {"ema_decay": 0.99, "revive_after": 20}
    shown = capsys.readouterr().out
    assert (
        shown.count("after 20 updates: perplexity 30.0% of 320, 20 of 640 codes unused, accuracy 0.500") == 2
    )
    first, second = shown.split("cured")
    assert "the codebook has collapsed by update 20" in first and "no alarm" in second
    assert shown.endswith(f"drawn: {out}\n") and [path for _, path in drawn] == [out]
    assert [bool(run.alarm) for run in drawn[0][0].values()] == [True, False]


def test_a_run_is_its_log_s_numbers_with_the_groups_mean(
    script: ModuleType, asked: list[list[str]], tmp_path: Path
) -> None:
    run = script.train(tmp_path, tmp_path / "f", 20, "{}")
    assert (run.updates, run.share, run.dead, run.accuracy) == (
        *(list(UPDATES), [pytest.approx(0.15), pytest.approx(0.3)]),
        *([10.0, 20.0], [0.5, 0.5]),
    )
    assert run.alarm == "the codebook has collapsed by update 20: group 0; do so"
    assert script.train(tmp_path, tmp_path / "f", 20, "{}").alarm == ""


def test_a_training_that_fails_ends_it_with_what_it_said(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {**vars(subprocess), "run": lambda *_, **__: log(False, status=1)}
    monkeypatch.setattr(script, "subprocess", SimpleNamespace(**failed))
    with pytest.raises(SystemExit, match=r"num_updates[\s\S]*the training above failed"):
        script.train(tmp_path, tmp_path / "f", 20, "{}")


def test_an_alarm_is_drawn_at_its_update_in_every_panel(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[float] = []
    monkeypatch.setattr("matplotlib.axes.Axes.axvline", lambda self, x, **how: drawn.append(x))
    numbers = ([10, 20], [0.5, 0.1], [1.0, 300.0], [0.2, 0.1])
    runs = {
        "as set": script.Run(*numbers, "the codebook has collapsed by update 20: group 0"),
        "cured": script.Run(*numbers, ""),
    }
    script.draw(runs, tmp_path / "f.png")
    assert drawn == [20] * 3 and (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
