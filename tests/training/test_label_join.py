"""Labels joined to utterances: by name, and what is left out is counted and named."""

import logging

import numpy as np
import pytest

from vqw2v_plugin.stores.labels import LabelError, Labels
from vqw2v_plugin.text.units import ctc_units
from vqw2v_plugin.training.datasets.label_join import Selection, UnequalRows, join, report

UNITS = ctc_units(["a", "b"])
UTTS = ["u0", "u1", "u2", "u3", "u4"]
SIZES = np.array([10, 20, 30, 40, 50])


def joined(said: dict[str, str], selection: Selection | None = None, frames: np.ndarray = SIZES):
    labels = Labels(tuple(said), tuple(tuple(text) for text in said.values()))
    return join(UTTS, SIZES, frames, labels, UNITS, selection or Selection())


def test_names_join_in_any_order_and_the_rest_is_named() -> None:
    found = joined({"u4": "ab", "u1": "ba", "u9": "a", "u2": "", "u3": "aébé"})
    assert found.rows.tolist() == [1, 4]
    assert [found.columns[i].tolist() for i in range(2)] == [[2, 1], [1, 2]]
    assert found.left_out == {
        "have no labels": ["u0", "u2"],
        "have labels that the dictionary (dict.ltr.txt) lacks ('é' 2 times)": ["u3"],
        "have labels but nothing to be heard": ["u9"],
    }


def test_what_is_too_short_for_its_labels_counts_the_frames_between_equal_ones() -> None:
    said = {"u0": "aab", "u1": "abab"}
    assert joined(said, frames=np.array([4, 4, 9, 9, 9])).rows.tolist() == [0, 1]
    found = joined(said, frames=np.array([3, 3, 9, 9, 9]))
    assert found.left_out["are too short for their labels"] == [
        "u0 (3 frames of emissions, 4 needed)",
        "u1 (3 frames of emissions, 4 needed)",
    ]


def test_lengths_and_names_can_be_limited() -> None:
    said = dict.fromkeys(UTTS, "ab")
    found = joined(said, Selection(shortest=20, longest=40))
    assert found.rows.tolist() == [1, 2, 3]
    assert found.left_out == {
        "are shorter than `min_frames` or longer than `max_frames`": ["u0 (10)", "u4 (50)"]
    }
    found = joined(said, Selection(chosen=frozenset({"u3", "u0"})))
    assert found.rows.tolist() == [0, 3] and not found.left_out
    found = joined({"u3": "ab", "u4": "b", "u8": "a", "u9": "a"}, Selection(chosen=frozenset({"u3", "u9"})))
    assert found.rows.tolist() == [3]
    assert found.left_out == {
        "have no labels": ["u0", "u1", "u2"],
        "have labels but nothing to be heard": ["u9"],
    }
    with pytest.raises(LabelError, match=r"`max_frames` \(3\) must be at least `min_frames` \(4\)"):
        Selection(shortest=4, longest=3)
    assert joined(said, Selection(shortest=20, longest=20)).rows.tolist() == [1]


def test_one_name_for_two_utterances_is_refused() -> None:
    with pytest.raises(LabelError, match="'u1' has labels twice"):
        join(UTTS, SIZES, SIZES, Labels(("u1", "u1"), (("a",), ("b",))), UNITS, Selection())


def test_what_is_left_out_is_reported_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    found = joined({"u4": "ab", "u1": "ba"})
    with caplog.at_level(logging.WARNING):
        report("mel/train", found, strict=False)
    assert "mel/train: 3 utterances have no labels and are left out: u0, u2, u3" in caplog.text
    with pytest.raises(LabelError, match=r"3 utterances have no labels.*`strict_labels` is set"):
        report("mel/train", found, strict=True)
    report("mel/train", joined(dict.fromkeys(UTTS, "a")), strict=True)
    with pytest.raises(LabelError, match=r"not one utterance is left to learn from.*u0.*one manifest"):
        report("mel/train", joined({"x": "a"}), strict=False)


def test_rows_of_different_lengths_come_back() -> None:
    rows = [[1, 2, 3], [], [4]]
    packed = UnequalRows(rows)
    assert len(packed) == 3 and [packed[i].tolist() for i in range(3)] == rows
    assert len(UnequalRows([])) == 0
