"""Errors of ours end fairseq's programs in a sentence; all others, and a user who asks, get the traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from vqw2v_plugin.common.loud import LOUD
from vqw2v_plugin.common.said import is_said
from vqw2v_plugin.corpora.manifest import Manifest, ManifestError
from vqw2v_plugin.stack import StackError
from vqw2v_plugin.training import told_errors
from vqw2v_plugin.training.update_guard import NumericalTroubleError

ROOT = Path(__file__).resolve().parents[2]
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """fairseq-train, before the plugin is loaded."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/fairseq-train", "data"])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.delenv(LOUD, raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that it is as before, afterwards
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    return monkeypatch


def raised(act: object, *args: object) -> BaseException:
    try:
        act(*args)  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    sys.excepthook(type(error), error, error.__traceback__)
    return capsys.readouterr().err


def test_what_we_say_is_a_sentence(
    program: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told_errors.tell()
    path = tmp_path / "a\tb.tsv"
    path.write_text("\n")
    error = raised(Manifest, path)
    assert isinstance(error, ManifestError) and is_said(error)
    first, *rest = told(error, capsys).splitlines()
    assert first.startswith(f"fairseq-train: error: {tmp_path}/a\\tb.tsv:1: got an empty line, expected")
    assert rest == ["(VQW2V_LOUD=1 shows where in the program)"]


def test_lines_of_an_error_stay_lines(
    program: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program.setattr(told_errors, "is_said", lambda error: True)
    told_errors.tell()
    for kind in (ValueError, OSError, StackError, NumericalTroubleError):
        assert told(kind("one\ntwo"), capsys).splitlines()[:2] == ["fairseq-train: error: one", "two"]
    assert told(ValueError(), capsys).startswith("fairseq-train: error: ValueError\n")


def test_all_other_errors_keep_their_traceback(
    program: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told_errors.tell()
    others = [
        raised(int, "x"),
        raised(Manifest, object()),
        AssertionError("Must specify batch size"),
        OSError(2),
    ]
    others += [KeyboardInterrupt()]
    for error in others:
        said = told(error, capsys)
        assert type(error).__name__ in said and "fairseq-train: error" not in said


@pytest.mark.parametrize(
    ("argv", "loud", "shortened"),
    [
        ("/x/fairseq-hydra-train", "0", True),
        ("/x/fairseq_cli/train.py", "", True),
        ("/x/fairseq-generate", "1", False),
        ("/x/train.py", "0", False),
        ("", "0", False),
    ],
)
def test_programs_of_ones_own_are_left_alone(
    program: pytest.MonkeyPatch, argv: str, loud: str, shortened: bool
) -> None:
    program.setattr(sys, "argv", [argv])
    program.setenv(LOUD, loud)
    told_errors.tell()
    assert (sys.excepthook is not sys.__excepthook__) == shortened
    assert os.environ.get("HYDRA_FULL_ERROR") == ("1" if shortened else None)


@pytest.mark.slow
@pytest.mark.parametrize("loud", ["0", "1"])
def test_both_programs_end_in_it(tmp_path: Path, loud: str) -> None:
    user_dir, data = ROOT / "vqw2v_plugin", tmp_path / "nowhere"
    bin = Path(sys.executable).parent
    by_options = [bin / "fairseq-train", data, "--user-dir", user_dir, "--task", "vq_audio_pretraining"]
    by_options += ["--arch", "vq_wav2vec", "--criterion", "vq_contrastive", "--cpu", "--max-tokens", "9"]
    by_yaml = [bin / "fairseq-hydra-train", "--config-dir", ROOT / "examples/vq_wav2vec"]
    by_yaml += [
        "--config-name",
        "kmeans",
        f"common.user_dir={user_dir}",
        f"task.data={data}",
        "common.cpu=true",
    ]
    by_yaml += ["distributed_training.distributed_world_size=1", f"hydra.run.dir={tmp_path / 'run'}"]
    env = {**os.environ, LOUD: loud}
    for command in (by_options, by_yaml):
        words = list(map(str, command))
        done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=300)
        assert done.returncode == 1 and "no such file or directory, expected a folder of" in done.stderr
        assert (TRACEBACK in done.stderr) == (loud == "1"), done.stderr
