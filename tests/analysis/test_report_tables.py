"""The report's tables of codes, phones and results: each figure in its column, under its head."""

import base64
import dataclasses
import html
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from report_tables import NARROW, table_of
from small_run import make_run

from vqw2v_plugin.analysis.code_map import CodeMap, Heard, OwnCode
from vqw2v_plugin.analysis.phone_codes import phone_code_table
from vqw2v_plugin.analysis.report_page import assemble, beside, codes, groups, results
from vqw2v_plugin.analysis.run_results import Abx, Confusion, ErrorRates, MapRow, UsageRow
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.recipes.folder import RunFolder, StageFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def view_of(run: Path, **options: Any) -> RunView:
    return RunView(RunFolder(run), PageOptions(**options))


def test_the_codebook_s_table_has_each_figure_in_its_column(run: Path) -> None:
    view = view_of(run)
    (each,), usage = view.statistics, view.statistics[0].usage
    markup = codes.codebook_section(view).body
    assert table_of(markup) == [
        {
            "codes of": "tokens",
            "groups × codes": "2 × 4",
            "in use": f"75{NARROW}",
            "perplexity, by group": f"{usage.perplexity[0]:.1f}, {usage.perplexity[1]:.1f}",
            "tokens in use": "4",
            "their perplexity": f"{usage.joint_perplexity:.1f}",
            "nominal bit/s": "400",
            "entropy bit/s": f"{each.bitrate.entropy:.0f}",
            "tokens/s, runs merged": f"{each.bitrate.tokens_per_second:.1f}",
        }
    ]
    assert "588 frames of 6 utterances of test" in markup
    assert "rank 1: token 1-0, " in html.unescape(markup)
    assert f"perplexity {usage.perplexity[0]:.1f}; all in use" in markup
    assert f"perplexity {usage.perplexity[1]:.1f}; 2 unused" in markup


def test_the_phones_table_has_each_figure_in_its_column(run: Path) -> None:
    view = view_of(run)
    counts = view.statistics[0].table
    assert counts is not None
    (row,) = table_of(codes.phones_section(view).body)
    told = counts.information
    assert row == {
        "codes of": "tokens",
        "split": "test",
        "frames": f"{counts.num_frames:,}",
        "phones": "3",
        "told, bits": f"{told.bits:.2f}",
        "of, bits": f"{told.phone_entropy:.2f}",
        "normalised": f"{100 * told.share:.1f}{NARROW}",
        "phone purity": f"{100 * counts.phone_purity:.1f}{NARROW}",
        "chance": f"{100 * counts.chance:.1f}{NARROW}",
        "code purity": f"{100 * counts.code_purity:.1f}{NARROW}",
    }
    assert len(set(row.values())) == len(row)


def test_a_heat_map_of_many_tokens_says_of_how_many_frames_it_is(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(run)
    counts = view.statistics[0].table
    assert counts is not None and "most frequent of" not in codes.phones_section(view).body
    monkeypatch.setattr(codes, "_COLUMNS", 2)
    share = sum(sorted(counts.counts.sum(0).tolist())[-2:]) / counts.num_frames
    wanted = f"the 2 most frequent of 4 tokens, {100 * share:.0f}{NARROW} of the frames"
    assert wanted in codes.phones_section(view).body


@pytest.mark.parametrize(("tokens", "note"), [(240, ""), (241, "the 240 most frequent of 241 tokens")])
def test_a_heat_map_has_as_many_columns_as_can_be_told_apart(run: Path, tokens: int, note: str) -> None:
    view, many = view_of(run), np.arange(tokens)[:, None]
    table = phone_code_table(many, ["a"] * tokens)
    view.__dict__["statistics"] = [dataclasses.replace(view.statistics[0], table=table)]
    body = codes.phones_section(view).body
    assert note in body and ("most frequent of" in body) == bool(note)


def test_unused_codes_are_counted_group_by_group_and_ranks_begin_at_1(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (each,) = view_of(run).statistics
    usage = dataclasses.replace(each.usage, used=(4, 1), perplexity=(3.5, 1.0))
    notes = re.findall("perplexity [^<]*</span>", codes._groups(dataclasses.replace(each, usage=usage)))
    assert notes == ["perplexity 3.5; all in use</span>", "perplexity 1.0; 3 unused</span>"]
    drawn: list[Any] = []
    monkeypatch.setattr(codes, "rank_chart", lambda *told: drawn.append(told) or "")
    codes._zipf([each])
    ((series, tips),) = drawn
    shares = [share for _, share in each.ranks]
    assert series == {"tokens": list(zip(range(1, 5), shares, strict=True))}
    assert [tip.partition(" of")[0] for tip in tips["tokens"]] == [
        f"rank {i}: token {token}, {100 * share:.3f}{NARROW}"
        for i, (token, share) in enumerate(each.ranks, 1)
    ]


def test_a_phone_has_up_to_six_tokens_the_most_frequent_first() -> None:
    ids = np.repeat(np.arange(8), np.arange(8, 0, -1))[:, None]
    (row,) = table_of(codes._top_tokens(phone_code_table(ids, ["a"] * len(ids))))
    assert row["frames"] == "36"
    tokens = row["most frequent tokens"].split(", ")
    assert [token.partition(" ")[0] for token in tokens] == list("012345")
    assert tokens[0] == f"0 (22{NARROW})"


def test_a_phone_s_tokens_are_those_that_it_has() -> None:
    rows = table_of(codes._top_tokens(phone_code_table(np.array([[0], [0], [1]]), ["a", "a", "b"])))
    assert [row["most frequent tokens"] for row in rows] == [f"0 (100{NARROW})", f"1 (100{NARROW})"]


def test_times_of_phones_that_are_missing_are_named_for_their_split(run: Path) -> None:
    (run / "corpus/data/test.phones.ctm").unlink()
    assert "test.phones.ctm beside the manifest" in codes.phones_section(view_of(run)).body


def rates_of(**changes: Any) -> ErrorRates:
    found = {
        "name": "words/greedy",
        "decoder": "lexicon and language model",
        "split": "dev",
        "unit": "phones",
        "rate": 12.34,
        "counts": {"substitutions": 1234, "deletions": 2, "insertions": 3},
        "length": 5678,
        "frequent": {"substitutions": (), "deletions": (), "insertions": ()},
    }
    return ErrorRates(**{**found, **changes})


def test_the_rates_table_has_each_figure_in_its_column(run: Path) -> None:
    view = view_of(run)
    view.__dict__["errors"] = [rates_of(), rates_of(decoder="")]
    rows = table_of(results.errors_section(view).body)
    assert rows[1] == {**rows[0], "decoder": "–"} and rows[0] == {
        "decoded by": "words/greedy",
        "split": "dev",
        "decoder": "lexicon and language model",
        "rate": f"12.3{NARROW}",
        "counted": "PER, phones",
        "substituted": "1,234",
        "deleted": "2",
        "inserted": "3",
        "of": "5,678",
    }


def test_confusions_stand_under_their_kinds_the_most_frequent_first(run: Path) -> None:
    frequent = {
        "substitutions": (Confusion("a", "b", 8), Confusion("c", "d", 2)),
        "deletions": (Confusion("e", "", 2),),
        "insertions": tuple(Confusion("", f"x{i}", 20 - i) for i in range(15)),
    }
    view = view_of(run)
    view.__dict__["errors"] = [rates_of(frequent=frequent)]
    markup = results.errors_section(view).body
    assert "words/greedy, dev: most frequent errors" in markup
    first, second, third = (table_of(markup, i) for i in (1, 2, 3))
    assert [(row["said → heard"], row["times"]) for row in first] == [("a → b", "8"), ("c → d", "2")]
    assert [(row["not heard"], row["times"]) for row in second] == [("e", "2")]
    assert [row["heard, not said"] for row in third] == [f"x{i}" for i in range(12)]
    assert re.findall(r"width:([\d.]+)em", markup)[:3] == ["4.00", "1.00", "4.00"]


def test_the_abx_table_has_each_figure_in_its_column(run: Path) -> None:
    stage = StageFolder("tokens", run / "tokens", ())
    about = {"layer": "z", "split": "dev", "distance": "angular", "context": "none"}
    both = Abx(stage, {**about, "within": 0.1, "across": 0.25, "triples_within": 1000, "triples_across": 2})
    across = Abx(stage, {**about, "layer": "c", "within": True, "across": 0.5, "triples": 7})
    view = view_of(run)
    view.__dict__["abx"] = [both, across]
    section = results.abx_section(view)
    names = ["frames of", "split", "compared by", "context", "within", "across"]
    rows = table_of(section.body)
    assert [row[name] for row in rows[:1] for name in names] == [
        *("tokens: z", "dev", "angular", "none", f"10.0{NARROW}", f"25.0{NARROW}")
    ]
    assert [rows[0][f"triples {side}"] for side in ("within", "across")] == ["1,000", "2"]
    assert list(rows[1].values())[4:] == ["–", f"50.0{NARROW}", "7", "7"]  # True is no number
    drawn = section.body.partition("<svg")[2].partition("</svg>")[0]
    assert "tokens: z" in drawn and "tokens: c" not in drawn  # within is where its span begins
    assert drawn.count('class="across"') == drawn.count('class="within"') == 1
    places = {kind: float(x) for kind, x in re.findall('class="(within|across)" cx="([^"]*)"', drawn)}
    assert 250 < places["within"] < places["across"] < 940


def test_what_one_tokenizer_has_and_another_lacks_is_a_dash_in_its_column(run: Path) -> None:
    stage, usage = StageFolder("tokens", run / "tokens", ()), {"num_codes": 320, "used": [3, 4]}
    told = {
        "name": "ours",
        "usage": usage,
        "phones": {"share": 0.6},
        "sure": {"low": 0.5, "high": 0.7},
        "voices": {"accuracy": 0.9, "chance": 0.25},
        "rank": 7.31,
        "dim": 16,
        "edits": {"noise": 0.3},
    }
    half = {"usage": {}, "sure": {"high": 0.7}, "rank": 3.0, "edits": {"tempo": 0.125}}
    other = {"name": "c", "usage": {"num_codes": 5}, "sure": {"low": 0.5}, "dim": 16}
    view = view_of(run)
    view.__dict__["usage"] = [UsageRow(stage, about) for about in (told, half, other)]
    body = beside.beside_section(view).body
    assert table_of(body) == [
        {
            "codes": "tokens: ours",
            "groups × codes": "2 × 320",
            "told of the phone": f"60.0{NARROW}",
            "95 %": f"50.0{NARROW} – 70.0{NARROW}",
            "voices told": f"90.0{NARROW}",
            "by chance": f"25.0{NARROW}",
            "rank": "7.3 of 16",
            "noise": f"30.0{NARROW}",
            "tempo": "–",
        },
        {**dict.fromkeys(table_of(body)[0], "–"), "codes": "tokens: ?", "tempo": f"12.5{NARROW}"},
        {**dict.fromkeys(table_of(body)[0], "–"), "codes": "tokens: c", "groups × codes": "0 × 5"},
    ]
    assert "a change of its sound changes" in body
    view.__dict__["usage"] = [UsageRow(stage, other)]
    body = beside.beside_section(view).body
    assert "a change of its sound changes" not in body and len(table_of(body)[0]) == 7


def test_a_map_s_table_has_each_share_in_its_column_and_distances_where_groups_are_few(run: Path) -> None:
    first = [[4, 4, 4, 0, 0, 0, 0, 0], [4, 4, 0, 2, 2, 0, 0, 0], [4, 0, 0, 0, 4, 4, 0, 0]]
    second = [[6, 3, 3, 0, 0, 0, 0, 0], [6, 2, 0, 3, 1, 0, 0, 0], [2, 0, 0, 0, 5, 5, 0, 0]]
    made = CodeMap(("a", "b", "c"), np.stack([first, second], 1), 1, 8, (24,) * 3, 1)
    stage = StageFolder("map", run / "tokens", ())
    body = groups._part(MapRow(stage, "lang", made, {}, {}))
    assert table_of(body) == [
        {
            "codes used by all 3": f"12.5{NARROW}",
            "by some": f"25.0{NARROW}",
            "by one alone": f"37.5{NARROW}",
            "by none": f"25.0{NARROW}",
            "frames of each": "24",
        }
    ]
    assert "<h3>map: by lang</h3>" in body
    rows = table_of(body, 1)
    assert [row[""] for row in rows] == ["a", "b", "c"]
    assert [[row[name] for name in "abc"] for row in rows] == [
        [f"{value:.3f}" for value in distances] for distances in made.distances.tolist()
    ]
    for number, shown in ((16, True), (17, False)):
        many = CodeMap(
            tuple(f"g{i}" for i in range(number)),
            np.ones((number, 2, 8), np.int64),
            *(1, 8, (16,) * number, 1),
        )
        assert ("<table" in groups._distances(many)) == shown


def test_no_more_than_thirty_six_codes_of_a_map_are_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_sound", lambda place, files: f"<audio>{place.utt}</audio>")
    names = tuple(f"g{i:02d}" for i in range(14))
    made = CodeMap(names, np.ones((14, 2, 6), np.int64), 1, 6, (12,) * 14, 1)
    own = {name: [OwnCode(code, 0.2, 0.1, (Heard(name, 1.0, 3),)) for code in range(3)] for name in names}
    rows = table_of(groups._own_codes(made, own, {}))
    assert [row["to hear"] for row in rows] == [*(name for name in names[:12] for _ in range(3)), *["–"] * 6]


def test_a_code_is_heard_in_a_file_of_the_rate_that_is_said_or_of_any_where_none_is(tmp_path: Path) -> None:
    wav = np.concatenate([np.zeros(8_000), np.full(16_000, 0.5)])
    soundfile.write(tmp_path / "a.wav", wav, 8_000, subtype="FLOAT")
    for rate, is_heard in ((8_000, True), (None, True), (16_000, False), ("x", False)):
        said = {"path": str(tmp_path / "a.wav"), "samples": 16_000, "start": 8_000, "rate": rate}
        found = heard(groups._sound(Heard("u", 1.0, 3), {"u": said}))
        assert len(found) == (16_000 if is_heard else 0)
        assert not is_heard or np.abs(found - 0.5).max() < 0.01


def heard(markup: str) -> np.ndarray:
    found = re.findall(r"data:audio/flac;base64,([^\"]*)", markup)
    return soundfile.read(io.BytesIO(base64.b64decode(found[0])))[0] if found else np.zeros(0)


@pytest.mark.parametrize(("second", "begin", "end"), [(1.5, 1.0, 2.0), (0.2, 0.0, 1.0), (2.9, 2.4, 3.0)])
def test_a_code_is_heard_with_half_a_second_to_each_side(
    second: float, begin: float, end: float, tmp_path: Path
) -> None:
    ramp = np.arange(48_000) / 65_536
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.ones(800), ramp]), 16_000, subtype="FLOAT")
    said = {"path": str(tmp_path / "a.wav"), "samples": 48_000, "start": 800, "rate": 16_000}
    wav = heard(groups._sound(Heard("u", second, 3), {"u": said}))
    assert len(wav) == pytest.approx(16_000 * (end - begin), abs=1)
    assert wav[0] == pytest.approx(16_000 * begin / 65_536, abs=1e-4)
    assert groups._sound(Heard("v", second, 3), {"u": said}) == ""
    assert groups._sound(Heard("u", 5.0, 3), {"u": said}) == ""  # behind its end


def test_a_group_s_own_codes_have_each_figure_in_its_column_and_three_sounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(groups, "_sound", lambda place, files: f"<audio>{place.utt}</audio>")
    made = CodeMap(("a", "b"), np.ones((2, 2, 12), np.int64), 2, 6, (4, 4), 1)
    places = (Heard("u", 1.25, 9), Heard("v", 0.5, 3))
    heard_at = {7: (), 1: places, 8: places[:1], 2: places, 9: places}
    own = [OwnCode(code, 0.25, 0.125, where) for code, where in heard_at.items()]
    rows = table_of(groups._own_codes(made, {"b": own}, {}))
    assert [row["to hear"] for row in rows] == ["–", "u", "u", "–", "–"]
    assert rows[2] == {
        "group": "b",
        "code": "1:2",
        "of its frames": f"25.0{NARROW}",
        "of others'": f"12.5{NARROW}",
        "to hear": "u",
        "longest in": "u at 1.25 s",
    }
    assert rows[0]["longest in"] == "" and rows[4]["longest in"] == "u at 1.25 s, v at 0.50 s"


def test_codes_of_a_run_without_a_training_s_log_are_shown(run: Path) -> None:
    view = view_of(run)
    view.__dict__["trainings"] = {}
    section = codes.codebook_section(view)
    assert not section.lacks and "588 frames of 6 utterances" in section.body
    assert codes.codebook_section(view_of(run)).body.startswith(section.body)


def test_no_error_at_all_is_a_figure_like_any_other(run: Path) -> None:
    stage = StageFolder("tokens", run / "tokens", ())
    view = view_of(run)
    view.__dict__["abx"] = [Abx(stage, {"layer": "z", "within": 0.0, "across": 0.0, "triples": 0})]
    body = results.abx_section(view).body
    assert list(table_of(body)[0].values())[4:] == [f"0.0{NARROW}"] * 2 + ["0"] * 2
    assert body.count('class="across"') == body.count('class="within"') == 1
    tiles = re.findall('<div class="tile"><b>([^<]*)</b><span>([^<]*)</span>', assemble._tiles(view))
    assert (f"0.0{NARROW}", "ABX error across speakers, tokens: z") in tiles
    told = {"usage": {}, "phones": {"share": 0.0}, "voices": {"accuracy": 0.0}, "edits": {"noise": 0.0}}
    view.__dict__["usage"] = [UsageRow(stage, told)]
    (row,) = table_of(beside.beside_section(view).body)
    assert [row[name] for name in ("told of the phone", "voices told", "noise")] == [f"0.0{NARROW}"] * 3
