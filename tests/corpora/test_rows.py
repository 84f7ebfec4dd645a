"""Rows: segments in samples of their own file, the columns that a corpus knows, speakers from paths."""

import json
import shutil
from pathlib import Path

import pytest
from sounds import Sound

from vqw2v_plugin import __main__ as cli
from vqw2v_plugin.corpora.headers import Answer, Header
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.rows import Limits, Row, make_rows, name_speaker, named_by, path_finder, tidy
from vqw2v_plugin.corpora.sources import Entry, Refusal, SourceError
from vqw2v_plugin.corpora.sources.entry import Timed


def manifest(*arguments: object) -> int:
    return cli.main(["manifest", *map(str, arguments)])


def test_segments_are_counted_in_samples_of_their_file(tmp_path: Path, wav: Sound) -> None:
    wav("r.wav", 22_050, 22_050)
    wav("r2.wav", 8_000, 8_000)
    (tmp_path / "c" / "wav.scp").write_text("r r.wav\nr2 r2.wav\nr3 x |\n")
    spans = {
        "whole": "r 0 0.995",
        "mid": "r 0.1 0.30005",
        "near": "r2 0.5 0.99",
        "over": "r2 0.5 1.2",
        "far": "r2 0.2 1.9",
        "edge": "r2 1 1.3",
        "back": "r 0.5 0.4",
        "minus": "r 0.5 -2",  # -1 alone stands for the end
        "blink": "r 0.5 0.50001",
        "ages": "r 0.5 1e308",  # as samples it is beyond a number
    }
    (tmp_path / "c" / "segments").write_text(
        "".join(f"{u} {s}\n" for u, s in spans.items()) + "mid r2 0 1\nnan r nan 1\n"
    )
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    rows = {u.utt: u for s in ("train", "valid") for u in Manifest(tmp_path / "o" / f"{s}.tsv")}
    assert {u: (row.start, row.samples, row.rate) for u, row in rows.items()} == {
        "whole": (0, 22_050, 22_050),  # the table rounds; 5 ms are no reason to cut
        "mid": (2205, 4411, 22_050),
        "near": (4000, 3920, 8_000),  # of a part, the table's end is meant
        "over": (4000, 4000, 8_000),
    }
    lines = (tmp_path / "o" / "refused.tsv").read_text()
    assert "is shorter than the table says (far: 0.2 to 1.9 s, the file 1 s)" in lines
    assert "is shorter than the table says (edge: 1 to 1.3 s, the file 1 s)" in lines
    assert "has the id of another utterance (mid, of r.wav)" in lines
    assert lines.count("utterance has no length") == 5 and "is a piped command" in lines


def test_stretches_that_begin_alike_are_two_unless_they_end_alike(tmp_path: Path, wav: Sound) -> None:
    wav("x.wav", 16_000)
    rows = [{"audio_filepath": "x.wav", "duration": seconds} for seconds in (0.5, 0.25, 0.5)]
    (tmp_path / "c" / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert manifest(tmp_path / "c", tmp_path / "o", "--valid", 0) == 0
    assert sorted(Manifest(tmp_path / "o" / "train.tsv").sizes.tolist()) == [4000, 8000]
    assert "is listed twice (from sample 0)" in (tmp_path / "o" / "refused.tsv").read_text()


def test_columns_are_those_that_the_corpus_knows(tmp_path: Path, wav: Sound) -> None:
    wav("1-2-0001.wav")
    folder = tmp_path / "c" / "train-x" / "1" / "2"
    folder.mkdir(parents=True)
    shutil.move(tmp_path / "c" / "1-2-0001.wav", folder)
    (folder / "1-2.trans.txt").write_text("1-2-0001 ONE\u00a0 \tTWO\n")
    assert manifest(tmp_path / "c", tmp_path / "o") == 0
    found = Manifest(tmp_path / "o" / "train.tsv")
    assert found.columns == ("path", "samples", "rate", "utt", "speaker", "subset", "text")
    assert found[0].speaker == "1" and found[0].extra == {"subset": "train-x", "text": "ONE TWO"}
    assert Manifest(tmp_path / "o" / "valid.tsv").columns == found.columns


@pytest.mark.parametrize("where", ["1", "^([^/]+)/", "-2", "spk[0-9]"])
def test_speakers_may_be_told_by_the_path(tmp_path: Path, wav: Sound, where: str) -> None:
    for i in range(40):
        wav(f"spk{i % 8}/{i}.wav", 160)
    options = ["--speaker-disjoint", "--valid", 0.3, "--speaker-from", where]
    assert manifest(tmp_path / "c", tmp_path / "o", *options) == 0
    speakers = [set(Manifest(tmp_path / "o" / f"{s}.tsv").column("speaker")) for s in ("train", "valid")]
    assert not speakers[0] & speakers[1] and speakers[0] | speakers[1] == {f"spk{i}" for i in range(8)}


@pytest.mark.parametrize("label", ["", "a b", "a\tb", "a\nb", "\udd00"])
def test_times_of_what_is_no_word_are_refused(label: str) -> None:
    timed = (Timed(0.0, 0.5, "the"), Timed(0.5, 1.0, label))
    for column in ("words", "phones"):
        entry = Entry("x.wav", "x", **{column: timed})
        found = tidy(entry)
        assert isinstance(found, Refusal) and found.path == "x.wav"
        assert found.reason == f"has white space among its {column} ({label!r}); rename it"
        assert tidy(entry._replace(**{column: timed[:1]})) == entry._replace(**{column: timed[:1]})


def test_stretches_of_a_file_stand_in_the_order_of_their_times(tmp_path: Path, wav: Sound) -> None:
    for name in ("a.wav", "b.wav"):
        wav(name, 16_000)
    (tmp_path / "c" / "wav.scp").write_text("b b.wav\na a.wav\n")
    (tmp_path / "c" / "segments").write_text("u b 0 1\nv a 0.5 1\nz a 0.25 0.5\nw a 0.25 1\n")
    assert manifest(tmp_path / "c", tmp_path / "o", "--valid", 0) == 0
    assert Manifest(tmp_path / "o" / "train.tsv").column("utt") == ["w", "z", "v", "u"]


def test_limits_are_themselves_allowed_and_a_name_for_half_a_character_is_not() -> None:
    entries = [Entry(f"{n}.wav", "") for n in (799, 800, 1600, 1601)]
    headers: dict[str, Answer] = {
        entry.path: Header(0, 0, 8_000, int(entry.path[:-4]), 1) for entry in entries
    }
    made = list(make_rows(entries, headers, Limits(0.1, 0.2)))
    assert [item.samples for item in made if isinstance(item, Row)] == [800, 1600]
    assert [item.group for item in made if isinstance(item, Refusal)] == [
        "is shorter than `--min`",
        "is longer than `--max`",
    ]
    for column in ("path", "utt", "speaker", "lang", "subset"):
        for name, what in (("a\tb", "a tab or a line break"), ("a\ud800", "half a character")):
            refusal = tidy(Entry("x.wav", "")._replace(**{column: name}))
            assert isinstance(refusal, Refusal) and f"has {what} in its {column} " in refusal.reason
        assert isinstance(tidy(Entry("x.wav", "")._replace(**{column: "a\udcff"})), Entry)
    tidied = tidy(Entry("x.wav", "", text=" a\t b\n"))
    assert isinstance(tidied, Entry) and tidied.text == "a b"


def test_parts_of_a_path_are_its_folders_and_its_name_without_the_suffix() -> None:
    named = [
        named_by("a/b.c/d.e.wav", path_finder(where)) for where in ("1", "2", "3", "4", "-1", "-3", "-4")
    ]
    assert named == ["a", "b.c", "d.e", "", "d.e", "a", ""]
    finders = (r"/(\w)", r"\w\.\w", r"(x)?/b", "none")
    assert [named_by("a/b.c/d.wav", path_finder(where)) for where in finders] == ["b", "b.c", "", ""]


def test_a_table_may_say_half_a_second_more_than_there_is_and_no_more() -> None:
    def made(begin: float, end: float) -> Row | Refusal:
        header = Header(0, 0, 8_000, 16_000, 1)
        (found,) = make_rows([Entry("a.wav", "a", begin=begin, end=end)], {"a.wav": header}, Limits())
        return found

    for begin in (0.0, 1.0):
        exact, beyond = made(begin, 2.5), made(begin, 2.501)
        assert isinstance(exact, Row) and exact.start + exact.samples == 16_000
        assert isinstance(beyond, Refusal) and beyond.group == "is shorter than the table says"
    near, off = made(0.0, 1.98), made(0.0, 1.979)  # 20 ms are rounding
    assert isinstance(near, Row) and isinstance(off, Row) and (near.samples, off.samples) == (16_000, 15_832)


def test_of_a_regular_expression_s_groups_the_first_names_the_speaker() -> None:
    assert named_by("spk7_room3.wav", path_finder(r"(spk\d)_(room\d)")) == "spk7"
    assert named_by("spk7_room3.wav", path_finder(r"room\d")) == "room3"
    assert named_by("spk7_room3.wav", path_finder(r"(room9)?spk")) == ""


@pytest.mark.parametrize(("least", "most"), [(2.0, 1.0), (-0.1, 1.0), (float("nan"), 1.0)])
def test_limits_that_leave_no_length_are_refused(least: float, most: float) -> None:
    assert Limits(1.0, 1.0).least == 1.0
    with pytest.raises(SourceError, match=r"`--min` .* and `--max` .* leave no length; expected min"):
        Limits(least, most)


@pytest.mark.parametrize(
    ("pattern", "says"), [("0", "0; parts of a path are counted from 1"), ("(", "no regular expression")]
)
def test_what_finds_nothing_in_a_path_is_refused_by_its_option(pattern: str, says: str) -> None:
    for option in ("--speaker-from", "--split-from"):
        with pytest.raises(SourceError, match=f"`{option}` is .*{says}"):
            path_finder(pattern, option)


def test_a_path_that_names_no_speaker_is_refused() -> None:
    found = name_speaker(Entry("a.wav", "a", speaker="ann"), path_finder("(spk[0-9]+)_"))
    assert found == Refusal("a.wav", "path names no speaker; widen `--speaker-from`")


def test_an_id_beside_times_is_one_word() -> None:
    timed = (Timed(0.0, 0.5, "the"),)
    for times in ({"words": timed}, {"phones": timed}):
        found = tidy(Entry("a.wav", "a", utt="u 1", **times))
        assert isinstance(found, Refusal) and found.group == "has white space in its id, beside times"
        assert isinstance(tidy(Entry("a.wav", "a", utt="u1", **times)), Entry)
    assert isinstance(tidy(Entry("a.wav", "a", utt="u 1")), Entry)


def test_stretches_that_are_counted_in_samples_are_of_the_file_s_own_rate() -> None:
    header = {"a.wav": Header(0, 0, 8_000, 16_000, 1)}
    spans = ((4_000, 12_000), (4_000, None), (0, None), (12_000, 20_001), (12_000, 20_000))
    entries = [Entry("a.wav", "a", begin=begin, end=end, counted=True) for begin, end in spans]
    made = list(make_rows(entries, header, Limits()))
    found = [(item.start, item.samples) if isinstance(item, Row) else item.group for item in made]
    short = "is shorter than the table says"
    assert found == [(4_000, 8_000), (4_000, 12_000), (0, 16_000), short, (12_000, 4_000)]
