"""Transcripts → a label folder: whose labels make the dictionary, what is told of all, where texts lie."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.jobs.labels import LabelFolder, LabelSettings, make_labels
from vqw2v_plugin.stores.label_share import share_of
from vqw2v_plugin.stores.labels import LABELS, read_labels

WORDS = LabelSettings("words", "letters")


def write(folder: Path, **splits: Mapping[str, str]) -> list[str]:
    """A manifest of each split, of utterances and their words."""
    paths = [folder / f"{name.replace('_', '-')}.tsv" for name in splits]
    for path, texts in zip(paths, splits.values(), strict=True):
        rows = [f"{utt}.wav\t16000\t{utt}\t{words}\n" for utt, words in texts.items()]
        path.write_text(f"{folder}\n# path\tsamples\tutt\twords\n" + "".join(rows), encoding="utf-8")
    return list(map(str, paths))


def labels(folder: Path, settings: LabelSettings = WORDS, **splits: Mapping[str, str]) -> LabelFolder:
    return make_labels(write(folder, **splits), folder / "o", settings)


def test_the_dictionary_is_of_all_that_is_called_training(tmp_path: Path) -> None:
    splits = {"train_clean": {"a": "x"}, "train_other": {"b": "yy"}, "valid": {"c": "xz", "d": "xy"}}
    made = labels(tmp_path, **splits)
    assert made.counts == [("|", 2), ("x", 1), ("y", 2)]
    assert made.origin == "made from train-clean, train-other"
    assert [each.labels for each in made.splits][2] == [["x", "<unk>", "|"], ["x", "y", "|"]]
    assert dict(made.extra) == {"lexicon.ltr.txt": b"x\tx\nyy\ty y\n"}
    alone = labels(tmp_path, dev={"c": "xz"}, test={"d": "v"})  # where nothing is called so, of all
    assert [label for label, _ in alone.counts] == ["|", "v", "x", "z"]


def test_pieces_are_found_in_training_alone(tmp_path: Path) -> None:
    """A word that validation alone says is no piece, nor are its letters."""
    pytest.importorskip("sentencepiece")
    settings = LabelSettings("words", "pieces", vocab_size=8)
    made = labels(tmp_path, settings, train={"a": "abab baab abba " * 9}, valid={"b": "abzz zz " * 99})
    assert not any("z" in label for label, _ in made.counts) and "a" in {label for label, _ in made.counts}
    train, valid = made.splits
    assert train.num_with_unknown == 0 and valid.unknown["zz"] + valid.unknown["z"] > 0
    assert sum(count for _, count in made.counts) == sum(map(len, train.labels))
    assert {line.split("\t")[0] for line in made.extra["lexicon.pcs.txt"].decode().splitlines()} == {
        *("abab", "abba", "baab")
    }


def test_an_alphabet_has_the_boundary_once_and_no_blank(tmp_path: Path) -> None:
    made = labels(tmp_path, LabelSettings("words", "letters", alphabet="b |a b"), train={"u": "ab"})
    assert made.counts == [("|", 1), ("a", 1), ("b", 1)] and made.origin == "the alphabet's"


def test_a_dozen_of_what_became_unk_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    for letters, rest in (("cdefghijklmn", ""), ("cdefghijklmnopq", " and 3 others")):
        made = labels(tmp_path, train={"u": "a"}, valid={"v": letters + "cc", "w": "a"})
        (said,) = made.warnings
        assert said.startswith("valid: 1 of 2 utterances hold <unk>, for 'c' 3 times, 'd' 1 times, ")
        assert said.endswith(f"'n' 1 times{rest}") and "'o'" not in said


def test_the_json_says_of_each_split_what_it_was_made_of(tmp_path: Path) -> None:
    settings = LabelSettings("words", "letters", min_count=2, case="upper")
    labels(tmp_path, settings, train={"u": "aab", "w": "", "x": "Aa"}, valid={"v": "ab"}).write(
        tmp_path / "o"
    )
    about: dict[str, Any] = LABELS.read_about(tmp_path / "o")["letters"]
    assert about["normalization"] == {"case": "upper", "keep": "'"}
    assert about["settings"] == {"text": "words", "boundary": True, "min_count": 2}
    digests = {
        s: hashlib.sha256((tmp_path / f"{s}.tsv").read_bytes()).hexdigest() for s in ("train", "valid")
    }
    assert about["splits"] == {
        "train": {"manifest": digests["train"], "utterances": 2, "without_text": 1, "unknown": {"B": 1}},
        "valid": {"manifest": digests["valid"], "utterances": 1, "without_text": 0, "unknown": {"B": 1}},
    }
    held = read_labels(tmp_path / "o", "train", "letters")
    assert (held.utts, held.words) == (("u", "x"), ("AAB", "AA"))


def test_a_column_is_meant_where_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").write_text("a\tof the file\n")
    (split,) = labels(tmp_path, train={"a": "of the column"}).splits
    assert (split.texts, split.source) == (["of the column"], "words")


def test_texts_of_a_file_are_found_by_utterance(tmp_path: Path) -> None:
    paths = write(tmp_path, train={"a": "", "b": "", "c": ""})
    texts = tmp_path / "texts"
    texts.write_bytes("c\tthird\u2028line\r\n\nb\t\nx\tof nobody\na\tfirst\tone\n".encode())
    (made,) = make_labels(paths, tmp_path / "o", LabelSettings(str(texts), "letters")).splits
    assert (made.utts, made.texts, made.num_without_text) == (["a", "c"], ["first one", "third line"], 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a\tx\nb\ty\na\tz\n", r"texts:3: utterance 'a' is there a second time; take one away"),
        (b"a\tcaf\xe9\n", r"texts: is not UTF-8 \(invalid continuation byte at byte 5\); convert it"),
        (b"a\tx\n\nb y\n", r"texts:3: 'b y' has no tab; expected `utterance<TAB>text`"),
        (b"x\ty\n", r"train\.tsv: none of its 1 utterances has a text in '.*texts'"),
    ],
)
def test_texts_that_cannot_be_read_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "texts").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        labels(tmp_path, LabelSettings(str(tmp_path / "texts"), "letters"), train={"a": ""})


def test_two_splits_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    paths = write(tmp_path, train={"a": "x"}) + write(tmp_path / "far", train={"b": "y"})
    with pytest.raises(ValueError, match="two manifests have one name, which names their labels; rename one"):
        make_labels(paths, tmp_path / "o", WORDS)


def test_a_lexicon_s_words_are_normalized_as_the_texts_are(tmp_path: Path) -> None:
    (tmp_path / "lex").write_text("IT’S i t s\nHALL(2) h a l\nHALL h o l\nZ z\n", encoding="utf-8")
    settings = LabelSettings("words", "phones", lexicon=str(tmp_path / "lex"), boundary=False)
    made = labels(tmp_path, settings, train={"u": "It's HALL, it`s"})
    assert made.splits[0].labels == [["i", "t", "s", "h", "a", "l", "i", "t", "s"]]
    assert made.extra["lexicon.phn.txt"] == b"hall\th a l\nit's\ti t s\n"  # what the dictionary spells


def test_the_column_of_texts_is_known_by_its_name_and_a_table_needs_no_lengths(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("ID,wav,wrd\nu,a.wav,JA\nv,b.wav,NEIN\n")
    made = make_labels([str(table)], tmp_path / "o", LabelSettings(None, "letters"))
    assert made.splits[0].utts == ["u", "v"] and made.splits[0].texts == ["ja", "nein"]
    assert made._about()["settings"]["text"] == "wrd"
    table.write_text("ID,wav\nu,a.wav\n")
    with pytest.raises(
        ValueError, match=r"none of its columns \(ID, wav\) is known to hold text; say `--text COL"
    ):
        make_labels([str(table)], tmp_path / "o", LabelSettings(None, "letters"))


def test_a_share_is_of_training_alone_and_dictionary_and_lexicon_know_no_more(tmp_path: Path) -> None:
    settings = LabelSettings("words", "letters", label_fraction=2, label_seed=3)
    said = {f"u{i}": chr(97 + i) * 2 for i in range(10)}
    made = labels(tmp_path, settings, train=said, valid={"v": "ab", "w": "c"})
    train, valid = made.splits
    assert set(train.utts) == share_of(list(said), 2, 3) and valid.utts == ["v", "w"]
    assert {symbol for symbol, _ in made.counts} == {"|", *(said[utt][0] for utt in train.utts)}
    assert train.drawn.startswith("2 of 10 labelled utterances: ") and not valid.drawn
    assert made._about()["settings"]["label_fraction"] == 2


def test_lengths_and_speakers_are_those_of_the_utterances_that_have_a_text(tmp_path: Path) -> None:
    said = ["", "ab", "", "a", "b"]
    rows = [f"{i}.wav\t{16_000 * (i + 1)}\t16000\tu{i}\ts{i}\t{text}\n" for i, text in enumerate(said)]
    head = f"{tmp_path}\n# path\tsamples\trate\tutt\tspeaker\twords\n"
    (tmp_path / "train.tsv").write_text(head + "".join(rows))
    make_labels([str(tmp_path / "train.tsv")], tmp_path / "o", LabelSettings("words", "letters")).write(
        tmp_path / "o"
    )
    held = read_labels(tmp_path / "o", "train", "letters")
    assert held.utts == ("u1", "u3", "u4") and held.seconds == (2.0, 4.0, 5.0)
    assert held.speakers == ("s1", "s3", "s4")


def test_a_share_has_its_own_lengths_and_speakers(tmp_path: Path) -> None:
    """Of a table that knows both; of another split all are there."""
    for split in ("train", "valid"):
        rows = [f"{split}{i}.wav\t{16_000 * (i + 1)}\t16000\tu{i}\ts{i}\tab\n" for i in range(8)]
        head = f"{tmp_path}\n# path\tsamples\trate\tutt\tspeaker\twords\n"
        (tmp_path / f"{split}.tsv").write_text(head + "".join(rows))
    settings = LabelSettings("words", "letters", label_fraction=3)
    made = make_labels(
        [str(tmp_path / f"{split}.tsv") for split in ("train", "valid")], tmp_path / "o", settings
    )
    made.write(tmp_path / "o")
    for split, size in (("train", 3), ("valid", 8)):
        held = read_labels(tmp_path / "o", split, "letters")
        numbers = [int(utt[1:]) for utt in held.utts]
        assert len(numbers) == size and held.seconds == tuple(float(i + 1) for i in numbers)
        assert held.speakers == tuple(f"s{i}" for i in numbers)
    hours = LabelSettings("words", "letters", label_hours=0.001, label_seed=3)
    made = make_labels([str(tmp_path / "train.tsv")], tmp_path / "p", hours)
    assert sum(made.splits[0].seconds or ()) <= 3.6 or len(made.splits[0].utts) == 1
    chosen = made._about()["settings"]
    assert (chosen["label_fraction"], chosen["label_hours"], chosen["label_seed"]) == (1.0, 0.001, 3)
