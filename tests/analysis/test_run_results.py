"""A run's error rates, ABX errors and hypotheses, from files that may be broken."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_run import make_run

from vqw2v_plugin.analysis.class_results import ClassRates, find_class_rates
from vqw2v_plugin.analysis.code_map import CodeMap
from vqw2v_plugin.analysis.code_map_files import to_json
from vqw2v_plugin.analysis.run_results import Confusion, find_errors
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.recipes.folder import DONE, RunFolder, Stamp


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_rates_confusions_and_abx_are_read(run: Path) -> None:
    view = RunView(RunFolder(run), PageOptions())
    (rates,) = view.errors
    assert (rates.split, rates.unit, rates.length) == ("test", "words", 18)
    assert rates.rate == pytest.approx(200 / 3, abs=1e-3)
    assert rates.counts == {"substitutions": 6, "deletions": 0, "insertions": 6}
    (confusion,) = rates.frequent["substitutions"]
    assert (confusion.reference, confusion.hypothesis, confusion.count) == ("high", "sky", 6)
    assert rates.frequent["insertions"][0].hypothesis == "oh"
    (abx,) = view.abx
    assert (abx.name, abx.within, abx.across) == ("tokens: codes", 0.123, 0.234)
    assert len(view.hypotheses["decode"]) == 6 and not view.troubles


def test_insertions_and_deletions_have_one_side_each_and_the_reference_its_length(run: Path) -> None:
    path = run / "decode/errors-test.json"
    frequent = {"inserted": [["uh", 3]], "deleted": [["the", 2]], "substituted": [["a", "b", 1]]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "most_frequent": frequent}))
    (rates,) = RunView(RunFolder(run), PageOptions()).errors
    assert rates.frequent == {
        "substitutions": (Confusion("a", "b", 1),),
        "deletions": (Confusion("the", "", 2),),
        "insertions": (Confusion("", "uh", 3),),
    }


def test_every_row_of_an_abx_file_counts_that_has_an_error(run: Path) -> None:
    rows = [
        {"layer": "z", "within": 0.1},
        {"layer": "c", "across": 0.2},
        {"layer": "none", "within": None, "across": True},
        3,
    ]
    (run / "tokens/data/abx.json").write_text(json.dumps(rows))
    view = RunView(RunFolder(run), PageOptions())
    assert [(abx.name, abx.within, abx.across) for abx in view.abx] == [
        ("tokens: z", 0.1, None),
        ("tokens: c", None, 0.2),
    ]
    assert view.troubles == ["RUN/tokens/data/abx.json has no error within or across speakers"] * 2


def test_of_two_hypotheses_the_later_counts_and_broken_lines_are_passed_over(run: Path) -> None:
    lines = ['{"utt": "a", "text": "one"}', "{broken", "[]", '{"text": "x"}', '{"utt": "a", "text": "two"}']
    (run / "decode/hypotheses-test.jsonl").write_text("\n".join([*lines, '{"utt": "b"}']))
    assert RunView(RunFolder(run), PageOptions()).hypotheses == {
        "decode": {"a": {"utt": "a", "text": "two"}, "b": {"utt": "b"}}
    }


def test_what_one_stage_decodes_in_several_ways_has_a_name_and_a_decoder_each(run: Path) -> None:
    told = json.loads((run / "decode/errors-test.json").read_text())
    commands = []
    for number, (name, options) in enumerate(WAYS.items()):
        folder = run / "scores" / name
        folder.mkdir(parents=True)
        (folder / "errors-dev.json").write_text(json.dumps({**told, "rate": number}))
        (folder / "hypotheses-dev.jsonl").write_text(f'{{"utt": "a", "text": "{name}"}}')
        commands += [f"fairseq-generate x {options} --results-path /moved/since/scores/{name}", "tail -n 1 x"]
    (run / "scores" / DONE).write_text(Stamp(tuple(commands)).text)
    view = RunView(RunFolder(run), PageOptions())
    found = {rates.name: (rates.rate, rates.decoder) for rates in view.errors if rates.split == "dev"}
    assert found == {
        "scores/free": (1, "free"),
        "scores/greedy": (0, "greedy"),
        "scores/words": (
            2,
            "lexicon and language model lm.arpa, weights of tuned.json, lm-weight 1.5, word-score -0.5, "
            "sil-score 0.25, beam 9",
        ),
    }
    heard = {name: rows["a"]["text"] for name, rows in view.hypotheses.items() if "a" in rows}
    assert heard == {f"scores/{name}": name for name in WAYS}
    assert next(rates for rates in view.errors if rates.split == "test").decoder == ""


WAYS = {
    "greedy": "--decoder greedy",
    "free": "--decoder lexicon --decoder free",  # the last word counts
    "words": "--lexicon l.txt --lm a/lm.arpa --beam 9 --decoder lexicon --weights b/tuned.json "
    "--sil-score 0.25 --lm-weight 1.5 --word-score -0.5",
}
KNOWN = (
    '"unit": "words", "rate": 1, "substitutions": 1, "deletions": 1, "insertions": 1, "reference_length": 2'
)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"unit": "words", "rate": "x"}', "null", "[[1]]", "3", '"words"'),
        f'{{{KNOWN}, "deletions": 1e999}}',
        f'{{{KNOWN}, "most_frequent": {{"substituted": [["a"]]}}}}',
        f'{{{KNOWN}, "most_frequent": {{"deleted": [["a", "often"]]}}}}',
        f'{{{KNOWN}, "most_frequent": {{"inserted": 3}}}}',
    ],
)
def test_result_files_of_another_make_are_named_and_left_out(run: Path, text: str) -> None:
    (run / "decode/errors-test.json").write_text(text)
    (run / "tokens/data/abx.json").write_text(text)
    view = RunView(RunFolder(run), PageOptions())
    assert not view.errors and not view.abx
    assert any("errors-test.json" in trouble for trouble in view.troubles) or text == "null"


def test_rows_of_usage_are_read_and_what_is_none_is_named(run: Path) -> None:
    path = run / "tokens/data/usage.json"
    view = RunView(RunFolder(run), PageOptions())
    assert [row.about["name"] for row in view.usage] == ["trained", "untrained"] and not view.troubles
    trained, untrained = view.usage
    assert (
        trained.number("phones", "share") == pytest.approx(0.6)
        and untrained.number("phones", "share") is None
    )
    assert trained.edits == {"noise 20 dB": 0.321, "tempo 0.9": 0.123} and untrained.edits == {}
    rows = json.loads(path.read_text())
    path.write_text(json.dumps(rows[1]))  # one alone
    assert [row.about for row in RunView(RunFolder(run), PageOptions()).usage] == rows[1:]
    path.write_text(
        json.dumps(
            [
                {**rows[0], "edits": {"noise": "much", "pitch": 0.5}, "rank": True, "dim": 10**400},
                *(3, {"usage": 1}),
            ]
        )
    )
    view = RunView(RunFolder(run), PageOptions())
    (row,) = view.usage
    assert row.edits == {"pitch": 0.5} and row.number("rank") is row.number("dim") is None
    assert view.troubles == ["RUN/tokens/data/usage.json is not what `vqw2v usage --out` writes"] * 2


def test_a_file_says_by_itself_how_it_was_decoded_where_no_command_does(run: Path) -> None:
    path = run / "decode/errors-test.json"
    told = {**json.loads(path.read_text()), "decoded": {"--decoder": "free", "--beam": 7, "--lm": "x/a.arpa"}}
    path.write_text(json.dumps(told))
    for command, decoder in (
        ("fairseq-generate x", "free and language model a.arpa, beam 7"),
        ("fairseq-generate x --decoder greedy", "greedy"),
    ):
        (run / "decode" / DONE).write_text(Stamp((command,)).text)
        (rates,) = RunView(RunFolder(run), PageOptions()).errors
        assert rates.decoder == decoder


def test_maps_are_read_under_either_name_and_what_is_none_is_named(run: Path) -> None:
    made = CodeMap(("a", "b"), np.array([[[3, 1], [2, 2]], [[0, 4], [1, 3]]]), 1, 2, (8, 8), 1)
    about = to_json(made, "lang", {"a": made.own_codes(0)})
    files = {"u": {"path": "/x.wav"}}
    data = run / "tokens/data"
    (data / "map-lang.json").write_text(json.dumps({**about, "files": files}))
    (data / "usage-by.json").write_text(json.dumps({**about, "by": "domain", "files": 3}))
    (data / "map-other.json").write_text('{"elsewhere": 1}')
    (data / "map-half.json").write_text(json.dumps({**about, "names": ["a"]}))
    view = RunView(RunFolder(run), PageOptions())
    assert {row.by: row.files for row in view.maps} == {"lang": files, "domain": {}}
    assert all(row.made.distances.tolist() == made.distances.tolist() for row in view.maps)
    assert [each.code for each in view.maps[0].own["a"]] == [each.code for each in made.own_codes(0)]
    assert len(view.troubles) == 1 and "map-half.json is not what `vqw2v usage --by`" in view.troubles[0]
    assert len(view.usage) == 2 and len(view.troubles) == 1  # a map is no row of usage, and no trouble


def test_error_rates_of_any_folder_are_named_from_where_it_was_asked_for(run: Path) -> None:
    (run / "decode" / DONE).write_text(Stamp(("fairseq-generate x --decoder greedy",)).text)
    told: list[str] = []
    (rates,) = find_errors(run, told)
    assert (rates.name, rates.decoder, rates.split) == (f"{run}/decode", "greedy", "test")
    (rates,) = find_errors(run / "decode", told)
    assert rates.name == str(run / "decode") and not told
    (run / "decode/errors-dev.json").write_text("[]")
    assert len(find_errors(run, told)) == 1
    assert len(told) == 1 and "errors-dev.json is not what `--scoring vq_error` writes" in told[0]
    with pytest.raises(ValueError, match="nowhere: is no folder; expected one of runs"):
        find_errors(run / "nowhere", [])


def test_a_split_s_name_may_have_hyphens_and_dots(run: Path) -> None:
    folder, recalls = run / "decode", {"accuracy": 50, "majority": 50, "uar": 50, "utterances": 2}
    said = (folder / "errors-test.json").read_text()
    for split in ("dev-clean", "errors-v1.2"):
        (folder / f"errors-{split}.json").write_text(said)
        (folder / f"classes-{split}.json").write_text(json.dumps({**recalls, "classes": []}))
    splits = ["dev-clean", "errors-v1.2", "test"]
    assert sorted(rates.split for rates in find_errors(folder, [])) == splits
    assert sorted(rates.split for rates in RunView(RunFolder(run), PageOptions()).errors) == splits
    assert sorted(rates.split for rates in find_class_rates(folder, [])) == splits[:2]


def test_hypotheses_that_are_no_text_are_named_and_left_out(run: Path) -> None:
    path = run / "decode/hypotheses-test.jsonl"
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    view = RunView(RunFolder(run), PageOptions())
    assert view.hypotheses == {}
    assert any("decode/hypotheses-test.jsonl" in trouble for trouble in view.troubles)


def test_right_classes_are_read_and_rates_beyond_percent_are_none(tmp_path: Path) -> None:
    rows = [{"utterances": count} for count in (4, 0, 2)]
    about = {"accuracy": 50, "majority": 66.5, "uar": 100, "utterances": 6, "classes": rows}
    changes = {"": {}, "deep/er": {"uar": 25}, "bad": {"majority": 100.5}, "worse": {"uar": -1}}
    changes["null"] = {"classes": None}
    for name, change in changes.items():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "classes-dev.json").write_text(json.dumps({**about, **change}))
    troubles: list[str] = []
    found = {rates.name: rates for rates in find_class_rates(tmp_path, troubles)}
    assert found[str(tmp_path)] == ClassRates(str(tmp_path), "dev", 50, 66.5, 100, 6, 2)
    assert found[f"{tmp_path}/deep/er"].uar == 25 and len(found) == 2
    assert [Path(line.partition("/classes-")[0]).name for line in troubles] == ["bad", "null", "worse"]
    assert ["expected percent" in line for line in troubles] == [True, False, True]
