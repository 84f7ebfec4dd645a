"""Lexicon files: spellings as the model's columns, and sentences for what cannot be spelled."""

from pathlib import Path

import pytest

from vqw2v_plugin.text.lexicon import columns_of, read_lexicon, spells_labels, write_lexicon
from vqw2v_plugin.text.normalize import Normalizer
from vqw2v_plugin.text.units import asg_units, ctc_units

CTC, ASG = ctc_units(["|", *"abl'"]), asg_units(["|", *"abl'"])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_words_have_spellings_in_the_file_s_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "l", ";;; comment\nAll\tA L\nBALL(2) b a l\nBALL(10) b l\nBALL b l\n\nIT’S i t\n<unk> x\n"
    )
    assert read_lexicon(path) == {
        "All": [("A", "L")],
        "BALL": [("b", "a", "l"), ("b", "l")],
        "IT’S": [("i", "t")],
    }
    assert list(read_lexicon(path, Normalizer())) == ["all", "ball", "it's"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    spellings = {"ab": [("a", "b"), ("a",)], "l": [("l",)]}
    write_lexicon(tmp_path / "l", spellings)
    assert read_lexicon(tmp_path / "l") == spellings
    write_lexicon(tmp_path / "turned", dict(reversed(spellings.items())))
    assert (tmp_path / "turned").read_text() == (tmp_path / "l").read_text() == "ab\ta b\nab\ta\nl\tl\n"


def test_spellings_end_with_one_boundary_and_asg_s_are_packed() -> None:
    for spelling in ((), tuple("ball"), (*"ball", "|")):
        [(_, ctc)], [(_, asg)] = (columns_of({"ball": [spelling]}, units) for units in (CTC, ASG))
        assert "".join(CTC.symbols[c] for c in ctc) == "ball|"
        assert "".join(ASG.symbols[c] for c in asg) == "bal1|"


def test_spellings_of_units_without_boundary_have_none() -> None:
    units = asg_units(["aa", "sil"], "phones", num_repeats=1)
    assert columns_of({"x": [("aa", "aa")]}, units) == [("x", [0, 2])]


def test_a_word_that_stands_alone_is_its_own_label_where_words_are_labels() -> None:
    assert columns_of({"oui": [()]}, asg_units(["non", "oui"], "words")) == [("oui", [1])]


def test_a_word_that_stands_alone_too_has_its_spelling_once() -> None:
    """As where more words are put behind a lexicon that has some of them."""
    spelled = columns_of({"ball": [tuple("ball"), ()], "a": [()]}, CTC)
    assert spelled == columns_of({"ball": [tuple("ball")], "a": [("a",)]}, CTC) and len(spelled) == 2


@pytest.mark.parametrize(
    ("spellings", "kind", "message"),
    [
        ({"abz": [()]}, "letters", "lexicon's word 'abz': the label 'z' is none of"),
        ({"ab": [("|",)]}, "letters", "'ab': has no labels"),
        ({"ab": [()]}, "phones", "'ab': has no spelling; expected its phones behind it"),
    ],
)
def test_what_cannot_be_spelled_is_named(spellings: dict, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        columns_of(spellings, ctc_units(["|", *"ab"], kind))


def test_files_that_are_no_lexicon(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or directory, expected a lexicon"):
        read_lexicon(tmp_path / "none")
    with pytest.raises(ValueError, match="has no words"):
        read_lexicon(write(tmp_path / "empty", "\n"))
    (tmp_path / "latin").write_bytes(b"caf\xe9 k a f e\n")
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_lexicon(tmp_path / "latin")


def test_a_lexicon_of_labels_spells_each_by_itself() -> None:
    assert spells_labels({"a": [("a",)], "b": [("b", "|")]})
    for other in (
        {"a": [("a",)], "ab": [("a", "b")]},
        {"a": [("b",)]},
        {"a": [("a",), ("a", "a")]},
        {"a": [()]},
    ):
        assert not spells_labels(other)


def test_the_longest_word_has_a_thousand_letters_and_a_label_less(tmp_path: Path) -> None:
    path = write(tmp_path / "l", f"{'a' * 1_000} a\nb {'a ' * 999}\n")
    assert [len(ways[0]) for ways in read_lexicon(path).values()] == [1, 999]
    with pytest.raises(ValueError, match=r"l:1: a word of 1 letters and 1,000 labels"):
        read_lexicon(write(tmp_path / "l", f"b {'a ' * 1_000}\n"))
