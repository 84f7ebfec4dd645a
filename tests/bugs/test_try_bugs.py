"""Bugs that are put in: those that a test sees are killed, whoever's test it is, and the others named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("try_bugs.py")
FILE = "vqw2v_plugin/room/sums.py"
CODE = """def double(x):
    return 2 * x


def unseen(x):
    return 3 * x
"""
TEST = """from vqw2v_plugin.room.sums import double


def test_double():
    assert double(2) == 4
"""


def run(folder: Path, *bugs: tuple[str, str, str]) -> tuple[int, str]:
    """Of a project with two functions, of which a test sees one; exit code and what is shown."""
    for name, text in [
        ("vqw2v_plugin/__init__.py", ""),
        (FILE, CODE),
        ("tests/room/test_other.py", "def test_nothing(): ..."),
        ("tests/test_far.py", TEST),
    ]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    listed = [{"what": what, "file": FILE, "old": old, "new": new} for what, old, new in bugs]
    (folder / "bugs.json").write_text(json.dumps(listed))
    command = [
        sys.executable,
        str(PROGRAM),
        str(folder / "bugs.json"),
        "--root",
        str(folder),
        "--seconds",
        "20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert (folder / FILE).read_text() == CODE
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_each_bug_is_killed_or_named(tmp_path: Path) -> None:
    code, shown = run(
        tmp_path,
        ("three times", "return 2 * x", "return 3 * x"),
        ("never seen", "return 3 * x", "return 4 * x"),
        ("of an older file", "return 5 * x", "return 6 * x"),
    )
    assert code == 1 and "3 bugs: 1 killed, 1 survived, 1 no longer fit the code" in shown
    assert f"survived: {FILE}: never seen" in shown
    assert "three times  tests/test_far.py::test_double" in shown


@pytest.mark.slow
def test_tests_that_do_not_run_kill_nothing(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_broken.py").write_text("import nothing_of_that_name")
    code, shown = run(tmp_path, ("three times", "return 2 * x", "return 3 * x"))
    assert code == 1 and "do not even run without a bug" in shown and "killed" not in shown
