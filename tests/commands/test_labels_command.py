"""`vqw2v labels`: one dictionary for all splits, and everything without a label is counted and named."""

import json
import os
from pathlib import Path

import pytest

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.stores.labels import read_labels, read_symbols


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Manifests train and valid with a column of words and one of phones."""
    write(tmp_path / "train.tsv", [("u1", "Hello, all", "HH AH0 | AO1 L"), ("u2", "a hall", "AH0 | HH")])
    write(tmp_path / "valid.tsv", [("v1", "all é <noise>", "AO1"), ("v2", "", "")])
    return tmp_path


def write(path: Path, rows: list[tuple[str, str, str]]) -> None:
    lines = [f"{utt}.wav\t16000\t{utt}\t{words}\t{phones}\n" for utt, words, phones in rows]
    path.write_text(
        f"{path.parent}\n# path\tsamples\tutt\twords\tphones\n" + "".join(lines), encoding="utf-8"
    )


def labels(corpus: Path, *arguments: object, splits: tuple[str, ...] = ("train", "valid")) -> int:
    manifests = [str(corpus / f"{split}.tsv") for split in splits]
    return cli.main(["labels", *manifests, str(corpus / "o"), *map(str, arguments)])


def lines(corpus: Path, split: str, kind: str = "letters") -> list[str]:
    return [" ".join(row) for row in read_labels(corpus / "o", split, kind).labels]


def test_letters_share_the_dictionary_of_training(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels(corpus, "--text", "words", "--unit", "letters") == 0
    assert lines(corpus, "train") == ["h e l l o | a l l |", "a | h a l l |"]
    assert lines(corpus, "valid") == ["a l l | <unk> | <unk> |"]
    assert read_labels(corpus / "o", "valid", "letters").utts == ("v1",)
    assert read_labels(corpus / "o", "train", "letters").words == ("hello all", "a hall")
    assert (corpus / "o" / "dict.ltr.txt").read_text() == "| 4\na 3\ne 1\nh 2\nl 6\no 1\n"
    assert (corpus / "o" / "lexicon.ltr.txt").read_text().splitlines()[2] == "hall\th a l l"
    shown = capsys.readouterr()
    assert "6 letters in dict.ltr.txt (made from train)" in shown.out
    assert "  train: 2 utterances, 4 words, 17 labels\n" in shown.out
    assert "  valid: 1 utterances, 3 words, 8 labels\n" in shown.out
    assert "valid: 1 utterances have no text and are left out" in shown.err
    assert "valid: 1 of 1 utterances hold <unk>, for" in shown.err
    assert "'é' 1 times" in shown.err and "'<unk>' 1 times" in shown.err
    about = json.loads((corpus / "o" / "labels.json").read_text())["letters"]
    assert about["normalization"] == {"case": "lower", "keep": "'"}
    assert about["splits"]["valid"]["unknown"] == {"<unk>": 1, "é": 1}


def test_words_are_labels_as_they_are(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(corpus / "train.tsv", [("u1", "Sil, all <s> |", ""), ("u2", "a all", "")])
    assert labels(corpus, "--text", "words", "--unit", "words", "--as-is", "--case", "keep") == 0
    assert lines(corpus, "train", "words") == ["Sil, all <unk> <unk>", "a all"]
    assert lines(corpus, "valid", "words") == ["all <unk> <unk>"]
    assert (corpus / "o" / "dict.word.txt").read_text() == "Sil, 1\na 1\nall 2\n"
    assert (corpus / "o" / "lexicon.word.txt").read_text() == "Sil,\tSil,\na\ta\nall\tall\n"
    assert (corpus / "o" / "train.wrd").read_text() == "Sil, all <s> |\na all\n"
    assert "3 words in dict.word.txt (made from train)" in capsys.readouterr().out
    about = json.loads((corpus / "o" / "labels.json").read_text())["words"]["splits"]
    assert about["train"]["unknown"] == {"<s>": 1, "|": 1} and about["valid"]["unknown"]["é"] == 1


def test_what_has_no_label_is_counted_in_its_own_split(corpus: Path) -> None:
    write(corpus / "train.tsv", [("u1", "a|b <noise>", "")])
    write(corpus / "valid.tsv", [("v1", "a b", "")])
    assert labels(corpus, "--text", "words", "--unit", "letters", "--as-is") == 0
    about = json.loads((corpus / "o" / "labels.json").read_text())["letters"]["splits"]
    assert about["train"]["unknown"]["|"] == 1 and about["valid"]["unknown"] == {}


def test_strict_writes_nothing(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels(corpus, "--text", "words", "--unit", "letters", "--strict") == 2
    assert not (corpus / "o").exists()
    assert "nothing was written" in capsys.readouterr().err
    assert labels(corpus, "--text", "words", "--unit", "letters", "--strict", splits=("train",)) == 0


def test_a_dictionary_is_reused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels(corpus, "--text", "words", "--unit", "letters", splits=("train",)) == 0
    symbols = read_symbols(corpus / "o", "letters")
    write(corpus / "train.tsv", [("u1", "zebra all", "")])
    assert labels(corpus, "--text", "words", "--unit", "letters", splits=("train",)) == 0
    assert read_symbols(corpus / "o", "letters") == symbols
    assert lines(corpus, "train") == ["<unk> e <unk> <unk> a | a l l |"]
    assert "reused from" in capsys.readouterr().out
    other_order = "".join(f"{symbol} 0\n" for symbol in reversed(symbols))
    for other in ("| 0\na 0\n", other_order):
        (corpus / "d.txt").write_text(other)
        assert labels(corpus, "--text", "words", "--unit", "letters", "--dict", corpus / "d.txt") == 2
        assert "labels of two cannot share a folder" in capsys.readouterr().err


def test_an_alphabet_and_a_least_count_limit_the_letters(corpus: Path) -> None:
    assert labels(corpus, "--text", "words", "--unit", "letters", "--alphabet", "ahl") == 0
    assert read_symbols(corpus / "o", "letters") == ("|", "a", "h", "l")
    assert lines(corpus, "train")[0] == "h <unk> l l <unk> | a l l |"
    assert "hello" not in (corpus / "o" / "lexicon.ltr.txt").read_text()
    os.remove(corpus / "o" / "dict.ltr.txt")
    assert labels(corpus, "--text", "words", "--unit", "letters", "--min-count", 3) == 0
    assert read_symbols(corpus / "o", "letters") == ("|", "a", "l")


def test_phones_of_a_lexicon_of_espeak_and_of_a_column(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "lex").write_text("HELLO HH AH0 L OW1\nALL AO1 L\nA AH0\nA OW1\nHALL HH AO1 L\nMORE M AO1 R\n")
    unit = ("--unit", "phones")
    assert labels(corpus, "--text", "words", *unit, "--lexicon", corpus / "lex", "--fold", "stress") == 0
    assert lines(corpus, "train", "phones") == ["HH AH L OW | AO L |", "AH | HH AO L |"]
    assert lines(corpus, "valid", "phones") == ["AO L | <unk> | <unk> |"]
    assert (corpus / "o" / "lexicon.phn.txt").read_text().splitlines()[:2] == ["a\tAH", "a\tOW"]
    os.rename(corpus / "o", corpus / "o1")
    assert labels(corpus, "--text", "phones", *unit, "--no-boundary", splits=("train",)) == 0
    assert capsys.readouterr().out.endswith("  train: 2 utterances, 6 labels\n")  # and of no words
    assert lines(corpus, "train", "phones") == ["HH AH0 AO1 L", "AH0 HH"]
    assert not (corpus / "o" / "train.wrd").exists()
    pytest.importorskip("espeakng_loader")
    os.rename(corpus / "o", corpus / "o2")
    assert labels(corpus, "--text", "words", *unit, "--espeak", "en-us", splits=("train",)) == 0
    assert lines(corpus, "train", "phones")[0] == "h ə l oʊ | ɔː l |"


def test_pieces_are_trained_and_reused(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentencepiece")
    pieces = ("--text", "words", "--unit", "pieces")
    assert labels(corpus, *pieces) == 2
    assert "needs `--vocab-size N`" in capsys.readouterr().err
    assert labels(corpus, *pieces, "--vocab-size", 1000) == 2
    assert "`--vocab-size` 1000: sentencepiece says" in capsys.readouterr().err
    assert labels(corpus, *pieces, "--vocab-size", 9) == 0
    assert len(read_symbols(corpus / "o", "pieces")) == 8  # <unk> is fairseq's own
    assert "".join(lines(corpus, "train", "pieces")[0].split()).replace("▁", " ").split() == ["hello", "all"]
    assert "<unk>" in lines(corpus, "valid", "pieces")[0]
    first = (corpus / "o" / "train.pcs").read_bytes()
    assert labels(corpus, *pieces, splits=("train",)) == 0
    assert (corpus / "o" / "train.pcs").read_bytes() == first
    assert labels(corpus, *pieces, "--vocab-size", 9) == 2
    (corpus / "bad.model").write_text("x")
    assert labels(corpus, *pieces, "--model", corpus / "bad.model") == 2
    assert "is no sentencepiece model" in capsys.readouterr().err


def test_the_column_that_was_known_and_who_was_drawn_are_told(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--label-fraction", 1, "--label-seed", 2)
    assert labels(corpus, "--unit", "letters", splits=("train",)) == 0
    shown = capsys.readouterr().out
    assert "  from words of the tables\n" in shown and "drawn" not in shown
    assert labels(corpus, "--text", "words", "--unit", "letters", "--label-fraction", 1, "--keep", ",") == 0
    assert "drawn" not in capsys.readouterr().out  # a share of 1 is all of them
    assert lines(corpus, "train")[0] == "h e l l o <unk> | a l l |"  # kept, and not in the dictionary
    os.rename(corpus / "o", corpus / "o1")
    write(corpus / "train.tsv", [(f"u{i}", f"word {chr(97 + i)}", "") for i in range(9)])
    assert labels(corpus, "--text", "words", "--unit", "letters", "--label-fraction", 4, *few[2:]) == 0
    held = read_labels(corpus / "o", "train", "letters").utts
    assert f"  train: drawn are 4 of 9 labelled utterances: {', '.join(held)}\n" in capsys.readouterr().out
    chosen = json.loads((corpus / "o" / "labels.json").read_text())["letters"]["settings"]
    assert (chosen["label_fraction"], chosen["label_seed"]) == (4, 2) and "label_hours" not in chosen


def test_text_may_come_from_a_file(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "text").write_text("u2\tsecond\nu1\tfirst\n")
    assert labels(corpus, "--text", corpus / "text", "--unit", "letters", splits=("train",)) == 0
    assert read_labels(corpus / "o", "train", "letters").words == ("first", "second")
    (corpus / "text").write_text("u2 second\n")
    assert labels(corpus, "--text", corpus / "text", "--unit", "letters", splits=("train",)) == 2
    assert "text:1: 'u2 second' has no tab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", "wrods", "--unit", "letters"), "no column of"),
        *(
            (("--text", "words", "--unit", unit, option, value), f"`{option}` belongs to `--unit {other}`")
            for unit, option, value, other in (
                *(("letters", "--lexicon", "x", "phones"), ("pieces", "--espeak", "en-us", "phones")),
                *(("letters", "--fold", "39", "phones"), ("phones", "--alphabet", "a", "letters")),
                *(("letters", "--vocab-size", "9", "pieces"), ("phones", "--model", "x", "pieces")),
                ("words", "--column", "words", "class"),
            )
        ),
        (("--text", "words", "--unit", "letters", "--alphabet", "a", "--dict", "x"), "exclude each other"),
        (
            ("--text", "words", "--unit", "pieces", "--vocab-size", "0", "--model", "x"),
            "`--vocab-size` and `--model` exclude each other; take one",
        ),
        (
            ("--text", "words", "--unit", "phones", "--lexicon", "x", "--espeak", "en-us"),
            "`--lexicon` and `--espeak` exclude each other; take one",
        ),
        (("--text", "words", "--unit", "letters", "--min-count", "0"), "expected 1 or more"),
        (("--text", "words", "--unit", "letters", "--min-count", "99"), "lower `--min-count`"),
        (("--text", "phones", "--unit", "phones", "--fold", "39"), "no phones of TIMIT's 61"),
        (("--text", "words", "--unit", "pieces", "--dict", "x"), "give `--model`"),
        (("--text", "words", "--unit", "letters", "--dict", "none"), "none: is missing"),
    ],
)
def test_mistakes_are_one_sentence(
    corpus: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert labels(corpus, *arguments, splits=("train",)) == 2
    shown = capsys.readouterr().err
    assert message in shown and len(shown.splitlines()) == 1
    assert not (corpus / "o").exists()
