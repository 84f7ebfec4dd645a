"""The label folder: what is written is read, by fairseq too; what does not fit together is named."""

import json
import os
from pathlib import Path

import pytest

from vqw2v_plugin.stores.labels import (
    EXTENSIONS,
    LABELS,
    LabelError,
    Labels,
    dict_name,
    lexicon_name,
    read_joined_labels,
    read_labels,
    read_symbols,
    read_words,
    write_labels,
)
from vqw2v_plugin.text.units import KINDS

TRAIN = Labels(("u1", "u2"), (("h", "i", "|"), ("a", "|")), ("hi", "a"))
COUNTS = [("|", 2), ("a", 1), ("h", 1), ("i", 1)]


def write(out: Path, **splits: Labels) -> None:
    write_labels(out, "letters", splits, COUNTS, {"splits": {name: {} for name in splits}})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "o", train=TRAIN)
    assert read_labels(tmp_path / "o", "train", "letters") == TRAIN
    assert read_symbols(tmp_path / "o", "letters") == ("|", "a", "h", "i")
    names = {"train.utt", "train.ltr", "train.wrd", "dict.ltr.txt", "labels.json", ".lock"}
    assert set(os.listdir(tmp_path / "o")) == names


def test_an_editor_s_mark_at_the_head_of_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN)
    for name in ("train.utt", "train.ltr", "train.wrd", "dict.ltr.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert read_labels(tmp_path, "train", "letters") == TRAIN
    assert read_symbols(tmp_path, "letters") == ("|", "a", "h", "i")


def test_fairseq_reads_the_dictionary(tmp_path: Path) -> None:
    dictionary = pytest.importorskip("fairseq.data").Dictionary
    write(tmp_path, train=TRAIN)
    found = dictionary.load(str(tmp_path / "dict.ltr.txt"))
    assert found.symbols[found.nspecial :] == ["|", "a", "h", "i"]


def test_other_units_and_splits_share_the_folder_and_its_record(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN)
    write(tmp_path, valid=Labels(("v",), (("a",),), ("a",)))
    with pytest.raises(LabelError, match=r"dict.ltr.txt: is there and differs"):
        write_labels(tmp_path, "letters", {"test": TRAIN}, [("a", 1)], {})
    phones = {"train": Labels(("u1", "u2"), (("HH", "AY"), ("AH",)))}
    write_labels(tmp_path, "phones", phones, [("HH", 1)], {"splits": {"train": {}}})
    about = LABELS.read_about(tmp_path)
    assert set(about) == {"letters", "phones"} and set(about["letters"]["splits"]) == {"train", "valid"}
    assert read_labels(tmp_path, "train", "phones").labels == (("HH", "AY"), ("AH",))


def test_a_split_made_again_is_recorded_anew(tmp_path: Path) -> None:
    for utterances in (2, 3):
        record = {"splits": {"train": {"utterances": utterances}}, f"of {utterances}": True}
        write_labels(tmp_path, "letters", {"train": TRAIN}, COUNTS, record)
    assert LABELS.read_about(tmp_path)["letters"] == record  # and nothing of the earlier one


@pytest.mark.parametrize("held", [[1], {"splits": 3}])
def test_a_record_of_another_shape_is_named_and_stays(tmp_path: Path, held: object) -> None:
    (tmp_path / "labels.json").write_text(before := json.dumps({"letters": held}))
    with pytest.raises(
        LabelError, match=r"labels\.json: its `letters` are .*; expected an object with splits"
    ):
        write(tmp_path, train=TRAIN)
    assert (tmp_path / "labels.json").read_text() == before and not (tmp_path / "train.utt").exists()


def test_an_utterance_without_labels_keeps_its_line(tmp_path: Path) -> None:
    empty = Labels(("u1", "u2"), ((), ("a",)), ("", "a"))
    write(tmp_path, train=empty)
    assert read_labels(tmp_path, "train", "letters") == empty


def test_a_failed_run_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, train=TRAIN)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_bytes = Path.write_bytes

    def disk_is_full(path: Path, data: bytes) -> int:
        if path.name == "train.ltr":
            raise OSError(28, "No space left on device", str(path))
        return write_bytes(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", disk_is_full)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path, train=Labels(("u",), (("h", "i"),), ("x",)))
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path, train=Labels(("u",), (("\ud800",),), ("x",)))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    (tmp_path / ".labels.part").mkdir()
    (tmp_path / ".labels.part" / "train.ltr").write_text("half")
    write(tmp_path, train=TRAIN)
    assert not (tmp_path / ".labels.part").exists() and read_labels(tmp_path, "train", "letters") == TRAIN
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(LabelError, match="holds a list"):
        write(tmp_path, train=TRAIN)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    write(tmp_path, train=TRAIN)
    for name in ("ltr", "wrd"):
        whole = (tmp_path / f"train.{name}").read_text()
        for lines in (1, 3):
            (tmp_path / f"train.{name}").write_text("a |\n" * lines)
            with pytest.raises(LabelError, match=rf"train.{name}: has {lines} lines, train.utt 2"):
                read_labels(tmp_path, "train", "letters")
        (tmp_path / f"train.{name}").write_text(whole)
    with pytest.raises(LabelError, match=r"train.phn: no such file or directory; `vqw2v labels` writes it"):
        read_labels(tmp_path, "train", "phones")
    with pytest.raises(LabelError, match=r"dict.pcs.txt: is missing"):
        read_symbols(tmp_path, "pieces")
    with pytest.raises(LabelError, match="of different numbers"):
        Labels(("u",), ())
    (tmp_path / "dict.ltr.txt").write_text("a\n")
    with pytest.raises(LabelError, match="expected 'symbol count'"):
        read_symbols(tmp_path, "letters")
    (tmp_path / "dict.ltr.txt").write_text("")
    with pytest.raises(LabelError, match=r"dict\.ltr\.txt: is empty"):
        read_symbols(tmp_path, "letters")
    with pytest.raises(ValueError, match="is a file"):
        write(tmp_path / "train.wrd", train=TRAIN)


def test_lengths_and_speakers_of_a_manifest_that_is_no_more_go_with_it(tmp_path: Path) -> None:
    told = Labels(TRAIN.utts, TRAIN.labels, TRAIN.words, (0.0, 2.125), ("ann", "bob"))
    write(tmp_path, train=told, valid=told)
    assert read_labels(tmp_path, "train", "letters") == told
    write(tmp_path, train=TRAIN)
    assert read_labels(tmp_path, "train", "letters") == TRAIN
    assert read_labels(tmp_path, "valid", "letters") == told  # which nobody made anew


def test_every_kind_of_unit_has_a_file() -> None:
    assert (*EXTENSIONS,) == KINDS


def test_several_splits_are_read_one_behind_the_other(tmp_path: Path) -> None:
    told = Labels(("v",), (("a",),), ("a",), (0.5,), ("ann",))
    other = Labels(("w",), (("h", "|"),), ("h",), (1.5,), ("bob",))
    write(tmp_path, train=TRAIN, valid=told, test=other)
    assert read_joined_labels(tmp_path, "valid", "letters") == told
    assert read_joined_labels(tmp_path, "test,valid", "letters") == Labels(
        ("w", "v"), (("h", "|"), ("a",)), ("h", "a"), (1.5, 0.5), ("bob", "ann")
    )
    joined = read_joined_labels(tmp_path, "train,valid", "letters")  # the first of which has no lengths
    assert joined == Labels(("u1", "u2", "v"), (*TRAIN.labels, ("a",)), ("hi", "a", "a"))
    joined = read_joined_labels(tmp_path, "valid,train", "letters")  # the second
    assert joined == Labels(("v", "u1", "u2"), (("a",), *TRAIN.labels), ("a", "hi", "a"))


def test_every_line_of_classes_has_one(tmp_path: Path) -> None:
    for line in ("", "Ulm Bonn"):
        (tmp_path / "train.utt").write_text("u1\nu2\n")
        (tmp_path / "train.cls").write_text(f"Ulm\n{line}\n")
        with pytest.raises(LabelError, match=rf"train\.cls:2: '{line}', expected one class in every line"):
            read_labels(tmp_path, "train", "class")


@pytest.mark.parametrize("name", ["seconds", "spk"])
def test_lengths_and_speakers_are_one_an_utterance(tmp_path: Path, name: str) -> None:
    write(tmp_path, train=Labels(TRAIN.utts, TRAIN.labels, TRAIN.words, (1.0, 2.0), ("ann", "bob")))
    (tmp_path / f"train.{name}").write_text("1\n")
    with pytest.raises(LabelError, match=rf"train\.{name}: has 1 lines, train\.utt 2; expected one"):
        read_labels(tmp_path, "train", "letters")


@pytest.mark.parametrize("length", ["-0.1", "inf", "x", ""])
def test_lengths_are_seconds(tmp_path: Path, length: str) -> None:
    write(tmp_path, train=Labels(TRAIN.utts, TRAIN.labels, TRAIN.words, (0.0, 2.0)))
    (tmp_path / "train.seconds").write_text(f"1.5\n{length}\n")
    says = r"train\.seconds: holds .*, expected seconds in every line"
    with pytest.raises(LabelError, match=says):
        read_labels(tmp_path, "train", "letters")
    with pytest.raises(LabelError, match=says):
        read_words(tmp_path / "train.wrd")


def test_the_record_of_labels_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed before has not made what it says."""
    named: list[str] = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda part, path: (named.append(Path(path).name), replace(part, path))
    )
    write(tmp_path, train=TRAIN)
    assert named[-1] == "labels.json" and {"train.utt", "train.ltr", "dict.ltr.txt"} <= set(named)


def test_files_are_named_for_what_is_in_them() -> None:
    names = {"letters": "ltr", "phones": "phn", "pieces": "pcs", "words": "word", "class": "cls"}
    for kind, ending in names.items():
        assert (dict_name(kind), lexicon_name(kind)) == (f"dict.{ending}.txt", f"lexicon.{ending}.txt")


def test_names_that_are_no_utf_8_come_back_as_they_were(tmp_path: Path) -> None:
    """As a disk may list them."""
    odd = Labels(("u\udcff", "v"), (("a",), ("h",)), ("a", "h"), speakers=("\udce9", "bob"))
    write(tmp_path, train=odd)
    assert (tmp_path / "train.utt").read_bytes() == b"u\xff\nv\n"
    assert (
        read_labels(tmp_path, "train", "letters") == odd == read_joined_labels(tmp_path, "train", "letters")
    )
    assert read_words(tmp_path / "train.wrd").utts == odd.utts
