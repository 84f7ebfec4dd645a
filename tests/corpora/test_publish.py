"""Publishing: what was written reads back, and a write that fails leaves the old files."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqw2v_plugin.corpora import publish as publish_module
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.publish import check_own, publish
from vqw2v_plugin.corpora.rows import Row
from vqw2v_plugin.corpora.sources import Entry, Refusal, SourceError
from vqw2v_plugin.corpora.sources.entry import Timed

text = st.text(st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), max_size=12)


seconds = st.floats(0, 1000)
label = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=4)
times = st.lists(st.builds(Timed, seconds, seconds, label), max_size=3).map(tuple)
entry = st.builds(
    Entry,
    path=text.filter(bool),
    unit=text,
    utt=st.uuids().map(str),
    speaker=text,
    lang=text,
    subset=text,
    text=text,
    phones=times,
    words=times,
)


rows = st.lists(
    st.builds(Row, entry, st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 400_000)), max_size=6
)


@settings(deadline=None, max_examples=60)
@given(rows, rows, st.lists(st.tuples(st.text(), st.text())))
def test_what_is_published_reads_back(
    tmp_path_factory: pytest.TempPathFactory, train: list[Row], valid: list[Row], bad: list[tuple[str, str]]
) -> None:
    out = tmp_path_factory.mktemp("o")
    publish(out, "/root", {"train": train, "valid": valid}, [Refusal(*pair) for pair in bad])
    for split, wanted in (("train", train), ("valid", valid)):
        found = Manifest(out / f"{split}.tsv")
        assert [(u.path, u.start, u.samples, u.rate) for u in found] == [
            (os.path.join("/root", row.entry.path), row.start, row.samples, row.rate) for row in wanted
        ]
        for column in set(found.columns) & {"utt", "speaker", "lang", "subset", "text"}:
            assert found.column(column) == [getattr(row.entry, column) for row in wanted]
        for column in ("phones", "words"):
            spoken = [
                (row.entry.utt, tuple(each.label for each in getattr(row.entry, column))) for row in wanted
            ]
            assert (column in found.columns) == any(getattr(row.entry, column) for row in train + valid)
            if column in found.columns:
                assert found.column(column) == [" ".join(labels) for _, labels in spoken]
                lines = (out / f"{split}.{column}.ctm").read_text().splitlines()
                heard = [(line.split()[0], line.split()[4]) for line in lines]
                assert heard == [(utt, label) for utt, labels in spoken for label in labels]
    assert len((out / "refused.tsv").read_bytes().split(b"\n")) == len(bad) + 2
    tsvs = [name for name in sorted(os.listdir(out)) if not name.endswith(".ctm")]
    assert tsvs == ["refused.tsv", "train.tsv", "valid.tsv"]


def test_names_that_are_not_utf8_are_written_byte_by_byte(tmp_path: Path) -> None:
    stray = os.fsdecode(b"m\xfcller")
    timed = (Timed(0.0, 0.5, stray),)
    entry = Entry(f"{stray}.wav", stray, utt=stray, speaker=stray, text=stray, phones=timed, words=timed)
    publish(tmp_path, "/root", {"train": [Row(entry, 0, 100, 8000)]}, [Refusal(stray, f"is {stray}")])
    assert (tmp_path / "train.phones.ctm").read_bytes() == b"m\xfcller 1 0.00000 0.50000 m\xfcller\n"
    assert (tmp_path / "train.words.ctm").read_bytes() == (tmp_path / "train.phones.ctm").read_bytes()
    assert (tmp_path / "refused.tsv").read_bytes() == b"path\treason\nm\xfcller\tis m\xfcller\n"
    row = b"m\xfcller.wav\t100\t8000" + 5 * b"\tm\xfcller"  # utterance, speaker, text, words, phones
    assert (tmp_path / "train.tsv").read_bytes().splitlines()[-1] == row


def test_what_was_refused_is_named_before_any_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which a later run knows that the manifests are its own, whenever this one is killed."""
    named: list[Path] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda part, path: (named.append(path), replace(part, path)))
    publish(tmp_path, "/root", {"train": [], "dev": []}, [])
    own = [path.name for path in named if path.parent == tmp_path]
    assert own == ["refused.tsv", "dev.tsv", "train.tsv"]


def test_rows_may_begin_at_any_sample(tmp_path: Path) -> None:
    for start in (0, 1, 2):
        publish(tmp_path, "/root", {"train": [Row(Entry("x.wav", "x"), start, 100, 8000)]}, [])
        found = Manifest(tmp_path / "train.tsv")
        assert found[0].start == start and ("start" in found.columns) == (start > 0)


def test_what_is_refused_can_be_told_apart_on_its_line(tmp_path: Path) -> None:
    publish(tmp_path, "/root", None, [Refusal("a\tb\\tc", "d\ne\rf")])
    assert (tmp_path / "refused.tsv").read_text().split("\n")[1] == r"a\tb\\tc" + "\t" + r"d\ne\rf"


def test_a_failed_write_leaves_all_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(Entry("x.wav", "x"), 0, 100, 8000)
    publish(tmp_path, "/root", {"train": [row], "valid": []}, [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, *_: object) -> None:
        if path.name == "valid.tsv":
            raise OSError(28, "No space left on device", str(path))
        path.write_text("new")

    monkeypatch.setattr(publish_module, "write_manifest", full)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path, "/root", {"train": [row], "valid": [row]}, [Refusal("a", "b")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_refused_stands_in_the_order_of_its_paths(tmp_path: Path) -> None:
    publish(tmp_path, "/root", None, [Refusal(path, why) for path, why in ("bx", "ay", "cx", "ax")])
    lines = (tmp_path / "refused.tsv").read_text().splitlines()
    assert lines == ["path\treason", "a\tx", "a\ty", "b\tx", "c\tx"]
    assert os.listdir(tmp_path) == ["refused.tsv"]


@pytest.mark.parametrize("name", ["train.tsv", "valid.tsv", "test.tsv"])
def test_manifests_of_somebody_else_stay_as_they_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").touch()
    check_own(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(SourceError, match=rf"{name} is there and was not written by this command"):
        check_own(tmp_path)
    (tmp_path / "refused.tsv").touch()
    check_own(tmp_path)


def test_half_a_character_in_what_is_refused_is_a_question_mark(tmp_path: Path) -> None:
    """But bytes that are not UTF-8 stay as they are."""
    publish(tmp_path, "/root", None, [Refusal("a\ud800\udc7f\udd00\udfffb\udc80\udcff", "ä")])
    assert (tmp_path / "refused.tsv").read_bytes().split(b"\n")[1] == b"a????b\x80\xff\t\xc3\xa4"
