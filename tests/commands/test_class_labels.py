"""`vqw2v labels --unit class`: one class an utterance, of a column or a file, whatever is said in it."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.stores.labels import CLASS, LabelError, read_labels, read_symbols

TRAIN = [("u1", "New  York", "02"), ("u2", "Ulm", "01"), ("u3", "Ulm", "02"), ("u4", "", "01")]
VALID = [("v1", "Ulm", "02"), ("v2", "Bonn", "03")]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write(tmp_path / "train.tsv", TRAIN)
    write(tmp_path / "valid.tsv", VALID)
    return tmp_path


def write(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    lines = [f"{utt}.wav\t16000\t{utt}\t{town}\t{speaker}\n" for utt, town, speaker in rows]
    path.write_text(f"{path.parent}\n# path\tsamples\tutt\ttown\tspeaker\n" + "".join(lines))


def labels(corpus: Path, *arguments: object) -> int:
    manifests = [str(corpus / f"{split}.tsv") for split in ("train", "valid")]
    return cli.main(["labels", *manifests, str(corpus / "o"), "--unit", "class", *map(str, arguments)])


def test_a_column_gives_each_utterance_one_class(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert labels(corpus, "--column", "town") == 0
    train, valid = (read_labels(corpus / "o", split, CLASS) for split in ("train", "valid"))
    assert train.utts == ("u1", "u2", "u3") and train.labels == (("New_York",), ("Ulm",), ("Ulm",))
    assert valid.labels == (("Ulm",), ("Bonn",))  # a class that training lacks is said, not hidden
    assert read_symbols(corpus / "o", CLASS) == ("New_York", "Ulm") and train.speakers == ("02", "01", "02")
    assert {path.name for path in (corpus / "o").iterdir() if path.suffix == ".txt"} == {"dict.cls.txt"}
    shown = capsys.readouterr()
    assert "2 classes in dict.cls.txt (made from train)" in shown.out
    assert "  train: 3 utterances, Ulm 2, New_York 1\n" in shown.out
    assert "train: 1 utterances have no text and are left out" in shown.err
    assert "valid: 1 of 2 utterances are of classes that the dictionary lacks: 'Bonn' 1 times" in shown.err


def test_a_file_gives_classes_too_and_a_given_dictionary_is_kept(corpus: Path) -> None:
    (corpus / "mood").write_text("u1\tglad\nu2\tsad\nv1\tsad\n")
    (corpus / "dict").write_text("sad 1\nglad 1\nangry 0\n")
    assert labels(corpus, "--column", corpus / "mood", "--dict", corpus / "dict") == 0
    assert read_labels(corpus / "o", "valid", CLASS).labels == (("sad",),)
    assert (corpus / "o" / "dict.cls.txt").read_text() == "sad 1\nglad 1\nangry 0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`--unit class` takes `--column COLUMN`"),
        (["--text", "town"], "`--unit class` takes `--column COLUMN`"),
        (["--column", "town", "--min-count", 2], "`--min-count` is for what is said"),
        (["--column", "town", "--case", "upper"], "`--case` is for what is said"),
        (["--column", "town", "--keep", "-", "--as-is"], "`--keep` is for .*; `--as-is` is for what is said"),
        (["--column", "town", "--no-boundary"], "`--no-boundary` is for what is said"),
        (["--column", "mood"], "`--column` is 'mood', no column of .*expected the column of the classes"),
        (["--column", "town", "--fold", "39"], "`--fold` belongs to `--unit phones`, not to class"),
        (["--column", "town", "--strict"], "`--strict`, and there are warnings"),
    ],
)
def test_what_is_no_class_is_explained(
    arguments: list[object], message: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert labels(corpus, *arguments) != 0
    assert re.search(message, capsys.readouterr().err)
    assert not (corpus / "o").exists()


@pytest.mark.parametrize(
    ("town", "message"),
    [("New_York", "'New  York' and 'New_York' are both 'New_York'"), ("<unk>", "a name of fairseq's own")],
)
def test_names_that_cannot_be_told_apart_are_refused(
    town: str, message: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(corpus / "train.tsv", [*TRAIN, ("u5", town, "01")])
    assert labels(corpus, "--column", "town") != 0
    assert message.replace("  ", " ") in capsys.readouterr().err.replace("  ", " ")


def test_two_classes_in_a_line_are_refused(corpus: Path) -> None:
    labels(corpus, "--column", "town")
    (corpus / "o" / "train.cls").write_text("Ulm\nUlm Bonn\nUlm\n")
    with pytest.raises(LabelError, match=r"train\.cls:2: 'Ulm Bonn', expected one class in every line"):
        read_labels(corpus / "o", "train", CLASS)
