"""Columns, labels and words: what is said once comes back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqw2v_plugin.modules.acoustic.losses import make_sequence_loss
from vqw2v_plugin.text.classes import Classes
from vqw2v_plugin.text.loss_kinds import LOSS_KINDS, loss_kind
from vqw2v_plugin.text.spelling import LetterSpeller
from vqw2v_plugin.text.units import BLANK, Units, asg_units, ctc_units, make_units

LETTERS = ("|", *"abc'")
texts = st.lists(st.text("abc'", min_size=1, max_size=6), max_size=4).map(" ".join)


@given(texts, st.integers(1, 3))
def test_text_comes_back_through_asg_s_repetition_symbols(text: str, num_repeats: int) -> None:
    units = asg_units(LETTERS, num_repeats=num_repeats)
    columns = units.encode(LetterSpeller()(text))
    assert all(a != b for a, b in itertools.pairwise(columns))
    assert " ".join(units.words(units.decode(columns))) == text


@given(texts)
def test_text_comes_back_through_ctc_s_columns(text: str) -> None:
    units = ctc_units(LETTERS)
    labels = LetterSpeller()(text)
    assert units.blank not in units.encode(labels)
    assert units.decode(units.encode(labels)) == labels
    assert " ".join(units.words(labels)) == text


def test_asg_says_silence_before_the_first_word_and_for_no_words() -> None:
    units = asg_units(LETTERS)
    assert [units.symbols[c] for c in units.encode(list("aa|"))] == ["|", "a", "1", "|"]
    assert [units.symbols[c] for c in units.encode([])] == ["|"]


def test_a_transcript_holds_labels_and_neither_blank_nor_repetitions() -> None:
    assert ctc_units(LETTERS).labels == asg_units(LETTERS).labels == frozenset(LETTERS)


def test_files_of_two_losses_tell_them_by_the_blank() -> None:
    for units in (ctc_units(LETTERS), asg_units(LETTERS)):
        held = units.to_json()
        assert "loss" not in held and Units.from_json(held) == units
        assert Units.from_json({**held, "loss": units.loss.name}) == units
    assert asg_units(LETTERS).to_json()["blank"] is None


def test_frames_that_a_transcript_needs_at_least() -> None:
    """One a column, and for CTC a blank between equal neighbours (Graves et al. 2006)."""
    for columns, ctc, asg in (([], 0, 0), ([3], 1, 1), ([3, 4, 3], 3, 3), ([3, 3, 3, 4, 4], 8, 5)):
        assert LOSS_KINDS["ctc"].frames_needed(columns) == ctc
        assert LOSS_KINDS["asg"].frames_needed(columns) == asg


def test_what_is_said_of_a_loss_is_so_of_its_module_and_its_search() -> None:
    for name, kind in LOSS_KINDS.items():
        units = make_units(kind, LETTERS)
        module = make_sequence_loss(name, len(units), units.blank)
        assert (getattr(module, "transitions", None) is not None) == kind.has_transitions
        assert kind.has_blank == (BLANK in units.symbols) and kind.has_repeats == bool(units.repeats)
        if name != "wav2vec_u":  # which has a search that is another's
            assert (kind.name, kind.title, kind.search) == (name, name.upper(), name.upper())
    assert not LOSS_KINDS["ctc"].has_transitions and LOSS_KINDS["asg"].has_transitions


def test_pieces_and_phones_make_words() -> None:
    pieces = ctc_units(["▁", "▁he", "llo", "▁wor", "ld"], "pieces")
    assert pieces.words(["▁he", "llo", "▁wor", "ld"]) == ["hello", "world"]
    assert pieces.words(["llo", "▁", "ld", "▁"]) == ["llo", "ld"]
    barred = ctc_units(["▁a", "|", "b"], "pieces")  # a sign like any other
    assert barred.words(["▁a", "|", "b"]) == ["a|b"]
    phones = ctc_units(["|", "HH", "AH"], "phones")
    assert phones.words(["HH", "|", "AH", "|"]) == ["HH", "AH"]


def test_words_are_words_and_none_is_silence() -> None:
    units = asg_units(["oui", "sil"], "words")
    assert units.decode(units.encode(["sil", "sil", "oui"])) == ["sil", "sil", "oui"]
    assert units.words(["sil", "oui"]) == ["sil", "oui"]
    assert units.silence == -1 and units.boundary is None


def test_silence_is_the_boundary_or_sil_or_nothing() -> None:
    assert ctc_units(LETTERS).silence == 1
    assert asg_units(["aa", "sil"], "phones").silence == 1
    assert asg_units(["aa", "SIL"], "phones").silence == 1
    assert asg_units(["aa", "bb"], "phones").silence == -1


def test_what_cannot_be_is_said_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"'1' is there twice.*spell numbers out"):
        asg_units(["|", "a", "1"])
    with pytest.raises(ValueError, match="'z' is none of the 6 symbols"):
        ctc_units(LETTERS).encode(["z"])
    with pytest.raises(ValueError, match="'<blank>' is none"):
        ctc_units(LETTERS).encode(["<blank>"])
    with pytest.raises(ValueError, match="expected one of letters, phones, pieces"):
        Units(("a",), "word", loss=LOSS_KINDS["asg"])
    with pytest.raises(ValueError, match="`blank` is None; CTC has the column of one"):
        Units(("a",), loss=LOSS_KINDS["ctc"])
    with pytest.raises(ValueError, match="`repeats` are 1; CTC has none"):
        Units((BLANK, "a", "1"), blank=0, repeats=("1",), loss=LOSS_KINDS["ctc"])
    with pytest.raises(ValueError, match="`loss` is 'transducer'; expected one of ctc, asg"):
        loss_kind("transducer")


def test_a_boundary_that_is_there_is_not_put_there_again() -> None:
    units = asg_units(LETTERS, num_repeats=1)
    assert units.encode(["|", "a", "|"]) == units.encode(["a", "|"]) == units.columns(["|", "a", "|"])


def test_the_boundary_is_the_silence_where_there_is_one() -> None:
    assert ctc_units(["sil", "a", "|"]).silence == 3 and ctc_units(["a", "SIL", "sil"]).silence == 3
    assert ctc_units(["a"]).silence == -1


@pytest.mark.parametrize(
    "name, value",
    [
        *(("symbols", 5), ("symbols", "ab"), ("symbols", [BLANK, ["a"]]), ("repeats", None), ("kind", ["a"])),
        *(("blank", 7), ("blank", 6), ("blank", -1), ("blank", True), ("blank", "0"), ("loss", ["ctc"])),
    ],
)
def test_units_of_a_file_have_their_types(name: str, value: object) -> None:
    held = {**ctc_units(LETTERS).to_json(), name: value}
    with pytest.raises(ValueError, match=f"`{name}`.*; expected"):
        Units.from_json(held)


def test_silence_in_text_is_no_phone_and_no_word() -> None:
    units = asg_units(["aa", "<SIL>", "sil"], "phones")
    assert units.silence == 1 and units.words(["<SIL>", "aa", "|", "sil"]) == ["aa", "sil"]


def test_classes_have_columns_in_their_order_and_need_one_frame() -> None:
    classes = Classes(("sad", "glad"))
    assert (len(classes), classes.encode(["glad", "sad"]), classes.labels) == (2, [1, 0], {"sad", "glad"})
    assert classes.frames_needed([1, 1]) == 1 and classes.kind == "class"
    for names, says in (
        (("one",), "there are 1 classes; expected 2 to 100,000"),
        (("a", "b c"), "the class 'b c' is no name"),
        (("a", ""), "the class '' is no name"),
        (("a", "b", "b"), "the class 'b' is there twice"),
    ):
        with pytest.raises(ValueError, match=says):
            Classes(names)
