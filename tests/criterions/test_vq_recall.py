"""`--scoring vq_recall`: unweighted recall over the classes that were said, printed, and kept in a file."""

import json
from pathlib import Path

import pytest

pytest.importorskip("fairseq")
from fairseq.scoring import build_scorer
from omegaconf import OmegaConf

import vqw2v_plugin

vqw2v_plugin.register()
# calm is known two times of three, sad always, glad never; most frequent is calm
PAIRS = [("calm", "calm"), ("calm", "sad"), ("sad", "sad"), ("calm", "calm"), ("glad", "calm")]
SAID = (
    "accuracy 60.00 % (60.00 by one answer to all), unweighted average recall 55.56 % (33.33 by chance), "
    "3 of 5 utterances right, 3 classes"
)
TABLE = ["class  calm  glad  sad   recall", "calm      2     0    1   66.7 %"]


def scorer(**settings: object):
    built = build_scorer(OmegaConf.create({"_name": "vq_recall", **settings}), None)
    for true, answered in PAIRS:
        built.add_string(true, answered)
    return built


def test_each_class_counts_the_same_however_frequent_it_is() -> None:
    assert scorer().score() == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)


def test_the_line_has_the_rates_and_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    first, *table = scorer().result_string().splitlines()
    assert first == SAID and table[:2] == TABLE and len(table) == 4
    assert not capsys.readouterr().out  # fairseq prints it


def test_with_a_listing_in_a_file_the_rates_are_shown_and_kept_by_the_split_s_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer(results_path=str(tmp_path)).result_string()
    assert not list(tmp_path.iterdir()) and not capsys.readouterr().out
    scorer(results_path=str(tmp_path), gen_subset="test").result_string()
    first, *table, last = capsys.readouterr().out.splitlines()
    assert first == f"test: {SAID}" and table[:2] == TABLE
    assert last.startswith(f"{tmp_path}: classes-test.tsv") and last.endswith(", classes-test.json")
    held = json.loads((tmp_path / "classes-test.json").read_text())
    assert (held["accuracy"], held["uar"], held["majority"]) == (60.0, 55.5556, 60.0)
    assert (held["correct"], held["utterances"]) == (3, 5) and {*map(tuple, held["confusions"])} == {
        ("calm", "sad", 1),
        ("glad", "calm", 1),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["classes-test.json"]
