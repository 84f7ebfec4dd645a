"""From text to labels: normalization, TIMIT's foldings, spelling, espeak-ng's pronunciations."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import in_child
from hypothesis import given
from hypothesis import strategies as st

from vqw2v_plugin.stack import StackError
from vqw2v_plugin.text import phones
from vqw2v_plugin.text.normalize import Normalizer
from vqw2v_plugin.text.phones import FOLD_39, FOLD_48, FOLDS, fold_timit, strip_stress
from vqw2v_plugin.text.spelling import (
    ClassSpeller,
    LetterSpeller,
    PhonesAsTheyAre,
    PhoneSpeller,
    PieceSpeller,
    WordSpeller,
    read_pieces,
    train_pieces,
)
from vqw2v_plugin.text.unspoken import PhoneLines, line_draws, with_silence

TIMIT_61 = (
    "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy "
    "jh k kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
).split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It’s  “A–B”, U.S.!", "it's a b u s"),
        ("<UNK> [noise] well", "<unk> <unk> well"),
        ("'quoted' dogs' 'tis - ' ", "quoted dogs' 'tis"),
        ("cafe\u0301 co\u00adop STRASSE", "café coop strasse"),
        ("3.5 % of 1,000", "3 5 of 1 000"),
        ("o\u2018o o\u2019o o\u02bco o\u2032o o`o o\u00b4o o'o", "o'o o'o o'o o'o o'o o'o o'o"),
        ("I\u0307 J\u030c", "i\u0307 \u01f0"),
        ("<b>old [x]y <a>[b]", "b old x y a b"),
        ("हिन्दी العربية", "हिन्दी العربية"),
        ("\u3000...\t", ""),
    ],
)
def test_text_is_normalized_as_stated(text: str, expected: str) -> None:
    assert Normalizer()(text) == expected


@given(st.text(max_size=30))
def test_normalizing_twice_is_normalizing_once(text: str) -> None:
    for normalize in (Normalizer(), Normalizer("upper", "'.-"), Normalizer(enabled=False)):
        once = normalize(text)
        assert normalize(once) == once
        assert once == " ".join(once.split())


def test_case_and_punctuation_as_asked() -> None:
    assert Normalizer("upper", "'.")("Mr. O'Neill, straße") == "MR. O'NEILL STRASSE"
    assert Normalizer("keep", "")("Mr. O'Neill") == "Mr O Neill"
    assert Normalizer()("Straße ΣΑΣ") == "straße σας"  # in lower case, not folded
    with pytest.raises(ValueError, match="expected one of lower, upper, keep"):
        Normalizer("title")


def test_what_was_done_to_a_text_is_told() -> None:
    assert Normalizer("upper", "'.").describe() == {"case": "upper", "keep": "'."}
    assert Normalizer("upper", enabled=False).describe() == {"enabled": False}  # case says nothing then
    assert Normalizer(enabled=False)("  It’s\u3000 <UNK>, ") == "It’s <UNK>,"


def test_timit_s_61_phones_fold_to_48_and_39() -> None:
    assert len(TIMIT_61) == 61
    assert len(set(fold_timit(TIMIT_61, 48))) == 48
    assert len(set(fold_timit(TIMIT_61, 39))) == 39
    assert set(fold_timit(TIMIT_61, 48)) == set(FOLD_48.values())
    assert fold_timit(fold_timit(TIMIT_61, 48), 39) == fold_timit(TIMIT_61, 39)
    assert all(FOLD_39[phone] == phone for phone in FOLD_39.values())


def test_foldings_are_lee_and_hon_s() -> None:
    assert fold_timit("h# sh ix hv eh dcl jh ih q bcl b pau".split(), 48) == (
        "sil sh ix hh eh vcl jh ih vcl b sil".split()
    )
    assert (
        fold_timit("ao zh el en ux axr epi kcl nx em ax-h".split())
        == "aa sh l n uw er sil sil n m ah".split()
    )
    with pytest.raises(ValueError, match="AA: no phones of TIMIT's 61"):
        fold_timit(["AA"])
    with pytest.raises(ValueError, match="to 48 or 39; got 61"):
        fold_timit(["aa"], 61)


# of Kaldi's egs/timit, phones.60-48-39.map
KALDI = """aa aa aa; ae ae ae; ah ah ah; ao ao aa; aw aw aw; ax ax ah; ax-h ax ah; axr er er; ay ay ay; b b
b; bcl vcl sil; ch ch ch; d d d; dcl vcl sil; dh dh dh; dx dx dx; eh eh eh; el el l; em m m; en en
n; eng ng ng; epi epi sil; er er er; ey ey ey; f f f; g g g; gcl vcl sil; h# sil sil; hh hh hh; hv
hh hh; ih ih ih; ix ix ih; iy iy iy; jh jh jh; k k k; kcl cl sil; l l l; m m m; n n n; ng ng ng;
nx n n; ow ow ow; oy oy oy; p p p; pau sil sil; pcl cl sil; r r r; s s s; sh sh sh; t t t; tcl cl
sil; th th th; uh uh uh; uw uw uw; ux uw uw; v v v; w w w; y y y; z z z; zh zh sh"""


def test_foldings_are_kaldi_s_phone_for_phone() -> None:
    rows = [row.split() for row in KALDI.split(";")]
    assert sorted(row[0] for row in rows) == sorted({*TIMIT_61} - {"q"})
    for phone, *folded in rows:
        assert [fold_timit([phone], 48), fold_timit([phone], 39)] == [[name] for name in folded]


def test_stress_is_taken_from_arpabet_alone() -> None:
    assert strip_stress(["AH0", "EY1", "ER2", "K", "|", "2"]) == ["AH", "EY", "ER", "K", "|", "2"]


def test_letters_end_words_with_the_boundary_and_count_what_has_no_label() -> None:
    speller = LetterSpeller()
    assert speller("ab <unk> c|") == ["a", "b", "|", "<unk>", "|", "c", "<unk>", "|"]
    assert speller.unknown == {"<unk>": 1, "|": 1}
    assert speller.spellings("ab") == [("a", "b")] and speller.spellings("<unk>") == []
    assert speller.spellings("a|b") == []  # which no transcript spells so


def test_phones_come_from_the_first_pronunciation() -> None:
    lexicon = {"a": [("AH0",), ("AH1",), ("EY1",)], "b": [("B", "IY1")]}
    speller = PhoneSpeller(lambda word: lexicon.get(word, []), strip_stress, boundary=True)
    assert speller("b a zoo zoo") == ["B", "IY", "|", "AH", "|", "<unk>", "|", "<unk>", "|"]
    assert speller.unknown == {"zoo": 2}
    assert speller.spellings("a") == [("AH",), ("EY",)]
    assert PhoneSpeller(lambda word: lexicon[word], list, boundary=False)("b a") == ["B", "IY1", "AH0"]


def test_phones_as_they_are_keep_the_boundaries_they_have() -> None:
    assert PhonesAsTheyAre(list, True)("IH T | W AH Z") == ["IH", "T", "|", "W", "AH", "Z", "|"]
    assert PhonesAsTheyAre(list, False)("IH T | W AH Z") == ["IH", "T", "W", "AH", "Z"]
    assert PhonesAsTheyAre(fold_timit, True)("h# sh iy q") == ["sil", "sh", "iy"]


def test_espeak_pronounces_words_without_stress() -> None:
    pytest.importorskip("espeakng_loader")
    from vqw2v_plugin.text.phones import EspeakPhones

    english, german = EspeakPhones("en-us"), EspeakPhones("de")
    assert english("hello") == ("h", "ə", "l", "oʊ")
    assert german("schön") == ("ʃ", "øː", "n")
    assert english("nation") == ("n", "eɪ", "ʃ", "ə", "n")
    assert english("us") == ("ʌ", "s") != english("US")  # which is spelled
    assert "".join(english("understand")) == "ʌndɚstænd"  # without the second stress too
    assert "".join(german("Workshop")) == "wɜːkʃɒp"  # and without the change of language
    with pytest.raises(ValueError, match="no voice `zz`"):
        EspeakPhones("zz")


def test_unknown_words_among_phones_stay_and_are_counted() -> None:
    assert fold_timit(["sh", "<unk>", "|"], 48) == ["sh", "<unk>", "|"]
    speller = PhonesAsTheyAre(list, True)
    assert speller("IH <unk> | <unk>") == ["IH", "<unk>", "|", "<unk>", "|"]
    assert speller.unknown == {"<unk>": 2}


def test_a_pronunciation_that_is_folded_away_is_none() -> None:
    variants = {"a": [["q"], ["ax"], ["ah"]], "b": [["q"]]}
    speller = PhoneSpeller(lambda word: variants[word], fold_timit, boundary=False)
    assert speller.spellings("a") == [("ah",)] and speller.spellings("b") == []
    assert speller("a b") == ["ah", "<unk>"] and speller.unknown == {"b": 1}


def test_pieces_are_of_the_text_as_it_is() -> None:
    pytest.importorskip("sentencepiece")
    texts = ["abab baba abba"] * 3000 + ["Ä ﬁ"]  # rare, not in lower case, a ligature
    speller = PieceSpeller(train_pieces(texts, 9))
    assert {"Ä", "ﬁ"} <= {letter for piece in speller.symbols() for letter in piece}
    assert "".join(speller("Ä ﬁ")) == "▁Ä▁ﬁ" and not speller.unknown
    assert speller.spellings("abz") == [] and "".join(speller.spellings("ab")[0]) == "▁ab"
    assert speller("ab z")[-1] == "<unk>" and speller.unknown == {"z": 1}


def test_symbols_of_a_stranger_s_pieces_are_what_is_said() -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abab baba abba"] * 50), model_writer=written, vocab_size=8, minloglevel=2
    )
    speller = PieceSpeller(written.getvalue())
    assert not {"<unk>", "<s>", "</s>"} & set(speller.symbols()) and len(speller.symbols()) == 5


def test_what_espeak_does_not_say_has_no_phones() -> None:
    pytest.importorskip("espeakng_loader")
    from vqw2v_plugin.text.phones import EspeakPhones

    speak = EspeakPhones("en-us")
    assert speak("") == speak("'") == ()
    assert all(speak("unbelievable-hello"))


def test_a_word_that_is_said_again_is_not_normalized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = Normalizer._word

    def word(self: Normalizer, part: str) -> str:
        asked.append(part)
        return original(self, part)

    monkeypatch.setattr(Normalizer, "_word", word)
    for case in ("lower", "upper", "lower"):
        assert Normalizer(case)("Zyx-Wv " * 1_000 + "Uvw") == getattr("zyx wv " * 1_000 + "uvw", case)()
    assert sorted(asked) == ["Uvw", "Uvw", "Zyx-Wv", "Zyx-Wv"]


@pytest.mark.parametrize("word", ["one…two…three", "one¡two", "one.two", "one,two;three", "¿two", "two…"])
def test_a_word_of_several_clauses_is_said_whole_and_leaves_nothing_to_the_next(
    word: str, tmp_path: Path
) -> None:
    """In a process of its own: espeak-ng has one state, which voices of other tests would hear."""
    pytest.importorskip("espeakng_loader")
    from vqw2v_plugin.text.phones import EspeakPhones

    def hear() -> None:
        speak = EspeakPhones("en-us")
        parts = ({".": "dot"}.get(part, part) for part in re.findall("[a-z]+|[.]", word))
        assert list(speak(word)) == [phone for part in parts for phone in speak(part)]
        assert speak("cat") == ("k", "æ", "t")

    ended = in_child(hear, tmp_path)
    assert ended.status == 0, ended.said


def test_each_folding_has_its_name() -> None:
    said = ["ax", "cl", "ao", "AH0"]
    assert FOLDS["none"](said) == said and FOLDS["stress"](said) == ["ax", "cl", "ao", "AH"]
    assert FOLDS["48"](said[:3]) == ["ax", "cl", "ao"] and FOLDS["39"](said[:3]) == ["ah", "sil", "aa"]


def test_lines_that_hold_phones_are_folded_word_by_word() -> None:
    lines = PhoneLines(None, strip_stress)
    assert lines("HH AH0 | | W ER1 |") == [("HH", "AH"), ("W", "ER")] and lines("") == []


def test_a_pronunciation_that_bears_a_name_of_ours_is_refused() -> None:
    lines = PhoneLines(lambda word: [("<SIL>",)] if word == "hm" else [("a", "b"), ("c",)], list)
    assert lines("x <unk>") is None and lines("x x") == [("a", "b"), ("a", "b")]
    assert lines.unknown == {"<unk>": 1}
    assert lines("<unk> x") is None and lines.unknown == {"<unk>": 2}  # as often as it is said
    with pytest.raises(ValueError, match="'hm': '<SIL>' cannot be one of its phones"):
        lines("hm")


def test_silence_between_words_is_drawn_of_a_line_s_own() -> None:
    words = [("a",), ("b", "c")]
    assert with_silence(words, 0, line_draws(1, 1)) == ["a", "b", "c"]
    assert with_silence(words, 1, line_draws(1, 1)) == ["<SIL>", "a", "<SIL>", "b", "c", "<SIL>"]
    drawn = [len(with_silence(words, 0.25, line_draws(1, line))) - 5 for line in range(400)]
    assert 60 < sum(drawn) < 140
    first = [line_draws(*each).random() for each in ((1, 1), (1, 1), (2, 1), (1, 2), (11, 1), (1, 11))]
    assert first[0] == first[1] and len(set(first)) == 5


def test_a_boundary_that_begins_a_line_of_phones_ends_no_word() -> None:
    assert PhonesAsTheyAre(list, True)("| IH T | W") == ["IH", "T", "|", "W", "|"]
    assert PhonesAsTheyAre(list, True)("") == [] == PhonesAsTheyAre(list, True).spellings("it")


def test_words_that_are_signs_of_ours_are_no_labels() -> None:
    speller = WordSpeller()
    assert speller("a <blank> <SIL> sil") == ["a", "<unk>", "<unk>", "sil"]
    assert speller.unknown == {"<blank>": 1, "<SIL>": 1}
    assert speller.spellings("sil") == [("sil",)] and speller.spellings("<blank>") == []


@pytest.mark.parametrize("name", ["<s>", "<pad>", "</s>", "<unk>"])
def test_a_class_does_not_bear_a_name_of_fairseq_s(name: str) -> None:
    with pytest.raises(ValueError, match=f"the class '{name}' bears a name of fairseq's own"):
        ClassSpeller()(name)


def test_what_is_no_model_of_pieces_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone: no such file or directory, expected a sentencepiece model"):
        read_pieces(tmp_path / "gone")
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"x: is no sentencepiece model; make one with `--vocab-size`"):
        read_pieces(tmp_path / "x")


def test_without_espeak_or_its_data_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a library that is none, so that espeak-ng's own state stays."""
    opened = SimpleNamespace(
        espeak_TextToPhonemes=SimpleNamespace(), espeak_Initialize=lambda mode, size, path, options: -1
    )
    monkeypatch.setattr(phones.ctypes, "CDLL", lambda path: opened)
    loader = SimpleNamespace(get_library_path=lambda: "x.so", get_data_path=lambda: "/nowhere")
    for found, error, said in (
        (None, StackError, r"needs `espeakng-loader`.*\[demo\].*`--lexicon FILE`, works without"),
        (loader, ValueError, r"found no data in `/nowhere` \(8 characters; it reads at most 160\)"),
    ):
        monkeypatch.setitem(sys.modules, "espeakng_loader", found)
        with pytest.raises(error, match=said):
            phones._library.__wrapped__()
