"""A clip on the page: its lanes stand where their times are, and nothing is drawn beyond its end."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqw2v_plugin.analysis.report_page.clips import (
    RATE,
    ClipView,
    Lane,
    choose,
    heard_segments,
    read_clip,
    spectrogram,
)
from vqw2v_plugin.analysis.report_page.figures import code_bars, learning_curve, rank_chart, spans
from vqw2v_plugin.analysis.report_page.training import duration
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.stores.frames import FrameTimes

LEFT, RIGHT = 96.0, 948.0  # of the lanes, over two seconds


def place(seconds: float) -> float:
    return LEFT + (RIGHT - LEFT) * seconds / 2


def drawn(*lanes: Lane) -> ET.Element:
    wav = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    return ET.fromstring(ClipView(Utterance("", 2 * RATE, utt="u"), wav, lanes).figure())


def of_kind(root: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in root.iter() if (element.get("class") or "").startswith(kind)]


def test_labels_stand_at_their_times_and_end_with_the_clip() -> None:
    segments = Segments(
        np.array([0.0, 0.5, 1.5, 2.5]), np.array([0.5, 1.0, 3.0, 3.0]), ("sil", "a", "b", "c")
    )
    root = drawn(Lane("words", "words", segments))
    cells = [(float(e.get("x", 0)), float(e.get("width", 0))) for e in of_kind(root, "cell")]
    expected = [(0.0, 0.5), (0.5, 1.0), (1.5, 2.0)]
    for (left, width), (begin, end) in zip(cells, expected, strict=True):
        assert left == pytest.approx(place(begin), abs=0.06)
        assert width == pytest.approx(place(end) - place(begin), abs=0.11)
    assert [e.text for e in of_kind(root, "label")] == ["a", "b"]  # silence is drawn and not named
    told = json.loads(root.get("data-told", ""))
    assert told["seconds"] == 2 and (told["from"], told["to"]) == (LEFT, RIGHT)
    assert told["lanes"][0]["segments"] == [[0.0, 0.5, "sil"], [0.5, 1.0, "a"], [1.5, 3.0, "b"]]


def test_a_label_that_is_wider_than_its_time_is_not_written_over_its_neighbours() -> None:
    segments = Segments(np.array([0.0, 0.1]), np.array([0.1, 0.2]), ("understanding", "it"))
    root = drawn(Lane("words", "words", segments))
    assert len(of_kind(root, "cell")) == 2 and [e.text for e in of_kind(root, "label")] == ["it"]
    assert [each[2] for each in json.loads(root.get("data-told", ""))["lanes"][0]["segments"]] == [
        *("understanding", "it")  # the pointer tells it
    ]


def test_codes_are_stripes_around_their_frames_centres() -> None:
    codes = np.array([[1, 7], [1, 7], [2, 7], [-1, -1], [3, 7]])
    times = FrameTimes(stride=1600, receptive_field=3200, sample_rate=16_000)  # centres at 0.1, 0.2 …
    root = drawn(Lane("model", "codes", codes=codes, times=times))
    boxes = {}
    for element in of_kind(root, "code"):
        for box in str(element.get("d")).split("M")[1:]:
            x, _, rest = box.partition(" ")
            y, _, width = rest.partition("h")
            boxes[float(x), float(y)] = (float(width.partition("v")[0]), element.get("class"))
    rows = sorted({y for _, y in boxes})
    assert len(rows) == 2 and rows[1] - rows[0] == 13
    found = sorted((x, *told) for (x, y), told in boxes.items() if y == rows[0])
    wanted = [(0.05, 0.25, 1), (0.25, 0.35, 2), (0.45, 0.55, 3)]  # no stripe for what nobody knows
    for (x, width, kind), (begin, end, code) in zip(found, wanted, strict=True):
        assert x == pytest.approx(place(begin), abs=0.06) and kind == f"code h{code * 7 % 24}"
        assert width == pytest.approx(place(end) - place(begin), abs=0.11)
    assert sum(y == rows[1] for _, y in boxes) == 2
    (lane,) = json.loads(root.get("data-told", ""))["lanes"]
    assert lane["tokens"] == "1-7 1-7 2-7 ? 3-7" and (lane["first"], lane["step"]) == (0.05, 0.1)


def test_heard_words_have_their_times() -> None:
    found = heard_segments([{"word": "a", "start": 0.5, "end": 0.75}, {"start": 1}])
    assert found is not None and found.labels == ("a",)
    assert (found.starts.tolist(), found.ends.tolist()) == ([0.5], [0.75])
    assert heard_segments([]) is None


@pytest.mark.parametrize(
    "word", [{"word": "b", "start": 1}, {"word": "b", "start": "x", "end": 2}, ["word"], "word", None, 7]
)
def test_heard_words_without_times_are_left_out(word: object) -> None:
    found = heard_segments([{"word": "a", "start": 0.5, "end": 0.75}, word])
    assert found is not None and found.labels == ("a",)
    assert heard_segments([word]) is None and heard_segments(word) is None
    for start, end in ((float("nan"), 2), (1, 1e999), (1, float("nan"))):
        assert heard_segments([{"word": "b", "start": start, "end": end}]) is None


def test_a_clip_is_cut_at_its_most_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    row = Utterance(str(tmp_path / "a.wav"), 8_000, utt="a")
    assert [len(read_clip(row, seconds)) for seconds in (0.25, 0.5, 9)] == [4_000, 8_000, 16_000]


def test_a_speaker_comes_again_only_after_all_others() -> None:
    rows = [Utterance("", 48_000, utt=f"{who}{i}", speaker=who) for who in "ab" for i in range(3)]
    assert [row.utt for row in choose(rows, 5)] == ["a0", "b0", "a1", "b1", "a2"]


def test_clips_of_about_three_seconds_are_chosen_whatever_their_rate() -> None:
    seconds = {"half": 0.5, "three": 3, "four": 4, "nine": 9}
    for rate in (8_000, 16_000, None):  # None: that of the page's
        rows = [Utterance("", int(s * (rate or RATE)), rate=rate, utt=utt) for utt, s in seconds.items()]
        assert [row.utt for row in choose(rows, 2)] == ["three", "four"]


def test_a_spectrogram_has_a_column_every_8_ms() -> None:
    assert spectrogram(np.zeros(RATE, np.float32)).shape == (257, 127)


def test_the_dashed_line_is_where_all_codes_are_as_frequent() -> None:
    root = ET.fromstring(code_bars(np.array([6, 1, 1, 0]), "label"))
    (line,) = of_kind(root, "even")
    # of a height of 64 below 6, the longest bar being three quarters: a quarter is a third of it
    assert float(line.get("y1", 0)) == float(line.get("y2", 0)) == pytest.approx(6 + 64 * 2 / 3, abs=0.06)


def test_the_line_of_words_falls_as_one_by_the_rank() -> None:
    points = [(float(rank), 0.5 / rank) for rank in range(1, 101)]
    root = ET.fromstring(rank_chart({"a": points}, {"a": [""] * 100}))
    (dashed,), (line,) = of_kind(root, "zipf"), of_kind(root, "line")
    ends = [str(e.get("d"))[1:].split("L")[i] for e in (dashed, line) for i in (0, -1)]
    assert ends[0] == ends[2] and ends[1] == ends[3]


@pytest.mark.parametrize(("last", "log"), [(1.0, False), (0.01, False), (0.001, True)])
def test_a_curve_is_logarithmic_where_its_values_are_far_apart(last: float, log: bool) -> None:
    root = ET.fromstring(learning_curve("loss", {"a": [(0, 1.0), (1, 1.0), (2, last)]}, {}))
    shown = [e.text for e in of_kind(root, "small")]
    assert ("0.01" in shown) == log


def test_within_and_across_are_dots_of_their_own() -> None:
    root = ET.fromstring(spans([("z", 0.1, 0.3), ("c", 0.2, None)]))
    within, across = of_kind(root, "within"), of_kind(root, "across")
    assert (len(within), len(across)) == (2, 1)
    scale = (float(across[0].get("cx", 0)) - 250) / 0.3
    assert [(float(e.get("cx", 0)) - 250) / scale for e in within] == pytest.approx([0.1, 0.2], abs=1e-3)


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (3, 89, 90, 600, 5399, 5400, 36_000)] == [
        *("3 s", "89 s", "2 min", "10 min", "90 min", "1.5 h", "10.0 h")
    ]
