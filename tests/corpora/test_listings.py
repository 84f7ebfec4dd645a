"""Listings: texts of manifests and tables by the ids that manifests have; no lengths needed."""

from pathlib import Path

import pytest
from source_files import Write, lines

from vqw2v_plugin.corpora.collect import collect
from vqw2v_plugin.corpora.listing import read_listing
from vqw2v_plugin.corpora.manifest import Manifest, ManifestError


def test_ids_of_a_table_are_those_of_the_manifest_that_is_made_of_it(tmp_path: Path, wav: object) -> None:
    for name in ("x/a.wav", "y/a.wav"):
        wav(name)  # type: ignore[operator]
    for head, rows in (
        ("ID,wav,wrd", ["u1,x/a.wav,ja", "u2,y/a.wav,nein"]),
        ("file_name,transcription", ["x/a.wav,ja", "y/a.wav,nein"]),
    ):
        table = tmp_path / "c" / "train.csv"
        table.write_text("\n".join([head, *rows]) + "\n")
        collect(table, tmp_path / "o")
        made, listing = Manifest(tmp_path / "o" / "train.tsv"), read_listing(table)
        held = {made[i].utt: made[i].extra["text"] for i in range(len(made))}
        valid = Manifest(tmp_path / "o" / "valid.tsv")
        held |= {valid[i].utt: valid[i].extra["text"] for i in range(len(valid))}
        if "ID" in head:
            assert dict(zip(listing.utts, listing.values["wrd"], strict=True)) == held
        else:
            assert listing.utts == ["x/a", "y/a"]


def test_lengths_are_not_needed(write: Write) -> None:
    assert read_listing(write("a.tsv", "path\ttext\nx/a.wav\tja\n")).utts == ["a"]
    assert read_listing(write("b.tsv", "/far\n# path\ttext\na.wav\tja\n")).values["text"] == ["ja"]
    assert read_listing(write("c.tsv", "utt\twords\nu\tja\n")).utts == ["u"]
    with pytest.raises(ManifestError, match="without samples"):
        Manifest(write("a.tsv", "path\ttext\nx/a.wav\tja\n"))


def test_a_row_that_cannot_be_read_refuses_the_table_by_its_line(write: Write) -> None:
    path = write("t.csv", "utt,text\nu,ja\nv\n")
    with pytest.raises(ManifestError, match=r"t\.csv:3: row has another number of fields"):
        read_listing(path)
    for utts in ("uu", ["", "u"]):
        with pytest.raises(ManifestError, match="are empty or there twice"):
            read_listing(write("t.csv", "utt,text\n{},ja\n{},nein\n".format(*utts)))


def test_speakers_and_lengths_are_told_where_the_file_has_them(write: Write, wav: object) -> None:
    wav("a.wav")  # type: ignore[operator]
    table = read_listing(write("t.csv", "utt,text,client_id\nu,ja,ann\nv,nein,bob\n"))
    assert table.speakers == ["ann", "bob"] and table.seconds is None
    head = f"{write('x').parent}\n# path\tsamples\tspeaker"
    rows = "a.wav\t8000\tann{}\na.wav\t4000\tbob{}\n"
    made = read_listing(write("m.tsv", f"{head}\n" + rows.format("", "")))
    assert made.speakers == ["ann", "bob"] and made.seconds == [0.5, 0.25]  # by the file's rate
    made = read_listing(write("n.tsv", f"{head}\trate\n" + rows.format("\t8000", "\t16000")))
    assert made.seconds == [1.0, 0.25]
    assert read_listing(write("o.tsv", "utt\twords\nu\tja\n")).speakers is None


def test_names_that_a_table_has_twice_are_those_of_its_files(write: Write) -> None:
    rows = "u,x/a.wav,ja\nu,x/b.wav,nein\n"
    assert read_listing(write("t.csv", f"ID,wav,wrd\n{rows}")).utts == ["a", "b"]
    one_empty = read_listing(write("t.csv", "ID,wav,wrd\n,x/a.wav,ja\nu,x/b.wav,nein\n"))
    assert one_empty.utts == ["a", "b"]
    same = read_listing(write("t.csv", "wav,wrd\nx/a.wav,ja\ny/b.wav,so\nx/a.wav,nein\n"))
    assert same.utts == ["x/a#0", "y/b#1", "x/a#2"] and same.columns == ("wav", "wrd")


def test_a_listing_is_known_by_its_bytes(write: Write) -> None:
    """By sha256sum."""
    table, mere = write("t.csv", "utt,text\nu,ja\n"), write("m.tsv", "path\ttext\nx/a.wav\tja\n")
    assert read_listing(table).digest == "f48ff95851fe3c58d41d8717f51cfd5f006a9df9c8fab9966f47c0fac88c0062"
    assert (
        read_listing(mere).digest
        == Manifest(mere, lengths=False).digest
        == "690b500166a189d197dccb33d911f737299b0e15a9eb10c8c0cb028ee1024d64"
    )


def test_lengths_in_samples_of_no_known_rate_are_none_in_seconds(write: Write) -> None:
    head = "/far\n# path\tsamples\tspeaker\n"
    assert read_listing(write("m.tsv", f"{head}a.wav\t8000\tann\n")).seconds is None
    assert read_listing(write("m.tsv", head)).seconds is None


def test_a_table_is_one_whatever_stands_between_its_values(write: Write) -> None:
    """Whose files are called `path` too; where a row of JSON lacks a value, it is empty."""
    for name, text in (
        ("t.csv", "path,text\nx/a.wav,ja\nx/b.wav,\n"),
        ("t.jsonl", lines({"path": "x/a.wav", "text": "ja"}, {"path": "x/b.wav"})),
    ):
        found = read_listing(write(name, text))
        assert (found.utts, found.values["text"]) == (["a", "b"], ["ja", ""])


def test_a_table_that_names_neither_files_nor_ids_is_no_listing(write: Write) -> None:
    with pytest.raises(ManifestError, match=r"t\.csv:1: .*|t\.csv:2: .*"):
        read_listing(write("t.csv", "mood,text\nglad,ja\n"))
