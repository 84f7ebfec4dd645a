"""When words sound: with a blank, from two labels' distance before the first to where the last is said;
without one, so far into the boundaries around them."""

import numpy as np
import pytest

from vqw2v_plugin.decoding.greedy import GreedyDecoder
from vqw2v_plugin.decoding.hypothesis import TimedText
from vqw2v_plugin.decoding.paths import join, words_of
from vqw2v_plugin.decoding.word_times import as_heard, between_labels
from vqw2v_plugin.text.units import asg_units, ctc_units

UNITS = ctc_units(["|", "a", "b"])


def said(text: str, *frames: int) -> list[TimedText]:
    """A label a frame, at these frames."""
    return [TimedText(label, at, at + 1, 0.5) for label, at in zip(text, frames, strict=True)]


def times(text: str, *frames: int) -> list[tuple[int, int]]:
    labels = said(text, *frames)
    return [(word.begin, word.end) for word in as_heard(words_of(labels, UNITS), labels)]


def test_a_word_begins_before_its_first_label_and_ends_where_its_last_is_said() -> None:
    assert times("aba|", 10, 13, 16, 18) == [(4, 16)]


def test_no_word_begins_before_the_one_in_front_has_ended_nor_the_first_before_the_file() -> None:
    assert times("ab|ab|", 3, 6, 8, 9, 12, 14) == [(0, 6), (6, 12)]
    assert times("ab|ab|", 3, 6, 8, 30, 33, 35) == [(0, 6), (24, 33)]


def test_words_of_one_label_have_a_frame_at_least() -> None:
    assert times("a|b|", 0, 1, 2, 3) == [(0, 1), (1, 2)]
    assert times("a|b|", 4, 6, 9, 11) == [(3, 4), (8, 9)]


def test_no_word_begins_before_a_silence_in_front_has_ended() -> None:
    """Which is a label that belongs to no word."""
    first, second = said("ab", 3, 6), said("ab", 20, 23)
    words = [join("ab", first), join("ab", second)]
    silent = [TimedText("a", 15, 18, 0.5)]
    for between, begin in (([], 14), (silent, 18)):
        assert as_heard(words, [*first, *between, *second])[1].begin == begin
    late = [TimedText("a", 15, 21, 0.5)]  # which has not ended when the word is said
    assert as_heard(words, [*first, *late, *second])[1].begin == 14


def test_the_distance_of_labels_is_their_median_one() -> None:
    assert times("abab|", 10, 11, 12, 21, 24) == [(8, 21)]


def test_text_and_confidence_stay_and_no_words_are_none() -> None:
    labels = said("ab|", 3, 6, 8)
    (word,) = as_heard([join("ab", labels[:2])], labels)
    assert (word.text, word.confidence) == ("ab", join("ab", labels[:2]).confidence)
    assert as_heard([], labels) == []


SECONDS = 0.02
ASG = asg_units(["|", "a", "b"])


def runs(*each: tuple[str, int]) -> list[TimedText]:
    """Labels that fill the frames, each so many."""
    found, at = [], 0
    for text, frames in each:
        found.append(TimedText(text, at, at := at + frames, 0.5))
    return found


def between(labels: list[TimedText], seconds: float = SECONDS) -> list[tuple[int, int]]:
    found = between_labels(words_of(labels, ASG), labels, labels[-1].end, seconds)
    return [(word.begin, word.end) for word in found]


def test_without_a_blank_a_boundary_is_of_both_words() -> None:
    said = runs(("|", 13), ("a", 2), ("|", 8), ("b", 2), ("|", 20))
    assert between(said) == [(9, 18), (19, 35)]  # 4 frames before the first, 3 and 4 of 8, 10 behind the last


def test_without_a_blank_a_long_boundary_holds_a_pause() -> None:
    said = runs(("|", 1), ("a", 2), ("|", 60), ("b", 2), ("|", 3))
    assert between(said) == [(0, 18), (59, 68)]
    assert between(said, 0.04) == [(0, 11), (61, 68)]  # frames of another length


def test_without_a_blank_words_that_touch_stay_as_they_are() -> None:
    for gap in (1, 2, 3):
        (_, end), (begin, _) = between(runs(("a", 2), ("|", gap), ("b", 2)))
        assert 2 <= end <= begin <= 2 + gap
    assert between_labels([], [], 5, SECONDS) == []


def test_without_a_blank_a_silence_is_no_word_s() -> None:
    said = runs(("a", 2), ("|", 4), ("b", 9), ("|", 2), ("a", 2))
    words = [join("a", said[:1]), join("a", said[4:])]  # the label between them is a silence
    first, second = between_labels(words, said, 19, SECONDS)
    assert (first.end, second.begin) == (6, 15)
    alone = between_labels(words[:1], said[:3], 15, SECONDS)[0]
    assert (alone.begin, alone.end) == (0, 6)
    said = runs(("|", 3), ("b", 6), ("|", 2), ("a", 2))  # a silence before the first word
    (first,) = between_labels([join("a", said[3:])], said, 13, SECONDS)
    assert (first.begin, first.end) == (9, 13)


@pytest.mark.parametrize("seconds", [None, SECONDS])
def test_times_without_a_blank_are_told_where_a_frame_s_length_is_known(seconds: float | None) -> None:
    path = [0] * 10 + [1] + [0] * 10
    emissions = np.eye(5, dtype=np.float32)[path] * 9
    decoder = GreedyDecoder(ASG, np.zeros((5, 5), np.float32), seconds)
    (word,) = decoder.decode(emissions)[0].words
    assert (word.begin, word.end) == ((10, 11) if seconds is None else (6, 21))
