"""Features beside features where labels are few: whose labels are drawn, and what a row is made of."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from recipe_files import check_order, scripts_of, value_of, words_of
from scipy.stats import linregress, t

from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.recipes.runner import StageError

HEAD = "utt\tpath\tspeaker\tn_samples\tphones\n"


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    with scripts_of("few_labels", "prepare", "compare", "hours") as (prepare, compare, hours):
        yield SimpleNamespace(prepare=prepare, compare=compare, hours=hours)


@pytest.fixture
def corpora(tmp_path: Path) -> list[Path]:
    """Two, of 30 and 10 training speakers with two utterances each."""
    made = []
    for name, speakers, valid in (("one", 30, "dev"), ("two", 10, "valid")):
        folder = tmp_path / name
        folder.mkdir()
        for split, many in (("train", speakers), (valid, 2), ("test", 2)):
            rows = [f"{s}{u}\tx/{s}{u}.wav\t{s}\t16000\ta b" for s in range(many) for u in "ab"]
            (folder / f"{split}.tsv").write_text(HEAD + "\n".join(rows) + "\n")
        made.append(folder)
    return made


def speakers(path: Path) -> list[str]:
    manifest = Manifest(path)
    return [manifest[i].speaker or "" for i in range(len(manifest))]


def test_a_share_is_of_speakers_with_all_they_said(scripts: Any, corpora: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    scripts.prepare.prepare(out, corpora, (1, 0.5, 0.1, 0.001), (1, 2))
    everyone = speakers(out / "train.tsv")
    assert len(everyone) == 80 and len(set(everyone)) == 40  # speaker 0 of one corpus is not the other's
    drawn = {}
    for share, expected in ((1, 40), (0.5, 20), (0.1, 4), (0.001, 1)):
        for seed in (1, 2):
            found = speakers(out / f"share_{share:g}_{seed}" / "train.tsv")
            assert len(set(found)) == expected and len(found) == 2 * expected
            drawn[share, seed] = set(found)
    for seed in (1, 2):  # a curve over shares adds labels and takes none away
        assert drawn[0.001, seed] < drawn[0.1, seed] < drawn[0.5, seed] < drawn[1, seed]
    assert drawn[0.5, 1] != drawn[0.5, 2]
    first = Manifest(out / "test.tsv")[0]
    assert first.path == str(corpora[0] / "x/0a.wav") and first.utt == "one-0a"


def test_speakers_whom_no_share_has_are_left_out(scripts: Any, corpora: list[Path], tmp_path: Path) -> None:
    scripts.prepare.prepare(tmp_path, corpora, (0.1, 0.05), (1, 2))
    drawn = [set(speakers(tmp_path / f"share_0.1_{seed}" / "train.tsv")) for seed in (1, 2)]
    assert set(speakers(tmp_path / "train.tsv")) == drawn[0] | drawn[1] and len(drawn[0] | drawn[1]) < 9
    assert len(set(speakers(tmp_path / "test.tsv"))) == 4


def test_a_table_without_phones_is_named(scripts: Any, corpora: list[Path], tmp_path: Path) -> None:
    (corpora[1] / "test.tsv").write_text("utt\tpath\tspeaker\tn_samples\n")
    with pytest.raises(ValueError, match=r"two/test\.tsv: no column phones"):
        scripts.prepare.prepare(tmp_path / "out", corpora, (1,), (1,))
    (corpora[0] / "dev.tsv").unlink()
    with pytest.raises(ValueError, match=r"one: has no valid\.tsv or dev\.tsv"):
        scripts.prepare.prepare(tmp_path / "out", corpora, (1,), (1,))
    with pytest.raises(ValueError, match="--shares"):
        scripts.prepare.draw(["a"], 1.5, 1)


def plan(scripts: Any, monkeypatch: pytest.MonkeyPatch, run: Path, *more: str) -> Any:
    monkeypatch.setattr("sys.argv", ["compare.py", str(run), "one", "two", *more])
    return scripts.compare.Plan.of(scripts.compare.parse_args())


def test_all_features_have_the_same_labels_seeds_and_updates(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features = ("mel=logmel", "BERT=bert:5@/pre.pt+/bert.pt")
    made = plan(scripts, monkeypatch, tmp_path, "--features", *features, "--seeds", "1", "2")
    stages = list(scripts.compare.stages(made))
    check_order(stages, tmp_path)
    for share, updates in ((0.02, 433), (0.1, 702), (1.0, 1400)):
        for seed in (1, 2):
            pair = [words_of(stages, f"{name}_{share:g}_{seed}") for name in ("mel", "BERT")]
            for words in pair:
                assert f"task.labels={tmp_path}/labels_{share:g}_{seed}/data" in words
                assert f"common.seed={seed}" in words and f"optimization.max_update={updates}" in words
            assert sum(a != b for a, b in zip(*pair, strict=True)) == 3  # features, and two folders
    found = words_of(stages, "features_BERT")
    assert (found[2], value_of(found, "--layer"), value_of(found, "--bert")) == (
        "/pre.pt",
        "bert:5",
        "/bert.pt",
    )
    assert words_of(stages, "features_mel")[2] == "-" and "--dtype" not in found
    faster = plan(scripts, monkeypatch, tmp_path, "--features", *features, "--dtype", "bf16")
    found = words_of(list(scripts.compare.stages(faster)), "features_BERT")
    assert value_of(found, "--dtype") == "bf16"
    assert "--dtype" not in words_of(list(scripts.compare.stages(faster)), "features_mel")
    assert "--pca" not in found
    fewer = plan(scripts, monkeypatch, tmp_path, "--features", "c=c/64@/pre.pt", "mel=logmel/9")
    for name, components, source in (("c", "64", "/pre.pt"), ("mel", "9", "-")):
        found = words_of(list(scripts.compare.stages(fewer)), f"features_{name}")
        assert (value_of(found, "--pca"), found[2]) == (components, source)
    decoding = words_of(stages, "scores_mel_0.1_2")
    assert value_of(decoding, "--gen-subset") == "test"
    assert value_of(decoding, "--path") == f"{tmp_path}/mel_0.1_2/checkpoint_best.pt"


def test_the_table_has_what_is_finished(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = plan(scripts, monkeypatch, tmp_path, "--features", "mel=logmel", "c=c@/pre.pt")
    for name, rate in (("mel_0.1_1", 50), ("mel_0.1_2", 54), ("c_1_1", 30.04), ("c_1_2", 1)):
        (tmp_path / f"scores_{name}").mkdir()
        (tmp_path / f"scores_{name}/errors-test.json").write_text(json.dumps({"rate": rate}))
    scripts.compare.write_table(made, {"scores_mel_0.1_1", "scores_mel_0.1_2", "scores_c_1_1"})
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[0] == "| features | 100% of the speakers | 10% of the speakers | 2% of the speakers |"
    assert lines[2:] == ["| mel |  | 52.0 ± 2.8 (2) |  |", "| c | 30.0 |  |  |"]


def scored(run: Path, name: str, rates: dict[tuple[float, int], float], done: bool = True) -> None:
    for (share, seed), rate in rates.items():
        folder = run / f"scores_{name}_{share:g}_{seed}"
        folder.mkdir(parents=True)
        (folder / "errors-test.json").write_text(json.dumps({"rate": rate}))
        if done:
            (folder / "done").touch()


def test_more_audio_is_a_line_over_its_doublings(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against scipy's line through one seed; with more, how far seeds lie apart makes it no less sure."""
    hours = (0.7, 1.4, 2.8, 5.6)
    errors = (80.0, 77.5, 76.1, 73.1)
    for at, error in zip(hours, errors, strict=True):
        found = {(0.1, seed): error + 10 * seed for seed in (1, 2)} | {(0.02, 1): error}
        scored(tmp_path, f"c{at:g}", found)
    scored(tmp_path, "mel", {(0.1, 1): 71.0, (0.1, 2): 69.0, (0.02, 1): 90.0})
    scored(tmp_path, "begun", {(0.1, 1): 71.0}, done=False)
    command = ["hours.py", str(tmp_path), "--curve", *(f"{at:g}=c{at:g}" for at in reversed(hours))]

    def said(*more: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", [*command, *more])
        return scripts.hours.main(), *capsys.readouterr()

    status, out, _ = said("--beside", "mel", "--out", str(tmp_path / "a.png"))
    assert status == 0 and (tmp_path / "a.md").read_text() == out.removesuffix("\n")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    line = linregress(np.log2(hours), errors)
    sure = t.ppf(0.975, 2) * line.stderr
    both = sure * t.ppf(0.975, 5) / t.ppf(0.975, 2) * (2 / 5) ** 0.5
    rows = [row.strip("| ").split(" | ") for row in out.splitlines()]
    assert [row[0] for row in rows[2:7]] == ["0.7 h", "1.4 h", "2.8 h", "5.6 h", "mel"]
    assert rows[2] == ["0.7 h", "95.0 ± 7.1", "80.0"]  # shares of 10 and 2 %
    assert rows[7][1:] == [f"{line.slope:+.1f} ± {both:.1f}", f"{line.slope:+.1f} ± {sure:.1f}"]
    at_60 = line.intercept + line.slope * np.log2(60)
    assert rows[8] == ["a line's at 60 h", f"{at_60 + 15:.0f}", f"{at_60:.0f}"]
    level = 2 ** ((70 - 15 - line.intercept) / line.slope)
    assert rows[9][0] == "a line's at 960 h" and rows[9][2] == f"{at_60 + 4 * line.slope:.0f}"
    assert rows[10][0].startswith("level") and rows[10][1] == f"{level:,.1f} h"
    for more, told in (
        (("--beside", "begun", "--out", str(tmp_path / "b.png")), "no finished rows of begun"),
        (("--out", str(tmp_path / "b.pdf")), "FILE.png"),
        (("--out", str(tmp_path / "b.png"), "--curve", "x=mel"), "HOURS=FEATURES"),
    ):
        status, _, problem = said(*more)
        assert status == 2 and told in problem and not (tmp_path / "b.md").exists()


def test_a_slope_is_as_sure_as_points_are_more_than_heights(scripts: Any) -> None:
    """By hand: what is left has the squares 1 + 4 + 1; the slope and two heights are fitted to six points."""
    points = {1.0: {1: 0.0, 2: 10.0}, 2.0: {1: 3.0, 2: 10.0}, 4.0: {1: 0.0, 2: 10.0}}
    line = scripts.hours.Line.through(points)
    assert line.slope == pytest.approx(0, abs=1e-9) and line.at_one == pytest.approx(5.5)
    assert line.sure == pytest.approx(3.182446 * (6 / 3 / 4) ** 0.5)
    del points[2.0][2]  # which says nothing of the slope
    assert scripts.hours.Line.through(points).sure == pytest.approx(4.302653 * (6 / 2 / 4) ** 0.5)


def test_what_is_not_known_to_help_promises_nothing(scripts: Any) -> None:
    flat = {at: {1: 50.0 + wobble} for at, wobble in ((1.0, 0.4), (2.0, -0.5), (4.0, 0.3), (8.0, -0.4))}
    line = scripts.hours.Line.through(flat)
    assert line.slope < 0 < line.slope + line.sure and line.hours_for(40) is None and not line.tells
    worse = scripts.hours.Line.through({at: {1: at, 2: at} for at in (1.0, 2.0, 4.0)})
    assert worse.tells and worse.hours_for(0.5) is None
    two = scripts.hours.Line.through({1.0: {1: 50.0}, 2.0: {1: 45.0}})
    assert two.slope == pytest.approx(-5) and not two.tells  # a line through two points fits


@pytest.mark.parametrize(
    "said", ["mel", "mel=", "mel=log mel", "=c@x", "c=c@", "c=c@x+", "c=c/@x", "c=c/d@x"]
)
def test_features_that_are_none_are_refused(scripts: Any, said: str) -> None:
    with pytest.raises(ValueError, match="--features"):
        scripts.compare.Features.parse(said)


def test_a_name_stands_for_one_features(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, StageError), match="twice"):
        plan(scripts, monkeypatch, tmp_path, "--features", "a=logmel", "a=mfcc")


@pytest.mark.slow
def test_a_comparison_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"train": [], "dev": [], "test": []}  # type: dict[str, list[str]]
    for split, lines in rows.items():
        for number in range(6):
            soundfile.write(tmp_path / f"{split}{number}.wav", rng.normal(0, 0.1, 8_000), 16_000)
            lines.append(f"{split}{number}\t{split}{number}.wav\t{number % 3}\t8000\ta b a\n")
        (tmp_path / f"{split}.tsv").write_text(HEAD + "".join(lines))
    script = Path(__file__).resolve().parents[2] / "examples/few_labels/compare.py"
    command = [sys.executable, str(script), str(tmp_path / "run"), str(tmp_path), "--updates", "4"]
    command += ["--shares", "0.4", "--seeds", "1"]

    def said() -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert all(
            float(rate) >= 0 for rate in re.findall(r"^\| (?:log-mel|MFCC) \| (.*) \|$", done.stdout, re.M)
        )
        return done.stdout

    first = said()
    assert first.count("| log-mel | ") == first.count("| MFCC | ") == 1 and "$ " in first
    assert "$ " not in said()


def test_few_labels_are_seen_often_and_a_short_training_stays_short(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = plan(scripts, monkeypatch, tmp_path, "--features", "mel=logmel")
    mel = made.rows[0].features
    updates = {share: made.updates_of(scripts.compare.Row(mel, share, 1)) for share in (0.001, 0.1, 1.0)}
    assert updates == {0.001: 400, 0.1: 702, 1.0: 1400}
    short = plan(scripts, monkeypatch, tmp_path, "--features", "mel=logmel", "--updates", "100")
    assert [short.updates_of(scripts.compare.Row(mel, share, 1)) for share in (0.001, 1.0)] == [100, 100]
    stages = list(scripts.compare.stages(made))
    assert "lr_scheduler.warmup_updates=50" in words_of(stages, "mel_0.1_1")
    decoding = words_of(stages, "scores_mel_0.1_1")
    assert (value_of(decoding, "--decoder"), value_of(decoding, "--error-unit")) == ("greedy", "phones")
    spelled = words_of(stages, "labels_0.1_3")
    assert spelled[2] == str(tmp_path / "data/manifests/share_0.1_3/train.tsv")
    assert value_of(spelled, "--dict") == str(tmp_path / "labels/data/dict.phn.txt")
    assert [Path(word).name for word in spelled[3:5]] == ["valid.tsv", "test.tsv"]


def test_what_stands_beside_is_drawn_where_it_has_a_row_and_points_need_a_share_in_common(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hours, drawn = scripts.hours, list[float]()
    scored(tmp_path, "c1", {(0.1, 1): 80.0, (0.02, 1): 90.0})
    scored(tmp_path, "c2", {(0.1, 1): 70.0, (0.02, 1): 85.0})
    scored(tmp_path, "mel", {(0.1, 1): 71.0, (0.1, 2): 69.0})
    scored(tmp_path, "alone", {(0.5, 1): 60.0})
    curve = {float(at): hours.Rates.read(tmp_path, f"c{at}") for at in (1, 2)}
    monkeypatch.setattr("matplotlib.axes.Axes.axhline", lambda self, y, **how: drawn.append(y))
    hours.draw(curve, [hours.Rates.read(tmp_path, "mel")], tmp_path / "a.png")
    assert drawn == [70.0]
    words = ["hours.py", str(tmp_path), "--curve", "1=c1", "2=alone", "--out", str(tmp_path / "b.png")]
    monkeypatch.setattr("sys.argv", words)
    assert hours.main() == 2 and "have no share of the speakers in common" in capsys.readouterr().err


def test_a_line_promises_nothing_below_zero_and_nothing_beyond_all_audio(scripts: Any) -> None:
    line = scripts.hours.Line(10.0, -2.0, 0.5)
    assert [line.at(hours) for hours in (1, 2, 16, 1024)] == [10, 8, 2, 0]
    assert line.hours_for(2) == 16 and line.hours_for(12) == 0.5
    assert scripts.hours.Line(50.0, -0.1, 0.01).hours_for(20) is None  # 300 doublings
    assert line.hours_for(math.inf) is None  # there is no row beside
    assert not scripts.hours.Line(10.0, -0.5, 0.5).tells


def test_what_learnt_is_held_against_the_best_of_what_did_not(scripts: Any) -> None:
    hours, errors = (1.0, 2.0, 4.0, 8.0), (80.0, 75.2, 69.9, 65.1)
    wobble = (50.4, 49.5, 50.3, 49.6)  # with all labels nothing is known
    curve = {
        at: scripts.hours.Rates("c", {0.1: {1: some}, 1.0: {1: every}})
        for at, some, every in zip(hours, errors, wobble, strict=True)
    }
    beside = [
        scripts.hours.Rates(name, {0.1: {1: rate}, 1.0: {1: rate}}) for name, rate in (("a", 70), ("b", 60))
    ]
    made = scripts.hours.table(curve, beside)
    rows = {row[0]: row[1:] for row in (line.strip("| ").split(" | ") for line in made.splitlines())}
    assert rows["heard without labels"] == ["100% of the speakers", "10% of the speakers"]
    line = linregress(np.log2(hours), errors)
    level = 2 ** ((60 - line.intercept) / line.slope)
    assert rows["level with the best without"] == ["not known", f"{level:,.1f} h"]
    assert rows["a line's at 60 h"] == ["not known", f"{line.intercept + line.slope * np.log2(60):.0f}"]
    assert "level with" not in scripts.hours.table(curve, [])


def test_features_whose_name_begins_with_another_s_are_others(scripts: Any, tmp_path: Path) -> None:
    scored(tmp_path, "c", {(0.1, 1): 80.0})
    scored(tmp_path, "c_big", {(0.1, 1): 70.0, (0.02, 1): 90.0})
    assert scripts.hours.Rates.read(tmp_path, "c").found == {0.1: {1: 80.0}}
    assert scripts.hours.Rates.read(tmp_path, "c_big").found == {0.1: {1: 70.0}, 0.02: {1: 90.0}}


@pytest.mark.parametrize("text", ["0=c", "-1=c", "inf=c", "nan=c", "c", "5=", "=c"])
def test_a_point_is_hours_and_features(scripts: Any, tmp_path: Path, text: str) -> None:
    scored(tmp_path, "c", {(0.1, 1): 80.0})
    with pytest.raises(ValueError, match=r"expected HOURS=FEATURES, such as 5\.6=c56"):
        scripts.hours.points_of(tmp_path, [text])


def test_speakers_are_drawn_of_all_corpora_for_each_share_and_seed(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("--features", "mel=logmel", "--shares", "1", "0.05", "--seeds", "3", "2")
    data = words_of([scripts.compare.data(plan(scripts, monkeypatch, tmp_path, *more))], "data")
    corpora = [str(Path(name).resolve()) for name in ("one", "two")]
    assert data[2:] == [
        *(str(tmp_path / "data/manifests"), *corpora, "--shares", "0.05", "1.0", "--seeds", "2", "3")
    ]


def test_phones_are_taken_as_they_stand_and_what_there_is_is_told(
    scripts: Any, corpora: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f'{s}\tx/{s}.wav\t{s}\t5760000\t"a b\n' for s in range(2)]  # a phone may be a quotation mark
    (corpora[1] / "test.tsv").write_text(HEAD + "".join(rows))
    scripts.prepare.prepare(tmp_path / "out", corpora, (0.5,), (1,))
    said = Manifest(tmp_path / "out/test.tsv").column("phones")
    assert said == ["a b"] * 4 + ['"a b'] * 2
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "train: 40 utterances, 0.01 h, 20 speakers"
    assert told[2] == "test: 6 utterances, 0.20 h, 4 speakers"
