"""Manifests: every form reads, what is written reads back, and each bad row names its line."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqw2v_plugin.corpora.manifest import Manifest, ManifestError, write_manifest


def manifest_of(folder: Path, text: str) -> Manifest:
    path = folder / "train.tsv"
    path.write_bytes(text.encode())
    return Manifest(path)


def test_plain_form_is_fairseqs(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "/corpus\na/x.flac\t100\nb/y.wav\t7\n")
    assert [(u.path, u.samples, u.utt) for u in manifest] == [
        ("/corpus/a/x.flac", 100, "x"),
        ("/corpus/b/y.wav", 7, "y"),
    ]
    assert manifest.sizes.tolist() == [100, 7]
    assert manifest.rates is None and manifest[0].rate is None and manifest[-1].utt == "y"


def test_header_line_names_columns_in_any_order(tmp_path: Path) -> None:
    text = "/c\n# speaker\tsamples\tpath\tmood\tstart\trate\tlang\nann\t50\tx.ogg\tcalm\t8\t44100\tde\n"
    utterance = manifest_of(tmp_path, text)[0]
    assert (utterance.path, utterance.samples, utterance.start) == ("/c/x.ogg", 50, 8)
    assert (utterance.rate, utterance.speaker, utterance.lang) == (44100, "ann", "de")
    assert utterance.extra == {"mood": "calm"} and utterance.utt == "x_8-58"


def test_table_starts_from_its_own_folder(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "utt\tpath\tn_samples\twords\nu1\tflac/x.flac\t9\tone two\n")
    assert manifest[0].path == str(tmp_path / "flac/x.flac") and manifest[0].utt == "u1"
    assert manifest.column("words") == ["one two"] and manifest.column("n_samples") == ["9"]


def test_blank_lines_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "/c\r\n\r\nx.wav\t1\r\n\n\ny.wav\t2")
    assert [(u.path, u.samples) for u in manifest] == [("/c/x.wav", 1), ("/c/y.wav", 2)]


def test_a_path_may_begin_like_a_header(tmp_path: Path) -> None:
    assert manifest_of(tmp_path, "/c\n# path\t5\n#samples\t6\n")[0].path == "/c/# path"


def test_relative_root_starts_beside_the_manifest_then_at_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "audio").mkdir()
    monkeypatch.chdir(tmp_path)
    assert manifest_of(tmp_path / "lists", "audio\nx.wav\t1\n").root == str(tmp_path / "audio")
    (tmp_path / "lists" / "audio").mkdir()
    assert manifest_of(tmp_path / "lists", "audio\nx.wav\t1\n").root == str(tmp_path / "lists" / "audio")
    assert manifest_of(tmp_path / "lists", "gone\nx.wav\t1\n").root == str(tmp_path / "lists" / "gone")


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ("a/x.wav\t1\na/y.wav\t1\n", ["x", "y"]),
        ("a/x.wav\t1\nb/x.wav\t1\n", ["a/x", "b/x"]),
        ("a/x.wav\t1\na/x.wav\t1\n", ["a/x#0", "a/x#1"]),
    ],
)
def test_made_ids_differ(tmp_path: Path, rows: str, ids: list[str]) -> None:
    manifest = manifest_of(tmp_path, "/c\n" + rows)
    assert [u.utt for u in manifest] == ids and manifest[-1].utt == ids[-1] == manifest[1].utt
    with pytest.raises(IndexError, match="has 2 rows, asked for row 2"):
        manifest[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: got an empty line"),
        ("/c\nx.wav\t1\ny.wav\n", ":3: got 1 tab-separated fields, expected 2"),
        ("/c\nx.wav\t1\tann\n", ":2: got 3 tab-separated fields, expected 2"),
        ("/c\n1000\tx.wav\n", ":2: column samples is 'x.wav', expected a whole number"),
        ("/c\nx.wav\t-5\n", ":2: column samples is '-5'"),
        ("/c\nx.wav\t1.5\n", ":2: column samples is '1.5'"),
        ("/c\n\t5\n", ":2: column path is empty"),
        (
            "/c\n# path\tsamples\trate\nx\t1\t0\n",
            ":3: column rate is '0', expected a whole number from 1 to 1,000,000",
        ),
        ("/c\n# path\tsample\nx.wav\t1\n", ":2: got the columns 'path', 'sample', without samples"),
        ("/c\n# path\tsamples\tpath\nx\t1\ty\n", "expected each to have a name of its own"),
        ("x.wav\t100\n", ":1: got the columns 'x.wav', '100', without path and samples"),
        ("utt\tpath\tsamples\na\tx\t1\na\ty\t1\n", ":3: column utt is 'a', as on line 2"),
        ("/c\nx.wav\t1\ny.wav\0\t1\n", ":3: holds a NUL, as text in UTF-16 does"),
    ],
)
def test_a_bad_row_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ManifestError) as error:
        manifest_of(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "train.tsv")) and said in str(error.value)


def test_unknown_column_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no column 'text'; it has path, samples"):
        manifest_of(tmp_path, "/c\nx.wav\t1\n").column("text")


@pytest.mark.parametrize("name", ["gone.tsv", "."])
def test_unreadable_manifest_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="expected a manifest"):
        Manifest(tmp_path / name)


def test_names_that_are_not_utf8_stay_openable(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_bytes(b"/c\ncaf\xe9.wav\t1\n")
    manifest = Manifest(tmp_path / "train.tsv")
    assert os.fsencode(manifest[0].path) == b"/c/caf\xe9.wav"
    write_manifest(tmp_path / "again.tsv", "/c", [{"path": manifest[0].path, "samples": 1}])
    assert Manifest(tmp_path / "again.tsv")[0].path == manifest[0].path


name = st.text(
    st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
row = st.fixed_dictionaries(
    {
        "path": name,
        "samples": st.integers(0, 10**12),
        "start": st.integers(0, 10**12),
        "rate": st.integers(1, 400_000),
        "speaker": name,
        "text": name,
    }
)
columns = st.permutations(["path", "samples", "start", "rate", "speaker", "text"]).flatmap(
    lambda names: st.just([n for n in names if n in ("path", "samples")]) | st.just(names)
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(row, max_size=8), columns=columns)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], columns: list[str]
) -> None:
    path = tmp_path_factory.mktemp("m") / "m.tsv"
    write_manifest(path, "/root", rows, columns)
    manifest = pickle.loads(pickle.dumps(Manifest(path)))
    assert len(manifest) == len(rows) and set(manifest.columns) == set(columns)
    for column in columns:
        assert manifest.column(column) == [str(row[column]) for row in rows]
    assert manifest.sizes.tolist() == [row["samples"] for row in rows]
    assert [u.path for u in manifest] == [os.path.join("/root", str(row["path"])) for row in rows]
    assert len({u.utt for u in manifest}) == len(rows)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"path": "a\tb", "samples": 1}, "no tab and no line break"),
        ({"path": "a\nb", "samples": 1}, "no tab and no line break"),
        ({"path": "a\rb", "samples": 1}, "no tab and no line break"),
        ({"path": "a"}, ":2: the row has no 'samples', only path"),
    ],
)
def test_a_failed_write_leaves_nothing(tmp_path: Path, row: dict[str, object], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        write_manifest(tmp_path / "m.tsv", "/root", [row])
    assert not list(tmp_path.iterdir())


def test_reading_manifests_needs_neither_torch_nor_fairseq_nor_soundfile() -> None:
    code = (
        "import sys; import vqw2v_plugin.corpora.manifest;"
        "print([n for n in ('torch', 'fairseq', 'soundfile') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_tables_read(real_data: Path) -> None:
    manifest = Manifest(real_data / "fsdd" / "train.tsv")
    assert len(manifest) == 2000 and os.path.isfile(manifest[0].path)
    assert set(manifest.column("words")) == {*"zero one two three four five six seven eight nine".split()}


def test_columns_that_are_not_utf_8_are_in_the_digest_too(tmp_path: Path) -> None:
    digests = set()
    for name in (b"\xff", b"\xfe", b"x"):
        (tmp_path / "m.tsv").write_bytes(b"/c\n# path\tsamples\t" + name + b"\na.wav\t1\tz\n")
        digests.add(Manifest(tmp_path / "m.tsv").rows_digest)
    assert len(digests) == 3


def test_messages_show_the_beginning_of_what_is_long(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        manifest_of(tmp_path, "/c\nx.wav\t" + "y" * 61 + "\n")
    assert f"column samples is '{'y' * 60}'…, expected" in str(error.value)
    with pytest.raises(ManifestError, match=r"column samples is 'y{60}', expected"):
        manifest_of(tmp_path, "/c\nx.wav\t" + "y" * 60 + "\n")
    names = [f"c{i}" for i in range(14)]
    with pytest.raises(ManifestError, match=r"got the columns 'c0', .*'c11' and 2 more, without path and"):
        manifest_of(tmp_path, "\t".join(names) + "\n")


def test_rows_are_counted_from_the_end_as_far_as_the_first(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "/c\nx.wav\t1\ny.wav\t2\n")
    assert (manifest[-2].utt, manifest[-1].utt) == ("x", "y")
    with pytest.raises(IndexError, match="has 2 rows, asked for row -3"):
        manifest[-3]


def test_a_corpus_that_lies_elsewhere_has_the_same_rows(tmp_path: Path) -> None:
    """But is another file; sums are those of sha256sum."""
    rows = "x.wav\t1\ny.wav\t2\n"
    here, there, other = (
        manifest_of(tmp_path, text) for text in (f"/c\n{rows}", f"/far\n{rows}", f"/c\n{rows}z\t3\n")
    )
    assert (
        here.digest == "f4088ff8c3eddcac57dede5446e46375951e47c3b83550e6fb3d7bd47fd79a2d"
        and here.digest != there.digest
    )
    assert (
        here.rows_digest
        == there.rows_digest
        == "217c4428927f113f4d16a12a1472e90abeb55a4e47fd717ad170815dee40352b"
        and here.rows_digest != other.rows_digest
    )


def test_numbers_are_as_large_as_they_may_be(tmp_path: Path) -> None:
    text = "/c\n# path\tsamples\tstart\trate\nx\t{}\t{}\t{}\n"
    row = manifest_of(tmp_path, text.format(10**12, 10**12, 10**6))[0]
    assert (row.samples, row.start, row.rate) == (10**12, 10**12, 10**6)
    for numbers in ((10**12 + 1, 0, 1), (0, 10**12 + 1, 1), (0, 0, 10**6 + 1)):
        with pytest.raises(ManifestError, match="expected a whole number from"):
            manifest_of(tmp_path, text.format(*numbers))


def test_a_mark_before_the_root_is_not_its_name(tmp_path: Path) -> None:
    assert manifest_of(tmp_path, "\ufeff/c\nx.wav\t1\n")[0].path == "/c/x.wav"


@pytest.mark.parametrize("columns", [["path", "text"], ["path", "samples", "path"], ["path", "samples", ""]])
def test_columns_that_nobody_could_read_are_not_written(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(ManifestError, match=r"m\.tsv: got the columns"):
        write_manifest(tmp_path / "m.tsv", "/c", [], columns)
    assert not list(tmp_path.iterdir())
