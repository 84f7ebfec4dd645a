"""Attacks tell apart what commands do with a stranger's file, are as many as promised, and find nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from attack import drawn
from attempts import MARK, Case, Outcome, Reader, Verdict, Works, begin, verdict
from checkpoints.earlier.make import write_clip
from families import Family
from good_things import KINDS
from odd_places import odd_places
from strange_checkpoints import strange_checkpoints
from strange_lists import strange_lists
from strange_outputs import strange_outputs
from strange_settings import strange_settings
from strange_sounds import strange_sounds
from strange_tables import strange_grids, strange_tables, strange_weights
from strange_texts import strange_arpas, strange_lexicons

ATTACK = Path(__file__).parent / "attack.py"
GIVES = "print(open(WORD).read())"


def a_file(content: str, into: Path) -> str:
    (into / "it.txt").write_text(content)
    return str(into / "it.txt")


def python(lines: str) -> Reader:
    """What a command does with the file WORD."""
    return Reader("test", lambda word, out, kind: ["python", "-c", lines.replace("WORD", repr(word))])


def tried(folder: Path, lines: str, works: Works = Works.ANY, clean: str | None = None) -> Verdict:
    case, reader = Case("a file", partial(a_file, "hello"), works=works), python(lines)
    child = begin(case, reader, folder / "try")
    return verdict(case, reader, folder / "try", os.waitpid(child, 0)[1], clean)


def our_error(message: str) -> str:
    """Raised by the product."""
    lines = "from vqw2v_plugin.common.bounds import check_between\n"
    return f"{lines}check_between({message!r}.replace('NAME', WORD), 2, 0, 1)"


@pytest.mark.parametrize(
    ("lines", "works", "outcome"),
    [
        (GIVES, Works.ANY, Outcome.WORKS),
        (GIVES, Works.SAME, Outcome.SILENT),
        (GIVES, Works.NEVER, Outcome.SILENT),
        (our_error("NAME"), Works.NEVER, Outcome.CLEAR),
        (our_error("something"), Works.NEVER, Outcome.UNCLEAR),
        (our_error("NAME: can't allocate memory"), Works.NEVER, Outcome.UNCLEAR),
        ("int(open(WORD).read())", Works.ANY, Outcome.TRACEBACK),
        ("raise SystemExit(3)", Works.ANY, Outcome.TRACEBACK),
        ("bytearray(1 << 42)", Works.ANY, Outcome.TRACEBACK),
        ("import os; os.abort()", Works.ANY, Outcome.CRASH),
        (
            "import signal; signal.setitimer(signal.ITIMER_PROF, 0.2)\nwhile True: pass",
            Works.ANY,
            Outcome.HANG,
        ),
        ("import signal, os; signal.alarm(1); os.read(os.pipe()[0], 1)", Works.ANY, Outcome.HANG),
        (f"import pathlib; pathlib.Path(WORD).with_name({MARK!r}).touch()", Works.ANY, Outcome.CODE),
    ],
)
def test_each_end_has_its_name(lines: str, works: Works, outcome: Outcome, tmp_path: Path) -> None:
    found = tried(tmp_path, lines, works, clean="something else")
    assert found.outcome is outcome, found
    assert outcome.is_finding == (outcome not in (Outcome.WORKS, Outcome.CLEAR))


def test_what_is_written_otherwise_has_the_same_result(tmp_path: Path) -> None:
    lines = f"{GIVES}; print('in 3.25 s'); open(WORD.replace('/in/', '/made/'), 'w').write('x')"
    clean = tried(tmp_path / "a", lines).result
    assert "hello" in clean and "it.txt" in clean
    assert tried(tmp_path / "b", lines.replace("3.25", "9.1"), Works.SAME, clean).outcome is Outcome.WORKS
    assert tried(tmp_path / "c", lines.replace("'x'", "'y'"), Works.SAME, clean).outcome is Outcome.SILENT


def test_a_share_has_some_of_each_row_and_a_seed_draws_the_same() -> None:
    cases = [Case(str(i), partial(a_file, "")) for i in range(100)]
    family = Family("f", cases, [python("1"), Reader("other", python("2").command)], lambda kind: cases[0])
    first, again, other = (drawn([family], 0.1, [], "", seed) for seed in (1, 1, 2))
    assert first == again != other and len(first) == 20
    assert {t.row for t in first} == {"f × test", "f × other"}
    assert {t.row for t in drawn([family], 1e-9, ["other"], "", 1)} == {"f × other"}
    assert [t.case.name for t in drawn([family], 1, ["f × test"], "7", 1)] == ["7"]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """What of the good things the lists of cases are made of."""
    write_clip(tmp_path)
    (tmp_path / "lm.arpa").write_text("\\data\\\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/lexicon.ltr.txt").write_text("ab\ta b\n")
    return tmp_path


def test_there_are_as_many_files_as_were_promised(good: Path) -> None:
    assert len(strange_checkpoints(0)) >= 250
    assert len(strange_lists(good, 0)) >= 60 and len(strange_sounds(good, 0)) >= 70
    assert len(strange_arpas(good, 0)) + len(strange_lexicons(good, 0)) >= 56
    assert all(len(strange_settings(kind)) >= 37 for kind in KINDS)


def test_each_file_is_made_under_a_name_of_its_own(good: Path, tmp_path: Path) -> None:
    makers: dict[str, Callable[[], list[Case]]] = {
        "checkpoints": lambda: strange_checkpoints(0),
        "lists": lambda: strange_lists(good, 0),
        "sounds": lambda: strange_sounds(good, 0),
        "models": lambda: strange_arpas(good, 0),
        "lexicons": lambda: strange_lexicons(good, 0),
        "tables": lambda: strange_tables(good, 0),
        "grids": lambda: strange_grids(good, 0),
        "weights": strange_weights,
        "outputs": strange_outputs,
        "places": lambda: list(odd_places(".wav")),
    }
    for name, cases in makers.items():
        found = cases()
        assert len({case.name for case in found}) == len(found), name
        for number, case in enumerate(found[:: 1 + len(found) // 12]):
            (into := tmp_path / name / str(number)).mkdir(parents=True)
            assert isinstance(case.make(into), str)


@pytest.mark.slow
def test_a_share_of_the_attacks_finds_nothing() -> None:
    command = [sys.executable, str(ATTACK), "--share", "0.005", "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert ": 0 findings in " in done.stdout
