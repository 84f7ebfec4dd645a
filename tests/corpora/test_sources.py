"""Sources: each kind of corpus is recognized and read, and what cannot be listed is named with its reason."""

import os
from pathlib import Path

import pytest
from source_files import Write, lines, read

from vqw2v_plugin.corpora.sources import Refusal, SourceError, find_kind, open_folder, own_split
from vqw2v_plugin.corpora.sources.entry import place, table_lines


def test_plain_takes_audio_by_suffix_in_any_case_and_leaves_hidden_files(
    tmp_path: Path, write: Write
) -> None:
    for name in ("b/x.WAV", "a.flac", "notes.txt", ".hidden/y.wav", "b/._x.wav"):
        write(name)
    entries, refused = read(tmp_path / "c", "plain")
    assert [e.path for e in entries] == ["a.flac", "b/x.WAV"] and not refused


def test_a_walk_ends_in_spite_of_links_to_itself(tmp_path: Path, write: Write) -> None:
    write("zz/x.wav")
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "aa").symlink_to(tmp_path / "c" / "zz")
    (tmp_path / "c" / "self.wav").symlink_to("self.wav")
    entries, refused = read(tmp_path / "c", "plain")
    assert [e.path for e in entries] == ["self.wav", "zz/x.wav"]  # the real name, though `aa` comes first
    assert [r.path for r in refused] == ["aa", "again"]
    assert {r.group for r in refused} == {"is a link to a folder that is walked already"}


def test_linked_folders_elsewhere_are_walked(tmp_path: Path, write: Write) -> None:
    write("x.wav")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "y.wav").touch()
    (tmp_path / "c" / "link").symlink_to(tmp_path / "far")
    assert [e.path for e in read(tmp_path / "c", "plain")[0]] == ["link/y.wav", "x.wav"]


def test_of_links_to_one_folder_the_first_by_name_is_walked(tmp_path: Path, write: Write) -> None:
    write("x.wav")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "y.wav").touch()
    for name in ("d", "b", "e", "a", "c"):
        (tmp_path / "c" / name).symlink_to(tmp_path / "far")
    entries, refused = read(tmp_path / "c", "plain")
    assert [e.path for e in entries] == ["a/y.wav", "x.wav"]
    assert [r.path for r in refused] == ["b", "c", "d", "e"]


def test_an_unreadable_folder_is_reported_and_the_walk_goes_on(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a/x.wav")
    write("b/y.wav")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    entries, refused = read(tmp_path / "c", "plain")
    assert [e.path for e in entries] == ["b/y.wav"]
    assert refused == [Refusal("a", "folder cannot be read (permission denied); what it holds is left out")]


def test_librispeech_knows_speaker_subset_and_words(tmp_path: Path, write: Write) -> None:
    for subset, utt in (
        ("train-clean-100", "19-198-0001"),
        ("dev-other", "7-8-0000"),
        ("test-clean", "1-2-0003"),
    ):
        speaker, chapter, _ = utt.split("-")
        write(f"{subset}/{speaker}/{chapter}/{utt}.flac")
        write(f"{subset}/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt", f"{utt} SAY {speaker}\n")
    write("train-clean-100/19/198/19-198.trans.txt", "19-198-0001 SAY 19\n19-198-0002 GONE\n")
    write("train-clean-100/stray.flac")
    entries, refused = read(tmp_path / "c", "librispeech")
    assert [(e.utt, e.speaker, e.subset, e.split, e.text) for e in entries] == [
        ("7-8-0000", "7", "dev-other", "valid", "SAY 7"),
        ("1-2-0003", "1", "test-clean", "test-clean", "SAY 1"),
        ("19-198-0001", "19", "train-clean-100", "train", "SAY 19"),
    ]
    assert [r.path for r in refused] == ["train-clean-100/stray.flac", "train-clean-100/19/198/19-198-0002"]
    alone = read(tmp_path / "c" / "train-clean-100" / "19", "librispeech")[0]
    assert [(e.path, e.speaker, e.split) for e in alone] == [("198/19-198-0001.flac", "19", "train")]


def test_common_voice_reads_its_own_tables(tmp_path: Path, write: Write) -> None:
    head = "client_id\tpath\tsentence\tlocale\n"
    write("train.tsv", head + 'ann\ta.mp3\tSay "one", please\tde\nann\tb.mp3\n')
    write("dev.tsv", head + "bob\told_name\tzwei\tde\n")
    write("validated.tsv", head + "cid\tc.mp3\tdrei\tde\n")
    entries, refused = read(tmp_path / "c", "commonvoice")
    assert [(e.path, e.utt, e.speaker, e.lang, e.text, e.split) for e in entries] == [
        ("clips/a.mp3", "a", "ann", "de", 'Say "one", please', "train"),
        ("clips/old_name.mp3", "old_name", "bob", "de", "zwei", "valid"),
    ]
    assert [(r.path, r.group) for r in refused] == [
        ("train.tsv:3", "row has another number of fields than the table's header")
    ]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "c" / name).unlink()
    assert [(e.path, e.split) for e in read(tmp_path / "c", "commonvoice")[0]] == [("clips/c.mp3", "")]
    write("validated.tsv", "client_id\tpath\tsentence\ncid\tc.mp3\tdrei\n")  # as the first releases are
    assert [(e.speaker, e.lang) for e in read(tmp_path / "c", "commonvoice")[0]] == [("cid", "")]
    write("validated.tsv", "speaker\tpath\tsentence\ncid\tclips/c.mp3\tdrei\n")
    write("clips/c.mp3")
    assert [(e.speaker, e.text) for e in read(tmp_path / "c", "table")[0]] == [("cid", "drei")]


def test_kaldi_joins_its_tables(tmp_path: Path, write: Write) -> None:
    write(
        "wav.scp",
        "r1 /far/r1.wav\nr2\tr2.flac\nr3 sph2pipe -f wav x.sph |\nr4 raw.ark:17\nr1 again.wav\nr5 /q.wav\n",
    )
    write("segments", "u1 r1 0.5 1.75\nu2 r2 2 -1\nu3 r3 0 1\nu4 r9 0 1\nu5 r1 zero 1\nu6 r4 0 1\n")
    write("utt2spk", "u1 ann\nu2 bob\n")
    write("utt2lang", "u2 de\n")
    write("text", "u1 hello  there\nu2\n")
    write("r2.flac")
    entries, refused = read(tmp_path / "c", "kaldi")
    assert [(e.path, e.unit, e.utt, e.begin, e.end, e.speaker, e.lang, e.text) for e in entries] == [
        ("/far/r1.wav", "r1", "u1", 0.5, 1.75, "ann", "", "hello  there"),
        ("r2.flac", "r2", "u2", 2.0, None, "bob", "de", ""),
    ]
    assert [(r.path, r.group) for r in refused] == [
        ("wav.scp:5", "recording is listed already"),
        ("u3", "is a piped command, not a file"),
        ("segments:4", "is of a recording that wav.scp does not list"),
        ("segments:5", "is no segment"),
        ("u6", "is a place in an archive, not a file"),
        ("r5", "recording has no segment"),
    ]


def test_kaldi_s_recordings_are_utterances_where_there_are_no_segments(tmp_path: Path, write: Write) -> None:
    write("wav.scp", "a /far/a.wav\nb\nc | cat\nd cat x |\ne /e.ark:7\n")
    write("utt2spk", "a ann\n")
    entries, refused = read(tmp_path / "c", "kaldi")
    assert [(e.path, e.unit, e.utt, e.begin, e.end, e.speaker) for e in entries] == [
        ("/far/a.wav", "a", "a", 0.0, None, "ann")
    ]
    reasons = {
        "b": "has no path",
        "c": "is a piped command, not a file",
        "d": "is a piped command, not a file",
        "e": "is a place in an archive, not a file",
    }
    assert {r.path: r.group for r in refused} == reasons
    write("segments", "u a 0 1\n")  # which lists none of those that cannot be read
    assert {r.path: r.group for r in read(tmp_path / "c", "kaldi")[1]} == reasons


def test_a_table_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wav.scp")
    with pytest.raises(SourceError, match=r"wav\.scp: is a pipe, expected a readable table"):
        list(table_lines(str(tmp_path / "wav.scp")))


def test_kaldi_subfolders_are_splits(tmp_path: Path, write: Write) -> None:
    for name in ("train_si284", "test_dev93", "test_eval92", "train_si284/split2/1"):
        write(f"{name}/wav.scp", f"{name.replace('/', '-')}-u /x/{name}.wav\n")
    entries, _ = read(tmp_path / "c", "kaldi")
    assert {(e.subset, e.split) for e in entries} == {
        ("train_si284", "train"),
        ("test_dev93", "valid"),
        ("test_eval92", "eval92"),
    }


def test_kaldi_s_recipes_hold_their_splits_in_data(tmp_path: Path, write: Write) -> None:
    for name in ("train", "test", "train/split2/1"):
        write(f"data/{name}/wav.scp", f"{name} audio/a.wav\n")
    write("data/train/text", "train hallo welt\n")
    write("audio/a.wav", "")
    folder = tmp_path / "c"
    assert find_kind(open_folder(folder)) == "kaldi"
    entries, _ = read(folder, "kaldi")
    assert [(each.utt, each.split, each.text) for each in entries] == [
        ("test", "test", ""),
        ("train", "train", "hallo welt"),
    ]
    write("a/b/c/wav.scp", "x a.wav\n")
    for name in ("train", "test"):
        (folder / "data" / name / "wav.scp").unlink()
    assert find_kind(open_folder(folder)) == "plain"  # copies of what is not there are no corpus


def test_kaldi_paths_may_start_at_the_working_folder(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("data/train/wav.scp", "u corpus/u.wav\n")
    write("corpus/u.wav")
    monkeypatch.chdir(tmp_path / "c")
    assert [e.path for e in read(tmp_path / "c" / "data" / "train", "kaldi")[0]] == [
        str(tmp_path / "c" / "corpus" / "u.wav")
    ]


@pytest.mark.parametrize(
    ("root", "path", "placed"),
    [
        ("/", "/x/y.wav", "x/y.wav"),
        ("/c", "/c/x/y.wav", "x/y.wav"),
        ("/c", "/cd/y.wav", "/cd/y.wav"),
        ("/c/", "/c/y.wav", "y.wav"),
    ],
)
def test_paths_below_the_corpus_are_told_from_it(root: str, path: str, placed: str) -> None:
    assert place(root, "", path) == placed


def test_two_kinds_in_one_folder_ask_which(tmp_path: Path, write: Write) -> None:
    write("wav.scp", "u /u.wav\n")
    write("x.jsonl", lines({"audio_filepath": "/u.wav"}))
    folder = open_folder(str(tmp_path / "c"))
    with pytest.raises(SourceError, match=r"several kinds: kaldi .* nemo .*; say which with `--kind`"):
        find_kind(folder)
    assert find_kind(folder, "nemo") == "nemo"
    with pytest.raises(SourceError, match="is not of kind librispeech: expected"):
        find_kind(folder, "librispeech")


@pytest.mark.parametrize("name", ["x.wav", "a.trans.txt", "wav.scp", "train.tsv", "x.phn"])
def test_a_file_that_is_named_is_a_table_of_rows_or_nothing(tmp_path: Path, write: Write, name: str) -> None:
    """Its folder may hold a corpus, but that is not what was named."""
    path = write(name, "client_id\tpath\tsentence\n")
    with pytest.raises(SourceError, match="holds nothing to list among its 1 files"):
        find_kind(open_folder(str(path)))


def test_a_folder_of_nothing_says_what_was_expected(tmp_path: Path, write: Write) -> None:
    write("readme.md", "words")
    write("settings.json", '{\n "a": 1}')
    with pytest.raises(SourceError, match=r"holds nothing to list among its 2 files; expected one of: kaldi"):
        find_kind(open_folder(str(tmp_path / "c")))
    with pytest.raises(SourceError, match="no such folder"):
        open_folder(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-clean-100", "train"),
        ("train_dev", "valid"),
        ("Validation", "valid"),
        ("test-other", "test-other"),
        ("librispeech_cuts_test-clean", "test-clean"),
        ("test_manifest", "test"),
        ("x_recordings_train", "train"),
        ("eval 2000", "eval_2000"),
        ("constraint", ""),
        ("latest", ""),
        ("cuts", ""),
    ],
)
def test_splits_by_name(name: str, split: str) -> None:
    assert own_split(name) == split


@pytest.mark.parametrize("character", ["\t", "\n", "\r"])
def test_a_folder_that_no_manifest_can_name_is_refused(tmp_path: Path, character: str) -> None:
    folder = tmp_path / f"a{character}b"
    folder.mkdir()
    with pytest.raises(
        SourceError, match="has a tab or a line break in its name, which no manifest can hold"
    ):
        open_folder(str(folder))


def test_a_walk_tells_how_many_files_it_has_found(tmp_path: Path, write: Write) -> None:
    for name in ("a.wav", "b.txt", "in/c.wav", "in/deep/d.wav", ".hidden/e.wav", ".f.wav"):
        write(name)
    told: list[int] = []
    found = open_folder(str(tmp_path / "c"), tick=told.append)
    assert found.files == ("a.wav", "b.txt", "in/c.wav", "in/deep/d.wav") and sum(told) == 4
