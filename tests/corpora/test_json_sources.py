"""Sources of JSON lines: NeMo's and lhotse's rows are read, and what a manifest cannot say is refused."""

import gzip
import os
import zlib
from pathlib import Path

import pytest
from source_files import Write, lines, read

from vqw2v_plugin.corpora.sources import KINDS, Refusal, json_lines, open_folder


@pytest.mark.parametrize("ending", ["jsonl", "json", "jsonl.gz"])
def test_nemo_rows(tmp_path: Path, write: Write, ending: str) -> None:
    rows = lines(
        {"audio_filepath": "a.wav", "duration": 2.5, "text": "one"},
        {"audio_filepath": "/x/b.wav", "duration": 1, "offset": 0.25, "speaker": 7, "lang": "de"},
        {"audio_filepath": "c.wav", "duration": "long"},
        {"audio_filepath": None},
        {"audio_filepath": ""},
        {"audio_filepath": "d.wav", "offset": None, "duration": None},
    )
    path = write(f"dev_manifest.{ending}", rows + "{torn\n")
    write("a.wav")
    entries, refused = read(tmp_path / "c", "nemo")
    assert [(e.path, e.begin, e.end, e.text, e.speaker, e.lang, e.split) for e in entries] == [
        ("a.wav", 0.0, 2.5, "one", "", "", "valid"),
        ("/x/b.wav", 0.25, 1.25, "", "7", "de", "valid"),
        ("d.wav", 0.0, None, "", "", "", "valid"),
    ]
    assert [r.path for r in refused] == [f"{path.name}:{n}" for n in (3, 4, 5, 7)]
    assert KINDS["nemo"].fits(open_folder(str(path)))  # the table itself may be named


@pytest.mark.parametrize("name", ["TRAIN.JSONL", "Train.Json.GZ"])
def test_a_table_s_ending_may_be_of_any_case(tmp_path: Path, write: Write, name: str) -> None:
    row = lines({"audio_filepath": "a.wav", "text": "one"})
    write(name).write_bytes(gzip.compress(row.encode()) if name.endswith("GZ") else row.encode())
    write("a.wav")
    entries, refused = read(tmp_path / "c", "nemo")
    assert [(e.path, e.text, e.split) for e in entries] == [("a.wav", "one", "train")] and not refused


def test_nemo_s_other_names_for_speakers_and_languages(tmp_path: Path, write: Write) -> None:
    row = {"audio_filepath": "a.wav", "speaker_id": "ann", "source_lang": "fr"}
    write("x.jsonl", lines(row, {**row, "speaker": "bob", "lang": "de"}))
    entries, _ = read(tmp_path / "c", "nemo")
    assert [(entry.speaker, entry.lang) for entry in entries] == [("ann", "fr"), ("bob", "de")]


def test_a_table_that_unpacks_to_far_more_than_it_is_ends_early(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"audio_filepath": "/a.wav", "text": "x" * 1_000}
    path = write("x.jsonl.gz", lines(*[row] * 400))
    assert len(read(tmp_path / "c", "nemo")[0]) == 400  # gzip makes a hundredth of it
    monkeypatch.setattr(json_lines, "_LEAST_BOUND", 10_000)
    monkeypatch.setattr(json_lines, "_DENSEST", 1)
    entries, refused = read(tmp_path / "c", "nemo")
    count = (10_000 + path.stat().st_size) // (len(lines(row)))
    assert len(entries) == count and [r.path for r in refused] == [f"x.jsonl.gz:{count + 1}"]
    assert "holds far more than its size promises; unpack it" in refused[0].reason


def test_a_table_of_json_that_is_a_pipe_is_not_waited_for(tmp_path: Path, write: Write) -> None:
    os.mkfifo(write("a.wav").with_name("x.jsonl"))
    folder = open_folder(str(tmp_path / "c"))
    assert json_lines.tables(folder) == []
    (refusal,) = json_lines.rows(folder, "x.jsonl")
    assert refusal == Refusal("x.jsonl:1", "table breaks off (is a pipe); restore it")


def recording(name: str, channels: int = 1, **more: object) -> dict[str, object]:
    source = {"type": "file", "channels": list(range(channels)), "source": f"{name}.wav"}
    row = {"id": name, "sources": [source], "sampling_rate": 8000, "num_samples": 80_000, "duration": 10.0}
    return {**row, **more}


def supervision(name: str, of: str, **more: object) -> dict[str, object]:
    return {"id": name, "recording_id": of, "start": 1.0, "duration": 2.0, "channel": 0, **more}


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ({"id": "c", "type": "MonoCut", "recording": {}}, True),
        ({"id": "c", "type": "MixedCut", "tracks": []}, True),
        ({"id": "c", "type": "PaddingCut", "supervisions": []}, True),
        ({"id": "c", "type": "else"}, False),
        ({"type": "MonoCut", "recording": {}}, False),
        ({"id": "r", "sources": [], "sampling_rate": 8000}, True),
        ({"id": "r", "sources": []}, False),
        ({"id": "s", "recording_id": "r", "start": 0, "duration": 1}, True),
        ({"id": "s", "recording_id": "r", "start": 0}, False),
    ],
)
def test_lhotse_s_tables_are_known_by_the_keys_of_their_rows(
    tmp_path: Path, write: Write, row: dict[str, object], fits: bool
) -> None:
    write("x.jsonl", lines(row))
    assert KINDS["lhotse"].fits(open_folder(str(tmp_path / "c"))) == fits


def test_lhotse_recordings_alone_and_with_supervisions(tmp_path: Path, write: Write) -> None:
    odd = {"type": "command", "channels": [0], "source": "cat"}
    rows = [
        recording("r1"),
        recording("two", 2),
        recording("odd", sources=[odd]),
        recording("lone"),
        recording("r1"),
    ]
    write("x_recordings_train.jsonl.gz", lines(*rows, {"id": "bare", "sources": "none", "sampling_rate": 1}))
    entries, refused = read(tmp_path / "c", "lhotse")
    assert [(e.path, e.utt, e.end, e.split) for e in entries] == [
        (f"{name}.wav", name, 10.0, "train") for name in ("r1", "two", "lone")
    ]
    assert [r.group for r in refused] == [
        "recording is listed already",
        "is not a single audio file",
        "is not built like lhotse's rows",
    ]
    about = {"text": "hi", "speaker": "ann", "language": "de"}
    more = [supervision(f"s-{of}", of, **about) for of in ("r1", "two", "odd", "gone")]
    write("x_supervisions_train.jsonl.gz", lines(*more, supervision("s", "r1", start="x")))
    entries, refused = read(tmp_path / "c", "lhotse")
    assert [(e.path, e.utt, e.begin, e.end, e.text, e.speaker, e.lang) for e in entries] == [
        ("r1.wav", "s-r1", 1.0, 3.0, "hi", "ann", "de")
    ]
    assert [r.group for r in refused] == [
        "recording is listed already",
        "is one channel of several",
        "is not a single audio file",
        "is of a recording that no table lists",
        "has a number that is none",
        "recording has no supervision",
        "is not built like lhotse's rows",
    ]


def test_a_broken_line_of_lhotse_s_supervisions_costs_itself_alone(tmp_path: Path, write: Write) -> None:
    write("x_recordings_train.jsonl", lines(recording("r1")))
    broken = '{"id": 1,\n[1]\n'
    write(
        "x_supervisions_train.jsonl", lines(supervision("s", "r1")) + broken + lines(supervision("t", "r1"))
    )
    entries, refused = read(tmp_path / "c", "lhotse")
    assert [entry.utt for entry in entries] == ["s", "t"]
    assert [(r.path, r.group) for r in refused] == [
        ("x_supervisions_train.jsonl:2", "is not JSON"),
        ("x_supervisions_train.jsonl:3", "is not a JSON object"),
    ]


def test_the_split_of_lhotse_s_supervisions_is_taken_before_that_of_recordings(
    tmp_path: Path, write: Write
) -> None:
    write("x_recordings_train.jsonl", lines(recording("r1")))
    write("x_supervisions_dev.jsonl", lines(supervision("s1", "r1")))
    write("x_supervisions.jsonl", lines(supervision("s2", "r1")))
    entries, _ = read(tmp_path / "c", "lhotse")
    assert {entry.utt: entry.split for entry in entries} == {"s1": "valid", "s2": "train"}


def test_lhotse_cuts_come_before_what_they_were_made_of(tmp_path: Path, write: Write) -> None:
    said = [
        supervision("s1", "r1", text="one", speaker="ann"),
        supervision("s2", "r1", text="two", speaker="bob"),
    ]
    cut = {
        "id": "c1",
        "type": "MonoCut",
        "start": 4.0,
        "duration": 1.5,
        "channel": 0,
        "recording": recording("r1"),
    }
    write("recordings.jsonl", lines(recording("r1")))
    write(
        "cuts_test-clean.jsonl",
        lines(
            {**cut, "supervisions": said},
            {**cut, "id": "c2", "recording": recording("two", 2)},
            {"id": "c3", "type": "MixedCut", "tracks": []},
            {"id": "c4", "type": "MonoCut"},
            {**cut, "id": "c5", "recording": recording("fast", transforms=[{"name": "Speed"}])},
        )
        + "{torn\n",
    )
    entries, refused = read(tmp_path / "c", "lhotse")
    assert [(e.utt, e.begin, e.end, e.text, e.speaker, e.split) for e in entries] == [
        ("c1", 4.0, 5.5, "one two", "", "test-clean")
    ]
    assert [r.path for r in refused] == [f"cuts_test-clean.jsonl:{n}" for n in (2, 3, 4, 5, 6)]
    assert refused[-1].group == "is not JSON"


def test_a_gzip_that_breaks_off_keeps_what_came_before(tmp_path: Path, write: Write) -> None:
    rows = [{"audio_filepath": f"/{i}-{os.urandom(16).hex()}.wav"} for i in range(2000)]
    path = write("x.jsonl.gz", lines(*rows))
    path.write_bytes(path.read_bytes()[:-4000])
    entries, refused = read(tmp_path / "c", "nemo")
    assert 0 < len(entries) < 2000 and [r.group for r in refused] == ["table breaks off"]


def test_a_gzip_that_is_damaged_inside_keeps_what_came_before(tmp_path: Path, write: Write) -> None:
    """After the first thousand rows stands a block of a kind that there is not."""
    text = lines(*({"audio_filepath": f"/{i}.wav"} for i in range(1000))).encode()
    packer = zlib.compressobj(wbits=31)
    content = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    write("x.jsonl.gz", "").write_bytes(content + b"\x07" + bytes(100))
    entries, refused = read(tmp_path / "c", "nemo")
    assert 500 < len(entries) <= 1000 and [r.group for r in refused] == ["table breaks off"]


def test_names_and_seconds_of_a_row_are_of_their_kind() -> None:
    row = {"a": ["x"], "b": 7, "c": None, "d": 0, "e": 1.5}
    assert json_lines.string(row, "a", "b") == "7" and json_lines.string(row, "d") == "0"
    assert json_lines.string(row, "a", "c", "gone") == ""
    assert json_lines.seconds(row, "c", 3.0) == 3.0 and json_lines.seconds(row, "b", None) == 7.0
    assert json_lines.seconds({"a": 10**13}, "a", None) == float("inf")
    for wrong in (True, "1", [1]):
        with pytest.raises(ValueError, match=r"a is .*, expected seconds"):
            json_lines.seconds({"a": wrong}, "a", None)


def test_a_table_of_something_else_is_left_after_many_broken_lines(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "_MOST_BROKEN", 3)
    write("x.jsonl", lines({"a": 1}) + "[1]\n{\n\n" + lines({"b": 2}) + "3\n4\n5\n")
    found = list(json_lines.rows(open_folder(str(tmp_path / "c")), "x.jsonl"))
    assert [item.path if isinstance(item, Refusal) else item[0] for item in found] == [
        *(f"x.jsonl:{number}" for number in (1, 2, 3, 5, 6, 7, 7)),
    ]
    assert isinstance(found[-1], Refusal) and "none of JSON objects; the rest is left out" in found[-1].reason


@pytest.mark.parametrize("first", ["[1]", "3", "{", ""])
def test_a_file_of_json_that_begins_with_no_object_is_no_table(
    tmp_path: Path, write: Write, first: str
) -> None:
    write("x.jsonl", f"{first}\n" + lines({"path": "a.wav"}))
    assert json_lines.tables(open_folder(str(tmp_path / "c"))) == []
    assert json_lines.first_row(str(tmp_path / "gone.json")) == {}


def test_tables_of_nemo_s_and_lhotse_s_lie_in_the_folder_that_is_named(tmp_path: Path, write: Write) -> None:
    write("in/x.jsonl", lines({"audio_filepath": "a.wav"}))
    write("in/y.jsonl", lines(recording("r1")))
    for kind in ("nemo", "lhotse"):
        assert not KINDS[kind].fits(open_folder(str(tmp_path / "c")))
        assert KINDS[kind].fits(open_folder(str(tmp_path / "c" / "in")))


@pytest.mark.parametrize("kind", ["nemo", "lhotse", "table", "fairseq"])
def test_pieces_of_a_file_are_of_one_recording_whatever_else_differs(
    tmp_path: Path, write: Write, kind: str
) -> None:
    """By which no split divides it."""
    pieces = [(name, 2.0 * i) for i in range(2) for name in ("one", "two")]
    if kind == "nemo":
        rows = [
            {"audio_filepath": f"{n}.wav", "offset": at, "duration": 1, "text": n + str(at)}
            for n, at in pieces
        ]
        write("x.jsonl", lines(*rows))
    elif kind == "lhotse":
        write("r.jsonl", lines(recording("one"), recording("two")))
        write("s.jsonl", lines(*(supervision(f"{n}{at}", n, start=at) for n, at in pieces)))
    elif kind == "table":
        rows = [f"{n}{at},{n}.wav,{at},1,{n}{at}" for n, at in pieces]
        write("x.csv", "\n".join(["ID,wav,start,duration,wrd", *rows, ""]))
    else:
        rows = [f"{n}.wav\t{int(at)}\t9\t{n}{at}" for n, at in pieces]
        write("x.tsv", "\n".join(["/far", "# path\tstart\tsamples\tutt", *rows, ""]))
    entries, refused = read(tmp_path / "c", kind)
    assert len({entry.begin for entry in entries}) == 2 and not refused
    first, second, third, fourth = (
        entry.unit for entry in sorted(entries, key=lambda each: (each.path, each.begin))
    )
    assert first == second != third == fourth


def test_a_cut_of_lhotse_s_has_a_speaker_where_its_supervisions_agree_and_may_have_none(
    tmp_path: Path, write: Write
) -> None:
    said = [supervision(name, "r1", text=name, speaker="ann", language="de") for name in ("one", "two")]
    whole = {"type": "MonoCut", "recording": recording("r1"), "start": 0, "duration": 1.5, "channel": 0}
    rows = ({**whole, "supervisions": said}, {**whole, "supervisions": None}, {**whole, "duration": None})
    write("cuts.jsonl", lines(*({"id": f"c{number}", **row} for number, row in enumerate(rows))))
    entries, refused = read(tmp_path / "c", "lhotse")
    assert not refused
    assert [(e.utt, e.text, e.speaker, e.lang, e.begin, e.end) for e in entries] == [
        ("c0", "one two", "ann", "de", 0.0, 1.5),
        ("c1", "", "", "", 0.0, 1.5),
        ("c2", "", "", "", 0.0, None),
    ]


def test_a_recording_of_several_files_is_not_taken_for_its_first(tmp_path: Path, write: Write) -> None:
    source = {"type": "file", "channels": [0], "source": "a.wav"}
    write("recordings.jsonl", lines(recording("r1"), recording("two", sources=[source, source])))
    entries, refused = read(tmp_path / "c", "lhotse")
    assert [e.utt for e in entries] == ["r1"]
    assert refused == [
        Refusal("recordings.jsonl:2", "is not a single audio file (file, file); save it as one")
    ]
