"""Several corpora in one call: one root, ids of their own; what was seen and not used is said."""

from pathlib import Path

import pytest
from source_files import Write

from vqw2v_plugin.corpora.gather import Sources, gather
from vqw2v_plugin.corpora.sources import SourceError

HEAD = "ID,wav,wrd\n"


def test_corpora_of_several_kinds_get_one_root_and_clashing_ids_their_folder(
    tmp_path: Path, write: Write
) -> None:
    write("one/train.csv", HEAD + "u,a.wav,x\n")
    write("two/wav.scp", "u /far/b.wav\n")
    write("three/c.wav")
    root = tmp_path / "c"
    found = gather([str(root / name) for name in ("one", "two", "three")], Sources())
    assert found.root == str(root) and found.kind == "table and kaldi and plain"
    assert [(e.path, e.utt) for e in found.entries] == [
        ("/far/b.wav", "two-u"),
        ("one/a.wav", "one-u"),
        ("three/c.wav", ""),
    ]
    assert any(note.startswith("ids are there in several corpora (u)") for note in found.notes)


def test_ids_of_a_table_at_the_root_have_a_name_in_front_too(tmp_path: Path, write: Write) -> None:
    table = write("t.csv", HEAD + "u,a.wav,x\nv,a.wav,y\n")
    write("in/er/wav.scp", "u b.wav\n")
    found = gather([str(table), str(tmp_path / "c" / "in" / "er")], Sources())
    assert {e.utt for e in found.entries} == {"all-u", "all-v", "in-er-u"}


def test_tables_of_one_folder_are_one_corpus(tmp_path: Path, write: Write) -> None:
    paths = [str(write(f"{split}.csv", HEAD + f"{split},a.wav,x\n")) for split in ("train", "dev", "test")]
    found = gather(paths, Sources())
    assert (found.root, found.kind) == (str(tmp_path / "c"), "table")
    assert [(e.utt, e.split) for e in found.entries] == [
        ("dev", "valid"),
        ("test", "test"),
        ("train", "train"),
    ]


def test_folders_within_each_other_are_refused(tmp_path: Path, write: Write) -> None:
    write("in/a.wav")
    outer, inner = str(tmp_path / "c"), str(tmp_path / "c" / "in")
    for paths in ([outer, inner], [inner, outer], [inner, inner]):
        with pytest.raises(SourceError, match="hold the same files; name each folder once"):
            gather(paths, Sources())


def test_folders_named_for_splits_are_told_and_kept_apart_where_asked(tmp_path: Path, write: Write) -> None:
    for name in ("train/a.wav", "dev/b.wav", "test/c.wav"):
        write(name)
    root = [str(tmp_path / "c")]
    found = gather(root, Sources())
    assert {e.split for e in found.entries} == {""}
    assert found.notes == [
        "folders named for splits (dev, test, train) were divided like all others: `--split-from 1` keeps "
        "them apart"
    ]
    found = gather(root, Sources(split_from="1"))
    assert [e.split for e in found.entries] == ["valid", "test", "train"] and not found.notes
    assert len(gather(root, Sources(split_from="(train)")).refused) == 2
    found = gather(root, Sources(split_from="1", speaker_from="2"))
    assert [(e.split, e.speaker) for e in found.entries] == [("valid", "b"), ("test", "c"), ("train", "a")]


def test_tables_and_files_that_were_not_used_are_told(tmp_path: Path, write: Write) -> None:
    write("a.wav"), write("b.wav")
    write("a.TextGrid")
    write("train.csv", HEAD + "u,a.wav,x\n")
    write("all.csv", HEAD + "u,a.wav,x\n")
    root = [str(tmp_path / "c")]
    notes = gather(root, Sources()).notes
    assert notes[0] == "train.csv: path from wav, utt from ID, text from wrd"
    assert "1 audio files are in no table and not used: b.wav" in notes
    assert "not used though a table of audio: all.csv; name it alone to have it" in notes
    assert any(note.startswith("1 TextGrids were not used: `--times ") for note in notes)
    write("train.csv", 'ID,wav,word_times\nu,a.wav,"[[0, 1, ""x""]]"\n')  # which has times of its own
    assert not any("TextGrids" in note for note in gather(root, Sources()).notes)
    notes = gather(root, Sources(kind="plain")).notes
    assert "not used though a table of audio: all.csv, train.csv; name it alone to have it" in notes


def test_a_table_s_files_may_lie_elsewhere_and_its_columns_have_other_names(
    tmp_path: Path, write: Write
) -> None:
    write("far/x/a.wav")
    table = str(write("t.csv", "file,said\na,hello\n"))
    asked = Sources(audio=str(tmp_path / "c" / "far"), columns={"text": "said"})
    ((entry,), notes) = (found := gather([table], asked)).entries, found.notes
    assert (entry.path, entry.text) == ("far/x/a.wav", "hello")
    assert notes == ["t.csv: path from file, text from said"]
    assert "no column of text is known" in gather([table], Sources()).notes[0]
    with pytest.raises(SourceError, match="is for tables with a header, and there is none here"):
        gather([str(tmp_path / "c" / "far")], asked)


def test_folders_named_for_splits_may_lie_one_deeper(tmp_path: Path, write: Write) -> None:
    for name in ("en/train/a.wav", "de/test/b.wav", "de/c.wav"):
        write(name)
    (note,) = gather([str(tmp_path / "c")], Sources()).notes
    assert note.startswith("folders named for splits (test, train) were divided") and "from 2`" in note
    found = gather([str(tmp_path / "c")], Sources(split_from="2"))
    assert [(e.path, e.split) for e in found.entries] == [
        ("de/test/b.wav", "test"),
        ("en/train/a.wav", "train"),
    ]
    assert [refusal.path for refusal in found.refused] == ["de/c.wav"]


def test_what_is_for_tables_is_refused_elsewhere(tmp_path: Path, write: Write) -> None:
    write("x/a.wav"), write("empty/t.txt")
    root = str(tmp_path / "c" / "x")
    with pytest.raises(SourceError, match=r"`--column` is for tables with a header, .*\(plain\)"):
        gather([root], Sources(columns={"text": "said"}))
    with pytest.raises(SourceError, match=r"`--audio` is .*empty, which holds no audio; name the folder"):
        gather([root], Sources(audio=str(tmp_path / "c" / "empty")))
    table = str(write("t/t.csv", "path,said\na.wav,yes\n"))  # beside the other, of which the column is none
    found = gather([root, table], Sources(columns={"text": "said"}, audio=root)).entries
    assert ("yes", "x/a.wav") in [(entry.text, entry.path) for entry in found]


def test_an_id_that_two_tables_of_one_folder_have_stays_as_it_is(tmp_path: Path, write: Write) -> None:
    paths = [str(write(f"{split}.csv", HEAD + f"u,{split}.wav,x\n")) for split in ("train", "dev")]
    found = gather(paths, Sources())
    assert [(e.utt, e.path) for e in found.entries] == [("u", "dev.wav"), ("u", "train.wav")]
    assert not [note for note in found.notes if "several corpora" in note]


def test_pieces_of_a_file_are_in_order_of_time_whatever_their_ids(tmp_path: Path, write: Write) -> None:
    rows = ("c,a.wav,x,10,11", "b,a.wav,x,2,3", "a,a.wav,x,2.5,4")
    table = write("train.csv", "\n".join(("ID,wav,wrd,begin,end_time", *rows, "")))
    assert [(e.utt, e.begin) for e in gather([str(table)], Sources()).entries] == [
        ("b", 2.0),
        ("a", 2.5),
        ("c", 10.0),
    ]


def test_times_from_textgrids_are_looked_at_as_others_are(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    write("b.wav")
    for name, label in (("a", "well"), ("b", "oh well")):
        tier = f'"IntervalTier"\n"words"\n0\n1\n1\n0\n1\n"{label}"\n'
        path = tmp_path / "t" / f"{name}.TextGrid"
        path.parent.mkdir(exist_ok=True)
        path.write_text('"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n' + tier)
    found = gather([str(tmp_path / "c")], Sources(times=str(tmp_path / "t")))
    assert [(e.utt, len(e.words)) for e in found.entries] == [("a", 1)]
    assert [(r.path, r.group) for r in found.refused] == [("b.wav", "has white space among its words")]


def test_suffixes_are_of_folders_that_are_walked(tmp_path: Path, write: Write) -> None:
    write("k/wav.scp", "u /far/a.wav\n")
    write("p/a.wav"), write("p/b.flac")
    with pytest.raises(SourceError, match="`--ext` chooses files of a folder; kaldi lists its files itself"):
        gather([str(tmp_path / "c" / name) for name in ("p", "k")], Sources(suffixes=("flac",)))
    found = gather([str(tmp_path / "c" / "p")], Sources(suffixes=("flac",)))
    assert [entry.path for entry in found.entries] == ["b.flac"]


def test_what_is_found_is_told_while_folders_are_walked(tmp_path: Path, write: Write) -> None:
    for name in ("one/a.wav", "one/b.wav", "two/c.wav"):
        write(name)
    told: list[int] = []
    gather([str(tmp_path / "c" / name) for name in ("one", "two")], Sources(), told.append)
    assert sum(told) == 3


def test_a_file_is_no_folder_of_a_split_and_the_outer_of_two_folders_counts(
    tmp_path: Path, write: Write
) -> None:
    write("one/test.wav"), write("one/x/dev.wav")
    assert gather([str(tmp_path / "c" / "one")], Sources()).notes == []
    write("two/train/test/a.wav")
    (note,) = gather([str(tmp_path / "c" / "two")], Sources()).notes
    assert "(train)" in note and "`--split-from 1`" in note


def test_phones_alone_are_times_too(tmp_path: Path, write: Write) -> None:
    """By which an utterance needs an id, and no TextGrid is missed."""
    write("a.wav"), write("a.TextGrid")
    write("t.csv", 'wav,phone_times\na.wav,"[[0, 1, ""x""]]"\n')
    found = gather([str(tmp_path / "c")], Sources())
    assert [(entry.utt, len(entry.phones)) for entry in found.entries] == [("a", 1)]
    assert not any("TextGrids" in note for note in found.notes)


def test_textgrids_that_were_asked_for_are_not_called_unused(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    tier = '"IntervalTier"\n"words"\n0\n1\n1\n0\n1\n"well"\n'
    write("a.textGRID", f'"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n{tier}')
    root = str(tmp_path / "c")
    found = gather([root], Sources(times=root))
    assert found.entries[0].words == ((0.0, 1.0, "well"),) and found.notes == []
    assert gather([root], Sources()).notes == [
        f"1 TextGrids were not used: `--times {root}` takes times of words and phones"
    ]
