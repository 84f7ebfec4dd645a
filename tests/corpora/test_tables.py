"""Tables with a header: their columns are known by many names, their splits kept, their files found."""

import os
from pathlib import Path

import pytest
from source_files import Write, lines, read

from vqw2v_plugin.corpora.sources import KINDS, Entry, find_kind, open_folder, table
from vqw2v_plugin.corpora.sources.columns import match, text_column
from vqw2v_plugin.corpora.sources.entry import SourceError, table_lines


def told(entries: list[Entry]) -> list[tuple[str, str, str, str, str]]:
    return [(e.path, e.utt, e.speaker, e.text, e.split) for e in entries]


def test_speechbrain_s_csv_with_its_folder_s_name_and_its_own_splits(tmp_path: Path, write: Write) -> None:
    write("wavs/a.wav")
    head = "ID,duration,wav,spk_id,wrd\n"
    write("train.csv", head + 'u1,1.5,$data_folder/wavs/a.wav,ann,"YES, ""NO"""\n')
    write("dev.csv", head + "u2,1.5,{data_root}/wavs/b.wav,bob,NO\n")
    write("all.csv", head + "u1,1.5,wavs/a.wav,ann,YES\n")
    entries, refused = read(tmp_path / "c", "table")
    assert told(entries) == [
        ("wavs/b.wav", "u2", "bob", "NO", "valid"),
        ("wavs/a.wav", "u1", "ann", 'YES, "NO"', "train"),
    ]
    assert all(entry.end is None for entry in entries) and not refused


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("place", ["", "data/"])
def test_hugging_face_s_metadata_and_its_folders_of_splits(
    tmp_path: Path, write: Write, name: str, place: str
) -> None:
    rows = [("train/x.wav", "one"), ("test/y.wav", "two"), ("validation/z.wav", "three")]
    for path, _ in rows:
        write(place + path)
    if name.endswith("csv"):
        text = "file_name,transcription\n" + "".join(f"{path},{said}\n" for path, said in rows)
    else:
        text = lines(*({"file_name": path, "transcription": said} for path, said in rows))
    write(place + name, text)
    entries, refused = read(tmp_path / "c", "table")
    assert [(e.path, e.text, e.split) for e in entries] == [
        (f"{place}train/x.wav", "one", "train"),
        (f"{place}test/y.wav", "two", "test"),
        (f"{place}validation/z.wav", "three", "valid"),
    ]
    assert not refused


def test_metadata_in_each_split_s_folder(tmp_path: Path, write: Write) -> None:
    for split in ("train", "test"):
        write(f"{split}/a.wav")
        write(f"{split}/metadata.csv", f"file_name,text\na.wav,{split} said\n")
    entries, _ = read(tmp_path / "c", "table")
    assert [(e.path, e.text, e.split) for e in entries] == [
        ("test/a.wav", "test said", "test"),
        ("train/a.wav", "train said", "train"),
    ]


def test_a_table_s_split_is_the_innermost_that_its_path_names(tmp_path: Path, write: Write) -> None:
    for name in ("train/test/metadata.csv", "train/test/dev.csv", "train/x/metadata.csv"):
        write(f"{name}.wav")
        write(name, f"file_name,text\n{Path(name).name}.wav,{name}\n")
    entries, refused = read(tmp_path / "c", "table")
    assert not refused and {e.text: e.split for e in entries} == {
        "train/test/metadata.csv": "test",
        "train/test/dev.csv": "valid",
        "train/x/metadata.csv": "train",
    }


def test_columns_that_are_not_used_and_splits_by_another_name_are_said(tmp_path: Path, write: Write) -> None:
    write("train/metadata.csv", "file_name,transcription,duration,mood\na.wav,yes,1.5,glad\n")
    write("validation/metadata.csv", "file_name,start,duration,transcription\nb.wav,0.5,1.5,no\n")
    write("train/a.wav", "x")
    write("validation/b.wav", "x")
    assert table.about(open_folder(str(tmp_path / "c"))) == [
        "train/metadata.csv: path from file_name, text from transcription; not used: duration, mood",
        "validation/metadata.csv: path from file_name, text from transcription; its split is valid",
    ]


@pytest.mark.parametrize("name", ["$data_root", "$data_folder", "{data_root}"])
def test_speechbrain_s_folder_is_the_table_s_own(name: str, tmp_path: Path, write: Write) -> None:
    write("train.csv", f"ID,wav,wrd\nu1,{name}/wavs/a.wav,YES\n")
    for folder in ("wavs", "other"):  # two of the name, so that only the whole path tells them apart
        write(f"{folder}/a.wav", "x")
    (entry,), _ = read(tmp_path / "c", "table")
    assert entry.path == "wavs/a.wav"


def test_files_are_found_by_their_names_wherever_they_lie(tmp_path: Path, write: Write) -> None:
    for name in ("deep/er/one.wav", "a/two.flac", "b/two.flac"):
        write(name)
    write("texts.csv", "id;sentence\none;uno\ntwo;due\n")
    entries, _ = read(tmp_path / "c", "table")
    assert [(e.path, e.text) for e in entries] == [("deep/er/one.wav", "uno"), ("two", "due")]


def test_ids_that_are_there_twice_are_no_ids(tmp_path: Path, write: Write) -> None:
    write("a.wav"), write("b.wav")
    write("t.csv", "id,path,text\n7,a.wav,x\n7,b.wav,x\n")
    assert [e.utt for e in read(tmp_path / "c", "table")[0]] == ["", ""]
    write("t.csv", "id,path,text\n7,a.wav,x\n,b.wav,y\n")  # nor where some are missing
    assert [e.utt for e in read(tmp_path / "c", "table")[0]] == ["", ""]


def test_rows_that_cannot_be_read_are_refused_by_their_lines(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    write("t.csv", 'path,text,start\na.wav,x,\na.wav,y\n,z,\na.wav,"q" r,\na.wav,w,soon\n')
    entries, refused = read(tmp_path / "c", "table")
    assert [e.text for e in entries] == ["x"]
    assert {r.path: r.group for r in refused} == {
        "t.csv:3": "row has another number of fields than the table's header",
        "t.csv:4": "names no audio file",
        "t.csv:5": "is no row of values",
        "t.csv:6": "has a value that cannot be read",
    }


def test_a_quotation_that_is_never_closed_costs_its_row_and_says_how_far_it_went(
    tmp_path: Path, write: Write
) -> None:
    write("a.wav")
    write("t.csv", 'path,text\na.wav,x\na.wav,"y\na.wav,z\n')
    entries, (refusal,) = read(tmp_path / "c", "table")
    assert [e.text for e in entries] == ["x"] and refusal.path == "t.csv:3" and "line 4" in refusal.reason
    write("t.csv", 'path,text\na.wav,"y" z\na.wav,x\n')
    entries, (refusal,) = read(tmp_path / "c", "table")
    assert [e.text for e in entries] == ["x"] and refusal.path == "t.csv:2" and "line 2" in refusal.reason


def test_a_sentence_in_a_table_of_tabs_may_begin_with_a_quotation(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    rows = ('"Ja" sagt er', '"whole ""one"""', '"Ja" und "nein"', '"')
    write("t.tsv", "\n".join(["path\ttext", *(f"a.wav\t{row}" for row in rows), ""]))
    held = [e.text for e in read(tmp_path / "c", "table")[0]]
    assert held == ['"Ja" sagt er', 'whole "one"', '"Ja" und "nein"', '"']


def test_what_this_command_wrote_into_the_corpus_is_no_table_of_it(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    write("lists/refused.tsv", "path\treason\na.wav\tis bad\n")
    write("lists/train.tsv", "utt\tpath\tsamples\nu\ta.wav\t5\n")
    assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"
    write("own/t.tsv", "utt\tpath\tlang\nv\t../a.wav\tde\n")  # which lies elsewhere
    assert [(e.utt, e.lang) for e in read(tmp_path / "c", "table")[0]] == [("v", "de")]


def test_tables_of_other_things_beside_audio_leave_it_plain(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    write("results.csv", "file,score\nmodel.pt,3\n")
    write("notes.csv", "who,what\nann,sings\n")
    assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"


def test_a_table_that_is_named_is_read_though_its_files_are_gone(tmp_path: Path, write: Write) -> None:
    path = write("t.csv", "path,text\ngone.wav,x\n")
    folder = open_folder(str(path))
    assert find_kind(folder) == "table" and len(list(KINDS["table"].read(folder))) == 1


def test_fairseq_s_manifests_with_words_or_letters_beside_them(tmp_path: Path, write: Write) -> None:
    write("train.tsv", "/far\na.wav\t100\nb.wav\t200\n")
    write("train.wrd", "ja nein\nnein\n")
    write("train.ltr", "j a | n e i n |\no h |\n")  # words go before letters
    write("dev.tsv", "/far\nc.wav\t100\n")
    write("dev.ltr", "J A | N E I N |\n")
    entries, _ = read(tmp_path / "c", "fairseq")
    assert [(e.path, e.text.strip(), e.split, e.end) for e in entries] == [
        ("/far/c.wav", "JA NEIN", "valid", None),
        ("/far/a.wav", "ja nein", "train", None),
        ("/far/b.wav", "nein", "train", None),
    ]


@pytest.mark.parametrize("lines", [1, 3])
def test_a_label_file_has_a_line_for_each_row_of_its_manifest(
    tmp_path: Path, write: Write, lines: int
) -> None:
    write("train.tsv", "/far\na.wav\t100\nb.wav\t200\n")
    write("train.wrd", "ja\n" * lines)
    with pytest.raises(SourceError, match=rf"train\.wrd: has {lines} lines, train\.tsv 2 rows; expected"):
        read(tmp_path / "c", "fairseq")


def test_names_of_columns_are_known_in_capitals_too_and_the_first_of_several_is_taken() -> None:
    assert match(["Wav", "ID", "wrd", "Sentence"]) == {"path": "Wav", "utt": "ID", "text": "Sentence"}
    assert match(["file", "said"], {"text": "said"}) == {"path": "file", "text": "said"}
    assert match(["file"], {"text": "said"}) == {"path": "file"}  # of a table that has no such column
    assert match(["file", "text", "said"], {"text": "said"})["text"] == "said"
    assert match(["WAV", "wav", "path"])["path"] == "path" and match(["WAV", "wav"])["path"] == "WAV"
    assert text_column(["x", "phones", "words"], "phones") == "phones" and text_column(["x"]) is None
    assert text_column(["text", "wrd"]) == "text" and text_column(["Wrd"], "phones") == "Wrd"


def test_a_header_may_begin_with_a_mark_of_its_own(tmp_path: Path, write: Write) -> None:
    """As our manifests' and many others' do; a column without a name is none."""
    write("a.wav")
    for head in ("#path\ttext", "# path\ttext", "path\ttext", "\ufeffpath\ttext"):
        write("t.tsv", f"{head}\na.wav\tone\n")
        assert [(e.path, e.text) for e in read(tmp_path / "c", "table")[0]] == [("a.wav", "one")]
    for head in ("path\tpath", "path\t"):
        write("t.tsv", f"{head}\na.wav\tone\n")
        assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"


def test_a_row_s_split_is_what_its_column_says_or_else_its_folder(tmp_path: Path, write: Write) -> None:
    """A value that names none is none; an empty one too."""
    write("train/a.wav")
    write("t.csv", "path,split\n" + "".join(f"train/a.wav,{said}\n" for said in ("dev", "other", "")))
    assert [e.split for e in read(tmp_path / "c", "table")[0]] == ["valid", "", ""]
    write("t.csv", "path,text\ntrain/a.wav,x\n")
    assert [e.split for e in read(tmp_path / "c", "table")[0]] == ["train"]


def test_a_mark_is_at_the_head_of_a_table_alone(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfa\r\n\n \n\xef\xbb\xbfb\nc")
    assert list(table_lines(str(tmp_path / "t"))) == [(1, "a"), (4, "\ufeffb"), (5, "c")]


def test_tables_lie_in_a_corpus_s_folder_or_two_below_it(tmp_path: Path, write: Write) -> None:
    write("one/two/a.wav")
    write("one/two/three/deep.csv", "path,text\n../a.wav,x\n")
    assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"
    write("one/two/t.csv", "path,text\na.wav,x\n")
    ((entry,), _) = read(tmp_path / "c", "table")
    assert (entry.path, entry.text) == ("one/two/a.wav", "x")


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_all_that_a_table_tells_of_a_row_is_kept(tmp_path: Path, write: Write, delimiter: str) -> None:
    write("a.wav")
    head, row = (
        ["file_name", "locale", "subset", "client_id", "sentence"],
        ["a.wav", "de", "clean", "ann", "ja"],
    )
    write("t.csv" if delimiter != "\t" else "t.tsv", f"{delimiter.join(head)}\n{delimiter.join(row)}\n")
    ((entry,), _) = read(tmp_path / "c", "table")
    assert (entry.lang, entry.subset, entry.speaker, entry.text) == ("de", "clean", "ann", "ja")


def test_values_of_json_are_as_a_table_of_text_would_hold_them(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    row = {"path": "a.wav", "text": None, "speaker_id": 12, "lang": "ä", "start": 0.5, "duration": 1}
    write("t.jsonl", lines(row) + "{torn\n")
    ((entry,), (torn,)) = read(tmp_path / "c", "table")
    assert torn.path == "t.jsonl:2" and torn.group == "is not JSON"
    assert (entry.text, entry.speaker, entry.lang, entry.begin, entry.end) == ("", "12", "ä", 0.5, 1.5)


def test_a_file_beside_its_table_goes_before_one_of_the_working_folder(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here/a.wav", "here/b.wav", "c/data/a.wav"):
        write(f"../{name}")
    monkeypatch.chdir(tmp_path / "here")
    write("data/t.csv", "path,text\na.wav,x\nb.wav,y\n")
    entries, _ = read(tmp_path / "c", "table")
    assert {e.text: e.path for e in entries} == {"x": "data/a.wav", "y": str(tmp_path / "here" / "b.wav")}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".jsonl.gz"])
def test_a_table_s_split_is_that_of_its_name_without_the_ending(
    tmp_path: Path, write: Write, ending: str
) -> None:
    write("a.wav")
    write(f"test-x{ending}", "path,text\na.wav,x\n" if ending == ".csv" else lines({"path": "a.wav"}))
    assert [e.split for e in read(tmp_path / "c", "table")[0]] == ["test-x"]


def test_of_a_row_s_folders_the_first_two_may_name_its_split(tmp_path: Path, write: Write) -> None:
    rows = {
        "../c/./x/dev/a.wav": "",
        "./x/dev/b.wav": "valid",
        "x/y/dev/c.wav": "",
        "../dev/../x/d.wav": "valid",
    }
    for name in ("x/dev/a.wav", "x/dev/b.wav", "x/y/dev/c.wav", "x/d.wav", "../dev/e.wav"):
        write(name)
    write("t.csv", "path,text\n" + "".join(f"{path},{path}\n" for path in rows))
    found = {e.text: e.split for e in read(tmp_path / "c", "table")[0]}
    assert found == rows


@pytest.mark.parametrize("head", ['path,"te"xt', "path", "path,text"])
def test_what_has_no_row_of_names_over_one_of_values_is_no_table(
    tmp_path: Path, write: Write, head: str
) -> None:
    write("a.wav")
    write("t.csv", f"{head}\n" + ("" if head == "path,text" else "a.wav,x\n"))
    os.mkfifo(tmp_path / "c" / "u.csv")
    assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"


def test_all_that_a_manifest_tells_of_a_row_is_kept(tmp_path: Path, write: Write) -> None:
    """Its length alone is the file's own; with a start it is a piece, in samples."""
    row = "a.wav\t100\tu\tann\tde\tclean\tja\n"
    head = "/far\n# path\tsamples\tutt\tspeaker\tlang\tsubset\ttext"
    path = write("train.tsv", f"{head}\n{row}")
    ((entry,), _) = read(tmp_path / "c", "fairseq")
    assert (entry.path, entry.unit, entry.utt, entry.text) == ("/far/a.wav", "/far/a.wav", "u", "ja")
    assert (entry.speaker, entry.lang, entry.subset) == ("ann", "de", "clean")
    assert (entry.begin, entry.end, entry.split) == (0, None, "train")
    write("train.tsv", "/far\n# path\tsamples\tstart\nb.wav\t100\t40\n")
    ((entry,), _) = read(tmp_path / "c", "fairseq")
    assert (entry.utt, entry.begin, entry.end, entry.counted, entry.speaker) == ("", 40, 140, True, "")
    write("refused.tsv", "path\treason\n")  # what this command wrote is no corpus, but where it is named
    with pytest.raises(SourceError, match="holds nothing to list"):
        find_kind(open_folder(str(tmp_path / "c")))
    assert find_kind(open_folder(str(path))) == "fairseq"


def test_a_root_over_rows_of_something_else_is_no_manifest(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    for below in ("# path\tmood\na.wav\tglad", "a.wav\tglad", "a.wav 100", "100", "a\tb\nc\t100", ""):
        write("train.tsv", f"/far\n{below}\n" if below[:3] != "a\tb" else f"{below}\n")
        assert find_kind(open_folder(str(tmp_path / "c"))) == "plain"
