"""Word times beside the true ones: only words that are right count, each with its own true one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_files import scripts_of

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "digits" / "word_times.py"


def ran(tmp_path: Path, said: list[tuple[str, float, float]]) -> subprocess.CompletedProcess[str]:
    words = [{"word": word, "start": start, "end": end} for word, start, end in said]
    (tmp_path / "h.jsonl").write_text(json.dumps({"utt": "u", "words": words}) + "\n")
    (tmp_path / "t.ctm").write_text("u 1 0.1 0.2 one\nu 1 0.5 0.2 two\nu 1 0.9 0.2 one\n")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "h.jsonl"), str(tmp_path / "t.ctm")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_right_words_are_measured_against_their_own_times(tmp_path: Path) -> None:
    result = ran(tmp_path, [("one", 0.12, 0.33), ("six", 0.5, 0.7), ("one", 0.88, 1.15)])
    assert result.returncode == 0, result.stderr
    assert "2 words that are right" in result.stdout
    assert "start: median 20, 90 % within 20, " in result.stdout
    assert "end: median 40, 90 % within 48, mean error +40" in result.stdout


def test_a_deleted_word_shifts_no_other(tmp_path: Path) -> None:
    result = ran(tmp_path, [("two", 0.5, 0.7), ("one", 0.9, 1.1)])
    assert "2 words that are right" in result.stdout
    assert "start: median 0," in result.stdout


def test_an_utterance_without_true_times_is_named(tmp_path: Path) -> None:
    ran(tmp_path, [])
    (tmp_path / "h.jsonl").write_text('{"utt": "another", "words": []}\n')
    command = [sys.executable, str(SCRIPT), str(tmp_path / "h.jsonl"), str(tmp_path / "t.ctm")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert "word_times.py: error:" in result.stderr and "has no utterance another" in result.stderr


def test_no_right_word_is_an_error(tmp_path: Path) -> None:
    result = ran(tmp_path, [("six", 0.5, 0.7)])
    assert result.returncode == 2
    assert "no word is right" in result.stderr


def test_a_word_that_nobody_said_shifts_no_other(tmp_path: Path) -> None:
    times = [("one", 0.1, 0.3), ("six", 0.3, 0.4), ("two", 0.5, 0.72), ("one", 0.9, 1.1)]
    words = [{"word": word, "start": start, "end": end} for word, start, end in times]
    (tmp_path / "h.jsonl").write_text(json.dumps({"utt": "u", "words": words}) + "\n")
    (tmp_path / "t.ctm").write_text("u 1 0.1 0.2 one\nu 1 0.5 0.2 two\nu 1 0.9 0.2 one\n")
    with scripts_of("digits", "word_times") as (script,):
        starts, ends = script.distances(tmp_path / "h.jsonl", tmp_path / "t.ctm")
    assert starts == pytest.approx([0, 0, 0], abs=1e-6) and ends == pytest.approx([0, 20, 0], abs=1e-6)
