"""A path of columns as labels and words: those that `Units` would read, with shares of their own frames."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqw2v_plugin.decoding.hypothesis import TimedText
from vqw2v_plugin.decoding.paths import join, spell_path, words_ending
from vqw2v_plugin.text.units import asg_units, ctc_units

ASG = asg_units(["|", "a", "b"], num_repeats=2)
CTC = ctc_units(["|", "a", "b"])


@given(st.lists(st.integers(0, 4), max_size=12))
def test_a_path_says_what_its_units_read(path: list[int]) -> None:
    """Repetition symbols without a label before them, or one behind the other, among them."""
    for units in (ASG, CTC):
        own = [column for column in path if column < len(units)]
        said = spell_path(own, units, np.ones((len(own), len(units)), np.float32))
        without_first = [label.text for label in said]
        if units is ASG and without_first[:1] == ["|"]:
            without_first = without_first[1:]
        assert without_first == units.decode(column for column, _ in itertools.groupby(own))


def test_a_label_s_confidence_is_the_mean_over_its_frames() -> None:
    shares = np.array([[0.1, 0.2, 0.5, 0.2], [0.0, 0.1, 0.9, 0.0], [0.6, 0.1, 0.1, 0.2]], np.float32)
    (label,) = spell_path([2, 2, 0], CTC, shares)
    assert (label.text, label.begin, label.end) == ("a", 0, 2)
    assert label.confidence == pytest.approx(0.7)


def test_a_word_s_confidence_is_the_geometric_mean_of_its_labels() -> None:
    word = join("ab", [TimedText("a", 3, 5, 0.9), TimedText("b", 6, 9, 0.4)])
    assert (word.text, word.begin, word.end) == ("ab", 3, 9)
    assert word.confidence == pytest.approx(0.6)


def test_words_end_where_the_search_says_and_hold_no_silence() -> None:
    labels = [TimedText(text, at, at + 1, 1.0) for at, text in enumerate(["sil", "a", "b", "sil", "a"])]
    found = words_ending(labels, [(2, "AB"), (4, "A")], "sil")
    assert [(word.text, word.begin, word.end) for word in found] == [("AB", 1, 3), ("A", 4, 5)]
