"""TextGrids: both forms in any coding, tiers by their names, pieces from their own beginning."""

from pathlib import Path

import pytest

from vqw2v_plugin.corpora.gather import Sources, gather
from vqw2v_plugin.corpora.sources import Entry, SourceError
from vqw2v_plugin.corpora.sources.entry import Timed
from vqw2v_plugin.corpora.sources.textgrid import parse_times, read_textgrid, within
from vqw2v_plugin.corpora.times import TextGrids, with_names

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.0
            text = "schön"
        intervals [3]:
            xmin = 1.0
            xmax = 1.5
            text = "say ""yes"" 2"
    item [2]:
        class = "TextTier"
        name = "bells"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "ding"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"ann - phones"
0
1.5
2
0
0.25
"a"
0.25
1.5
"b"
"""


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
def test_the_long_form_in_every_coding(tmp_path: Path, coding: str) -> None:
    (tmp_path / "a.TextGrid").write_text("\ufeff" * ("16" in coding) + LONG, encoding=coding)
    assert read_textgrid(str(tmp_path / "a.TextGrid")) == {
        "words": ((0.5, 1.0, "schön"), (1.0, 1.5, 'say "yes" 2'))
    }


def test_the_short_form_with_a_speaker_s_tier(tmp_path: Path) -> None:
    for quarter in ("0.25", "2.5e-1", ".25", "+25E-2"):
        (tmp_path / "a.TextGrid").write_text(SHORT.replace("0.25", quarter))
        assert read_textgrid(str(tmp_path / "a.TextGrid")) == {"phones": ((0, 0.25, "a"), (0.25, 1.5, "b"))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("words", "does not begin"),
        (SHORT[:-10], "breaks off"),
        (SHORT.replace("ann - phones", "tones"), "no tier named words or phones, only 'tones'"),
        (SHORT.replace("0.25\n1.5", "1.5\n0.25"), "the earlier first"),
        (SHORT.replace("\n2\n", "\n99999999999999\n"), "breaks off"),
        (SHORT.replace('"a"', "7"), "breaks off: got 7, expected a text in quotation marks"),
    ],
)
def test_what_is_no_textgrid_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_textgrid(str(tmp_path / "a.TextGrid"))


@pytest.mark.parametrize("text", ["3", "[[0, 1]]", '[[0, "1", "a"]]', '[{"start": 0}]', "[[0, NaN, 1]]", "["])
def test_lists_of_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_times(text)


def test_a_piece_has_the_words_that_lie_in_it_from_its_own_beginning() -> None:
    times = {"words": parse_times('[[0, 1, "a"], [1, 2, "b"], [2, 3.5, "c"]]')}
    assert within(times, 1.0, 3.0) == {"words": ((0.0, 1.0, "b"),)}
    assert within(times, 0.0, None) == times
    # tables round seconds: what an edge cuts by 5 ms at most is in the piece, from its beginning on
    for begin, end, kept in (
        (1.005, 1.995, ["b"]),
        (1.006, 2.0, []),
        (1.0, 1.994, []),
        (0.999, 2.001, ["b"]),
    ):
        found = within(times, begin, end)["words"]
        assert [each.label for each in found] == kept and all(each.start >= 0 for each in found)


def test_a_folder_of_textgrids_is_joined_by_path_id_or_stem_and_the_rest_is_told(tmp_path: Path) -> None:
    for name in ("c/ann/a.wav", "c/bob/a.wav", "c/bob/b.wav", "c/bob/d.wav", "c/cid/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("ann/a", "bob/a", "b"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / f"{name}.TextGrid").write_text(SHORT)
    (tmp_path / "t" / "b.TextGrid").write_text("no")
    found = gather([str(tmp_path / "c")], Sources(times=str(tmp_path / "t")))
    assert [(e.utt, len(e.phones)) for e in found.entries] == [
        ("ann/a", 2),
        ("bob/a", 2),
        ("b", 0),
        ("d", 0),
        ("cid/a", 0),  # whose is which of the two that are called so nobody knows
    ]
    assert "2 utterances have no TextGrid: d, cid/a" in found.notes
    assert any("cannot be used: b.TextGrid (does not begin" in note for note in found.notes)


def test_a_textgrid_at_its_wav_s_own_place_is_its_whoever_else_is_called_so(tmp_path: Path) -> None:
    for name in ("a", "ann/a"):
        for root, ending in (("c", "wav"), ("t", "TextGrid" if name == "a" else "textgrid")):
            path = tmp_path / root / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SHORT.replace('"b"', f'"of_{name}"'))
    found = gather([str(tmp_path / "c")], Sources(times=str(tmp_path / "t")))
    assert {e.path: e.phones[1].label for e in found.entries} == {"a.wav": "of_a", "ann/a.wav": "of_ann/a"}
    assert found.notes == []


def test_what_a_table_tells_stays_where_no_textgrid_tells_more(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.TextGrid").write_text(SHORT)
    told = (Timed(0.0, 1.0, "ja"),)
    both = [Entry(f"{name}.wav", "", words=told, phones=told) for name in "ab"]
    a, b = TextGrids(str(tmp_path / "t")).add_to(both)
    assert a.words == b.words == b.phones == told and len(a.phones) == 2  # it has no words


def test_what_no_line_of_times_can_hold_is_refused_and_every_line_has_an_id(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "t.csv").write_text(
        "file;id;word_times\n"
        'a.wav;u 1;"[[0, 1, ""ja""]]"\n'
        'b.wav;u2;"[[0, 1, ""ja nein""]]"\n'
        'c.wav;u2;"[[0, 1, ""ja""]]"\n'
    )
    found = gather([str(tmp_path / "c" / "t.csv")], Sources())
    assert [entry.utt for entry in found.entries] == ["a", "c"]  # ids that are there twice are none
    assert [refusal.group for refusal in found.refused] == ["has white space among its words"]
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "c.TextGrid").write_text(SHORT.replace('"a"', '"a a"'))
    (tmp_path / "c" / "t.csv").write_text("file,id\na.wav,u 1\nc.wav,u2\n")
    found = gather([str(tmp_path / "c" / "t.csv")], Sources(times=str(tmp_path / "t")))
    assert [entry.utt for entry in found.entries] == ["u 1"]
    assert [refusal.group for refusal in found.refused] == ["has white space among its phones"]


def test_of_two_tiers_of_a_name_nobody_knows_whose_is_meant(tmp_path: Path) -> None:
    tiers = SHORT[SHORT.index('"IntervalTier"') :]
    two = SHORT.replace("<exists>\n1\n", "<exists>\n2\n") + tiers.replace("ann", "bob")
    (tmp_path / "a.TextGrid").write_text(two)
    with pytest.raises(ValueError, match=r"has several tiers of phones \(ann - phones, bob - phones\)"):
        read_textgrid(str(tmp_path / "a.TextGrid"))
    (tmp_path / "a.TextGrid").write_text(two.replace("bob - phones", "Bob - Words"))
    found = read_textgrid(str(tmp_path / "a.TextGrid"))
    assert found["words"] == found["phones"] == ((0, 0.25, "a"), (0.25, 1.5, "b"))


def test_pieces_take_their_own_times_but_where_they_are_counted_in_samples(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.TextGrid").write_text(SHORT)
    grids = TextGrids(str(tmp_path / "t"))
    pieces = [
        Entry("x/a.wav", "x/a.wav", begin=0.25, end=1.5),
        Entry("x/a.wav", "x/a.wav", begin=4_000, end=24_000, counted=True),
        Entry("x/a.wav", "x/a.wav", end=24_000, counted=True),
        Entry("x/b.wav", "x/b.wav", utt="a"),
    ]
    cut, counted, whole, named = grids.add_to(pieces)
    assert cut.phones == ((0.0, 1.25, "b"),) and counted.phones == () and len(whole.phones) == 2
    assert len(named.phones) == 2  # by its id
    assert [entry.utt for entry in (cut, counted, whole, named)] == ["a_0.25", "a_4000", "a_0", "a"]
    said = "1 TextGrids cannot be used: a.TextGrid (is of a piece that is counted in samples; expected"
    assert next(note for note in grids.notes if "cannot be used" in note).startswith(said)
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match=r"`--times` is .*none, which holds no \*\.TextGrid"):
        TextGrids(str(tmp_path / "none"))


def test_ids_are_stems_or_paths_where_two_files_have_a_stem() -> None:
    paths = ("one/a.wav", "two/a.wav", "two/b c.wav", "d.wav")
    entries = [Entry(path, path, utt="own" if path == "d.wav" else "") for path in paths]
    assert [entry.utt for entry in with_names(entries)] == ["one/a", "two/a", "b_c", "own"]


def test_tiers_of_points_are_passed_over_wherever_they_stand(tmp_path: Path) -> None:
    first, second = LONG.index("    item [1]:"), LONG.index("    item [2]:")
    turned = LONG[:first] + LONG[second:] + LONG[first:second]
    (tmp_path / "a.TextGrid").write_text(turned)
    assert [each.label for each in read_textgrid(str(tmp_path / "a.TextGrid"))["words"]] == [
        "schön",
        'say "yes" 2',
    ]
    (tmp_path / "a.TextGrid").write_text(LONG[:second].replace("<exists>", "<absent>"))
    with pytest.raises(ValueError, match="has no tier named words or phones, only none"):
        read_textgrid(str(tmp_path / "a.TextGrid"))


def test_lists_of_times_are_sorted_and_their_fields_have_several_names() -> None:
    ways = (
        '[[1, 2, " b "], [0, 1, "a"]]',
        '[{"start": 1, "end": 2, "label": "b"}, {"begin": 0, "stop": 1, "word": "a"}]',
        '[{"phone": "b", "end": 2.0, "begin": 1}, {"text": "a", "start": 0, "stop": 1}]',
    )
    assert [parse_times(text) for text in ways] == [((0.0, 1.0, "a"), (1.0, 2.0, "b"))] * 3
    assert parse_times('[[0.5, 0.5, "x"]]') == ((0.5, 0.5, "x"),)  # which aligners have at times
    for wrong in ('[[-1, 0, "a"]]', '[[0, true, "a"]]', '[{"start": 0, "end": 1}]', '[[0, 1, "a", 2]]'):
        with pytest.raises(ValueError):
            parse_times(wrong)
