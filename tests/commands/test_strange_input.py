"""What strangers send to the commands: one sentence each, and what lies behind it is still done."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from corpus_runs import saved
from sounds import noise

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.common.words import sentence
from vqw2v_plugin.corpora.manifest import Manifest, ManifestError, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FEATURES, FeatureError


def says(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an error."""
    assert main([*map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vqw2v: error: ")
    return lines[0]


def test_encode_goes_on_behind_any_file_and_prints_any_name_on_one_line(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    names = ["tab\tline\nend.wav", os.fsdecode(b"latin\xe9.wav"), "esc\x1b[31m.wav", "sep\u2028.wav"]
    for name in names:
        soundfile.write(tmp_path / "x.wav", noise(4_000), 16_000)
        os.rename(tmp_path / "x.wav", tmp_path / name)
    bad = [str(tmp_path / "pipe.wav"), "/dev/zero", "x\0y.wav", "", "no\nfile.wav"]
    path = saved(tiny(quantizer="kmeans"), tmp_path)
    assert main(["encode", path, *bad, *(str(tmp_path / name) for name in names)]) == 1
    out, err = capsys.readouterr()
    rows = [line.split("\t") for line in out.split("\n")[:-1]]
    shown = ["tab\\tline\\nend.wav", "latin\\xe9.wav", "esc\\x1b[31m.wav", "sep\\u2028.wav"]
    assert [row[0] for row in rows] == [f"{tmp_path}/{name}" for name in shown]
    assert all(len(row) == 2 for row in rows) and len({row[1] for row in rows}) == 1
    assert len(err.splitlines()) == len(bad) + 1 and "no\\nfile.wav: no such file" in err


def test_names_are_printed_on_one_line() -> None:
    assert sentence("a\tb\x85c\u202ed\udce9") == "a\\tb\\x85c\\u202ed\\xe9"
    assert sentence("Straße …/日本.wav") == "Straße …/日本.wav"


ROWS = "# path\tsamples\tutt\na.wav\t8000\tu0\nb.wav\t8000\tu1\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    ],
)
def test_manifests_with_a_mark_and_other_line_ends_are_read(
    tmp_path: Path, change: Callable[[str], bytes]
) -> None:
    for text in (f"/c\n{ROWS}", f"/c\n{ROWS}".replace("# ", "#")):
        (tmp_path / "m.tsv").write_bytes(change(text))
        manifest = Manifest(tmp_path / "m.tsv")
        assert [manifest[i].path for i in (0, 1)] == ["/c/a.wav", "/c/b.wav"] and manifest.root == "/c"


MANIFESTS = {
    "utf-16": (f"/c\n{ROWS}".encode("utf-16"), ":1: holds a NUL, as text in UTF-16 does"),
    "NUL": (f"/c\n{ROWS}".replace("b.wav", "b\0.wav").encode(), ":4: holds a NUL"),
    "10^15": (f"/c\n{ROWS}".replace("8000", "1" + "0" * 15).encode(), "expected a whole number from 0 to"),
    "negative": (f"/c\n{ROWS}".replace("8000", "-1").encode(), "column samples is '-1'"),
    "digits": (f"/c\n{ROWS}".replace("8000", "٣").encode(), "column samples is '٣'"),
    "long": (f"/c\n{ROWS}".replace("8000", "1" * 10**6).encode(), "'…, expected a whole number"),
    "columns": ("\t".join(f"c{i}" for i in range(9999)).encode(), "and 9,987 more, without path and samples"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests_that_are_none_are_one_short_sentence(tmp_path: Path, kind: str) -> None:
    blob, said = MANIFESTS[kind]
    (tmp_path / "m.tsv").write_bytes(blob)
    with pytest.raises(ManifestError) as error:
        Manifest(tmp_path / "m.tsv")
    assert said in str(error.value) and len(str(error.value)) < 700


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", noise(8_000), 16_000)
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "a.wav", "samples": 8_000}])
    return tmp_path


NUMBERS = ("inf", "-inf", "nan", "-1", "2147483648", "9223372036854775808", "1e400", "", " ", "1" * 5000)
OPTIONS = {
    "--memory": ["features", "-", "train.tsv", "f", "--layer", "logmel"],
    "--shard-minutes": ["features", "-", "train.tsv", "f", "--layer", "logmel"],
    "--workers": ["features", "-", "train.tsv", "f", "--layer", "logmel"],
    "--bands": ["features", "-", "train.tsv", "f", "--layer", "logmel"],
    "--sample-rate": ["features", "-", "train.tsv", "f", "--layer", "logmel"],
    "--clips": ["report", ".", "r.html"],
    "--clip-seconds": ["report", ".", "r.html"],
    "--encode-minutes": ["report", ".", "r.html"],
    "--beam": ["transcribe", "none.pt", "a.wav", "--decoder", "free"],
    "--beam-tokens": ["transcribe", "none.pt", "a.wav", "--decoder", "free"],
    "--points": ["tune", "none", "--labels", "none"],
    "--keep": ["tune", "none", "--labels", "none"],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_numbers_that_make_no_sense_are_refused_by_name(
    corpus: Path, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(corpus)
    for number in NUMBERS:
        try:
            assert main([*OPTIONS[option], f"{option}={number}"]) == 2
        except SystemExit as ended:  # argparse's own
            assert ended.code == 2
        said = capsys.readouterr().err.splitlines()[-1]
        name = option.lstrip("-").replace("-", "_")
        assert option in said or f"`{name}`" in said, (number, said)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ("[]", "holds a list"),
        ('{"splits": [1]}', "its `splits` are [1]"),
        ('{"splits": {"train": 3}}', "its `splits` are {'train': 3}"),
        ('{"stride": null}', "`stride` is None; expected a whole number"),
        ('{"sample_rate": "x"}', "`sample_rate` is 'x'; expected a whole number"),
        ('{"num_codes": 1e30}', "`num_codes` is 1e+30; expected a whole number"),
        ('{"num_groups": true}', "`num_groups` is True; expected a whole number"),
        ('{"receptive_field": 0}', "`receptive_field` is 0; expected a whole number"),
    ],
)
def test_a_folder_s_json_of_another_shape_is_named(tmp_path: Path, about: str, said: str) -> None:
    (tmp_path / "features.json").write_text(about)
    with pytest.raises(FeatureError) as error:
        FEATURES.read_about(tmp_path)
    assert said in str(error.value) and "features.json" in str(error.value)


def test_a_folder_s_json_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "features.json")
    with pytest.raises(FeatureError, match="is a pipe; expected a JSON object"):
        FEATURES.read_about(tmp_path)


def test_rows_of_tables_that_are_none_are_refused_one_by_one(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"id": "a", "sources": [{"type": "file", "channels": [0], "source": str(corpus / "a.wav")}]}
    good |= {"sampling_rate": 16_000, "duration": 0.5}
    strange = [{"id": []}, {"sources": [5]}, {"sources": 5}, {"duration": "x"}]
    bad = [{**good, "id": f"b{i}", **row} for i, row in enumerate(strange)]
    lines = [json.dumps(row) for row in (good, *bad)]
    folder = corpus / "c"
    folder.mkdir()
    (folder / "x.jsonl").write_text("\ufeff" + "\n".join([*lines, "[" * 100_000, "5"]))
    assert main(["manifest", str(folder), str(corpus / "o")]) == 0
    assert (corpus / "o" / "refused.tsv").read_text().count("\n") == 1 + 3 + 2


def test_a_packed_table_that_holds_far_too_much_is_left_off(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqw2v_plugin.corpora.sources.json_lines._LEAST_BOUND", 1_000)
    folder = corpus / "c"
    folder.mkdir()
    row = json.dumps({"audio_filepath": str(corpus / "a.wav"), "duration": 0.5})
    with gzip.open(folder / "x.jsonl.gz", "wb") as file:
        file.write(row.encode() + b"\n" + b"\n" * 3_000_000)
    assert main(["manifest", str(folder), str(corpus / "o")]) == 0
    assert "far more than its size promises" in (corpus / "o" / "refused.tsv").read_text()


def test_a_table_of_lines_that_are_no_rows_is_left_off(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqw2v_plugin.corpora.sources.json_lines._MOST_BROKEN", 10)
    folder = corpus / "c"
    folder.mkdir()
    row = json.dumps({"audio_filepath": str(corpus / "a.wav"), "duration": 0.5})
    (folder / "x.jsonl").write_text(row + "\n" + "x\n" * 1_000)
    assert main(["manifest", str(folder), str(corpus / "o")]) == 0
    assert (corpus / "o" / "refused.tsv").read_text().count("\n") == 1 + 11 + 1


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe", "x\0y", "."])
def test_texts_tables_and_dictionaries_are_files(
    corpus: Path, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(corpus)
    os.mkfifo("pipe")
    (corpus / "f").mkdir()
    for arguments in (
        ["lm", path, "o.arpa"],
        ["labels", path, "l", "--text", "t", "--unit", "letters"],
        ["usage", path, "train.tsv"],
        ["features", "-", path, "f", "--layer", "logmel"],
        ["abx", "f", "--phones", path],
        ["tune", path, "--labels", "l"],
    ):
        says(capsys, *arguments)
