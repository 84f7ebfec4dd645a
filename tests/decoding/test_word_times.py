"""Words of a model with a blank: from two labels' distance before the first to where the last is said."""

from vqw2v_plugin.decoding.hypothesis import TimedText
from vqw2v_plugin.decoding.paths import join, words_of
from vqw2v_plugin.decoding.word_times import as_heard
from vqw2v_plugin.text.units import ctc_units

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
