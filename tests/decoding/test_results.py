"""Hypotheses on disk: json lines and CTM lines say the same times as the frames."""

import json
import math
from pathlib import Path

import pytest

from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.decoding.hypothesis import Hypothesis, TimedText
from vqw2v_plugin.decoding.results import ctm_lines, json_line

LABELS = tuple(TimedText(text, i, i + 1, 0.5) for i, text in enumerate("ab|c"))
BEST = Hypothesis(LABELS, (TimedText("ab", 0, 2, 0.25), TimedText("c", 3, 4, 0.5)), -1.25, -1.0)
OTHER = Hypothesis((), (), -math.inf, -math.inf)


def test_a_json_line_holds_words_times_and_the_other_answers() -> None:
    line = json.loads(json_line("u1", [BEST, OTHER], 0.02, labels=True))
    assert (line["utt"], line["text"], line["score"]) == ("u1", "ab c", -1.25)
    assert line["words"][0] == {"word": "ab", "start": 0.0, "end": 0.04, "confidence": 0.25}
    assert [label["label"] for label in line["labels"]] == list("ab|c")
    assert line["nbest"] == [{"text": "", "score": None, "words": [], "labels": []}]
    assert "nbest" not in json.loads(json_line("u1", [BEST], 0.02))


def test_ctm_lines_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "x.ctm").write_text("\n".join(ctm_lines("u1", BEST, 0.02)) + "\n")
    segments = read_ctm(tmp_path / "x.ctm")["u1"]
    assert segments.labels == ("ab", "c")
    assert segments.starts.tolist() == pytest.approx([0, 0.06])
    assert segments.ends.tolist() == pytest.approx([0.04, 0.08])
    assert ctm_lines("u1", BEST, 0.02)[1] == "u1 1 0.060 0.020 c 0.5000"


def test_times_are_told_in_thousandths_and_scores_in_four_digits() -> None:
    word = TimedText("ab", 1, 3, 0.123456)
    line = json.loads(json_line("u", [Hypothesis((), (word,), -1.23456, 0.0)], 0.0123))
    assert line["words"] == [{"word": "ab", "start": 0.012, "end": 0.037, "confidence": 0.1235}]
    assert line["score"] == -1.2346
    assert ctm_lines("u", Hypothesis((), (word,), 0.0, 0.0), 0.0123) == ["u 1 0.012 0.025 ab 0.1235"]
