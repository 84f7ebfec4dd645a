"""Accuracy, unweighted average recall and the table of confusions, counted by hand."""

import numpy as np

from vqw2v_plugin.decoding.class_scoring import ClassCounts

PAIRS = [("a", "a")] * 6 + [("a", "b")] * 2 + [("b", "b"), ("b", "c")]  # nobody is of c, which is answered


def test_by_hand() -> None:
    counts = ClassCounts.of_pairs(PAIRS)
    assert (counts.names, counts.correct, counts.total) == (("a", "b", "c"), 7, 10)
    assert counts.recalls == {"a": 0.75, "b": 0.5} and counts.uar == 0.625
    assert (counts.accuracy, counts.majority) == (0.7, 0.8)
    assert counts.describe() == (
        "accuracy 70.00 % (80.00 by one answer to all), unweighted average recall 62.50 % (50.00 by chance), "
        "7 of 10 utterances right, 2 classes"
    )
    assert counts.table() == [
        "class  a  b  c  recall",
        "a      6  2  0  75.0 %",
        "b      0  1  1  50.0 %",
        "c      0  0  0       -",
    ]
    assert counts.confusions() == [("a", "b", 2), ("b", "c", 1)]
    about = counts.summary()
    assert about["classes"][2] == {"class": "c", "utterances": 0, "answered": 1, "recall": None}


def test_classes_that_nobody_said_are_no_nan() -> None:
    counts = ClassCounts(("a", "b", "c"), np.array([[2, 0, 0], [0, 0, 0], [0, 0, 0]]))
    assert counts.uar == 1.0 and counts.table() == ["class  a   recall", "a      2  100.0 %"]
    nothing = ClassCounts.of_pairs([])
    assert (nothing.accuracy, nothing.uar, nothing.majority) == (0, 0, 0)
    assert "0 of 0 utterances" in nothing.describe() and nothing.summary()["classes"] == []


def test_of_very_many_classes_the_confusions_are_listed() -> None:
    pairs = [(f"s{i:02}", f"s{i // 2:02}") for i in range(40)]
    table = ClassCounts.of_pairs([*pairs, pairs[7]]).table()
    assert table[:2] == ["class  taken for  times", "s07    s03            2"] and len(table) == 13


def test_a_table_has_a_dozen_classes_at_most() -> None:
    names = [f"s{i:02}" for i in range(13)]
    assert len(ClassCounts.of_pairs(zip(names[:12], names[:12], strict=True)).table()) == 13
    assert ClassCounts.of_pairs(zip(names, names, strict=True)).table() == ["class  taken for  times"]


def test_what_a_file_holds_is_in_percent() -> None:
    about = ClassCounts.of_pairs([*PAIRS, ("a", "b"), ("b", "b")]).summary()
    assert [about[name] for name in ("accuracy", "uar", "majority")] == [66.6667, 66.6667, 75.0]
    assert (about["correct"], about["utterances"]) == (8, 12)
    assert about["classes"][0] == {"class": "a", "utterances": 9, "answered": 6, "recall": 66.6667}
    assert about["confusions"] == [["a", "b", 3], ["b", "c", 1]]


def test_a_table_is_of_names_that_any_terminal_prints() -> None:
    table = ClassCounts.of_pairs([("a\x07", "b"), ("b", "b")]).table()
    assert table[0].split() == ["class", "a\\x07", "b", "recall"] and table[1].split()[0] == "a\\x07"
    names = [f"s{i:02}\x07" for i in range(13)]
    assert "s00\\x07" in ClassCounts.of_pairs(zip(names, names[1:] + names[:1], strict=True)).table()[1]
