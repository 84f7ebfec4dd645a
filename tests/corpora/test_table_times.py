"""Tables' pieces and times: where a piece begins and ends, in seconds or samples, and what is said when."""

import json
from pathlib import Path

import pytest
from source_files import Write, lines, read


def test_a_column_of_splits_and_one_of_pieces_in_seconds_or_samples(tmp_path: Path, write: Write) -> None:
    write("t.wav")
    write("a.tsv", "path\tsplit\toffset\tduration\nt.wav\tdev\t0.5\t1\nt.wav\teval\t2\t\n")
    entries, _ = read(tmp_path / "c", "table")
    assert [(e.split, e.begin, e.end, e.counted) for e in entries] == [
        ("valid", 0.5, 1.5, False),
        ("eval", 2.0, None, False),
    ]
    (tmp_path / "c" / "a.tsv").unlink()
    write("b.csv", "ID,wav,start,stop\nu,t.wav,8000,16000\n")
    ((entry,), _) = read(tmp_path / "c", "table")
    assert (entry.begin, entry.end, entry.counted) == (8000, 16000, True)
    write("b.csv", "ID,wav,start,end\nu,t.wav,8,16\n")
    ((entry,), _) = read(tmp_path / "c", "table")
    assert (entry.begin, entry.end, entry.counted) == (8, 16, False)


def test_times_stand_in_a_column_as_a_list_or_in_textgrids(tmp_path: Path, write: Write) -> None:
    write("a.wav")
    word = {"word": "ja", "start": 0.1, "end": 0.4}
    write("t.jsonl", lines({"path": "a.wav", "word_times": [word], "phone_times": [[0.1, 0.2, "j"]]}))
    ((entry,), _) = read(tmp_path / "c", "table")
    assert entry.words == ((0.1, 0.4, "ja"),) and entry.phones == ((0.1, 0.2, "j"),)
    write(
        "t.jsonl",
        lines({"path": "a.wav", "word_times": [[0.4, 0.1, "ja"]]}, {"path": "a.wav", "word_times": 3}),
    )
    assert [r.path for r in read(tmp_path / "c", "table")[1]] == ["t.jsonl:1", "t.jsonl:2"]


def test_times_in_a_column_go_before_those_of_a_textgrid_and_both_begin_with_their_piece(
    tmp_path: Path, write: Write
) -> None:
    grid = (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n0 9 <exists> 2 '
        '"IntervalTier" "words" 0 9 2 1 2 "of" 2 3 "grid" "IntervalTier" "phones" 0 9 1 2 2.5 "g"'
    )
    write("a.wav"), write("times/a.TextGrid", grid)
    head = "path\tstart\tstop\ttextgrid\tword_times\n"
    own = json.dumps([[0.5, 0.75, "own"]])
    write("t.tsv", f"{head}a.wav\t1.5\t4\ttimes/a.TextGrid\t\na.wav\t2\t4.5\ttimes/a.TextGrid\t{own}\n")
    of_grid, mixed = read(tmp_path / "c", "table")[0]
    assert (of_grid.words, of_grid.phones) == (((0.5, 1.5, "grid"),), ((0.5, 1.0, "g"),))
    assert (mixed.words, mixed.phones) == (((0.5, 0.75, "own"),), ((0.0, 0.5, "g"),))
    write("t.tsv", "path\tstart\tsamples\ttextgrid\na.wav\t8000\t16000\ttimes/a.TextGrid\n")
    ((counted,), _) = read(tmp_path / "c", "table")  # whose samples nobody can tell in seconds yet
    assert counted.counted and len(counted.words) == 2


@pytest.mark.parametrize(
    ("head", "values", "span"),
    [
        ("start,stop", "8000,16000", (8000, 16000, True)),
        ("start,stop", "0.5,1.5", (0.5, 1.5, False)),
        ("start,stop", "1,1.5", (1, 1.5, False)),
        ("start,end_time", "1,2", (1, 2, False)),
        ("start,samples", "100,50", (100, 150, True)),
        ("start,duration", "1,2.5", (1, 3.5, False)),
        ("begin,duration", "1,", (1, None, False)),
        ("samples,duration", "50,9", (0, None, False)),  # the file's own
        ("start,stop", ",16000", (0, None, False)),
        ("offset,start,duration", "7,2,1", (2, 3, False)),
    ],
)
def test_where_a_piece_lies_is_told_in_many_ways(
    tmp_path: Path, write: Write, head: str, values: str, span: tuple[float, float | None, bool]
) -> None:
    write("a.wav")
    write("t.csv", f"path,{head}\na.wav,{values}\n")
    ((entry,), refused) = read(tmp_path / "c", "table")
    assert (entry.begin, entry.end, entry.counted) == span and not refused
