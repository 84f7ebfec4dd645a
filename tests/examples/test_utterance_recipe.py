"""Features held against each other by heads: folds whose speakers are apart, and what a row is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.corpora.manifest import Manifest


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    with scripts_of("utterance", "prepare", "compare") as (prepare, compare):
        yield SimpleNamespace(prepare=prepare, compare=compare)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Moods of six speakers, ten utterances each, and a mood that only the last one has."""
    moods = [
        ("glad", "sad", "calm")[u % 3] if (s, u) < (5, 5) else "odd" for s in range(6) for u in range(10)
    ]
    rows = [f"x/{i}.wav\t16000\ts{i // 10}\t{mood}\n" for i, mood in enumerate(moods)]
    (tmp_path / "all.tsv").write_text("path\tn_samples\tspeaker\tmood\n" + "".join(rows))
    return tmp_path / "all.tsv"


def folds(out: Path, number: int) -> list[list[tuple[str, str]]]:
    manifests = [Manifest(out / f"fold{i}.tsv") for i in range(number)]
    return [[(m[i].speaker or "", m[i].extra["class"]) for i in range(len(m))] for m in manifests]


def test_speakers_are_in_one_fold_and_classes_in_all(
    scripts: Any, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts.prepare.prepare(tmp_path / "out", [table], "mood", 3, None, 1)
    made = folds(tmp_path / "out", 3)
    assert sum(map(len, made)) == 60
    speakers = [{who for who, mood in fold if mood != "odd"} for fold in made]
    assert [len(each) for each in speakers] == [2, 2, 2] and len(set.union(*speakers)) == 6
    assert all({mood for _, mood in fold} == {"glad", "sad", "calm", "odd"} for fold in made)
    assert "odd: 1 speakers, fewer than folds, so they are in all of them" in capsys.readouterr().out


def test_a_class_of_as_many_speakers_as_folds_has_each_of_them_in_one(scripts: Any) -> None:
    rows = [{"speaker": f"s{i % 3}", "class": "glad"} for i in range(12)]
    found = scripts.prepare.split(rows, 3, 1)
    assert sorted(sorted({row["speaker"] for row in fold}) for fold in found) == [["s0"], ["s1"], ["s2"]]


def test_of_each_class_as_many_speakers_are_drawn_as_there_are(
    scripts: Any, table: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        scripts.prepare.prepare(tmp_path / name, [table], "mood", 2, 5, 1)
    made = [row for fold in folds(tmp_path / "one", 2) for row in fold]
    assert Counter(mood for _, mood in made) == dict.fromkeys(("glad", "sad", "calm", "odd"), 5)
    assert len({who for who, mood in made if mood == "glad"}) == 5
    assert (tmp_path / "one/fold0.tsv").read_bytes() == (tmp_path / "two/fold0.tsv").read_bytes()


def test_what_cannot_be_split_is_named(scripts: Any, table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"all\.tsv: no column emotion"):
        scripts.prepare.prepare(tmp_path / "out", [table], "emotion", 3, None, 1)
    with pytest.raises(ValueError, match="`--folds` is 1"):
        scripts.prepare.prepare(tmp_path / "out", [table], "mood", 1, None, 1)


def plan(scripts: Any, monkeypatch: pytest.MonkeyPatch, run: Path, *more: str) -> Any:
    words = ["compare.py", str(run), "all.tsv", "--column", "mood", "--folds", "3", *more]
    monkeypatch.setattr("sys.argv", words)
    return scripts.compare.Plan.of(scripts.compare.parse_args())


def test_each_fold_is_answered_by_a_head_that_has_not_seen_it(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    features = ("mel=logmel", "mix=w2v2:0,w2v2:-1@/w2v.pt")
    stages = list(scripts.compare.stages(plan(scripts, monkeypatch, tmp_path, "--features", *features)))
    check_order(stages, tmp_path)
    words = words_of(stages, "mix_1_2")
    layers = [f"{tmp_path}/features_mix_w2v2{number}/data" for number in ("0", "-1")]
    assert f"task.data={':'.join(layers)}" in words and "common.seed=2" in words
    keys = {each.key_or_group: each.value() for each in OverridesParser.create().parse_overrides(words[5:])}
    assert keys["dataset.train_subset"].strip("'") == "fold0,fold2" and keys["task.data"] == ":".join(layers)
    answers = words_of(stages, "answers_mix_1_2")
    assert (answers[1], value_of(answers, "--gen-subset")) == (":".join(layers), "fold1")
    assert words_of(stages, "features_mix_w2v2-1")[2] == "/w2v.pt"
    assert words_of(stages, "features_mel")[2] == "-"


def test_the_table_counts_all_folds_of_a_seed_together(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = plan(scripts, monkeypatch, tmp_path, "--features", "mel=logmel", "c=c@/pre.pt", "--seeds", "1")
    done = set()
    for fold, rows in enumerate((["a\ta", "a\ta"], ["b\ta", "b\tb"], ["b\ta", "b\ta"])):
        name = f"answers_mel_{fold}_1"
        done.add(name)
        (tmp_path / name).mkdir()
        lines = [f"u{i}\t{row.split()[1]}\t0.5\t{row.split()[0]}\n" for i, row in enumerate(rows)]
        (tmp_path / name / f"classes-fold{fold}.tsv").write_text(
            "utt\tanswer\tprobability\tclass\n" + "".join(lines)
        )
    scripts.compare.write_table(made, done - {"answers_mel_2_1"})
    assert len((tmp_path / "results.md").read_text().splitlines()) == 2
    scripts.compare.write_table(made, done)
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[2:] == ["| mel (1) | 50.0 | 62.5 |", "| one answer to all | 66.7 | 50.0 |"]


def test_what_is_asked_for_reaches_folds_and_heads(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("--features", "mel=logmel", "--most", "40", "--updates", "70", "--options", "model.dropout=0.3")
    stages = list(scripts.compare.stages(plan(scripts, monkeypatch, tmp_path, *more)))
    data = words_of(stages, "data")
    told = [value_of(data, option) for option in ("--column", "--folds", "--most")]
    assert told == ["mood", "3", "40"] and data[2] == str(tmp_path / "data/manifests")
    head = words_of(stages, "mel_2_3")
    assert {"optimization.max_update=70", "model.dropout=0.3", "common.seed=3"} <= set(head)
    plain = list(scripts.compare.stages(plan(scripts, monkeypatch, tmp_path)))
    assert "--most" not in words_of(plain, "data")
    assert "optimization.max_update=400" in words_of(plain, "log-mel_0_1")
    labels = words_of(plain, "labels")
    assert value_of(labels, "--unit") == value_of(labels, "--column") == "class"


def test_whose_utterances_are_drawn_depends_on_the_seed(scripts: Any) -> None:
    rows = [{"utt": str(i), "speaker": f"s{i % 2}", "class": "ab"[i % 4 > 1]} for i in range(40)]
    drawn = [[row["utt"] for row in scripts.prepare.drawn(rows, 4, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 8
    assert scripts.prepare.drawn(rows, None, 1) == rows


def test_each_class_is_shared_out_by_its_own_speakers(scripts: Any) -> None:
    """Whoever says much of another class takes nothing away."""
    sizes = {("s0", "a"): 10, ("s1", "a"): 4, ("s2", "b"): 3, ("s3", "b"): 3}
    rows = [{"speaker": who, "class": mood} for (who, mood), count in sizes.items() for _ in range(count)]
    found = scripts.prepare.split(rows, 2, 1)
    assert [Counter(row["class"] for row in fold) for fold in found] == [{"a": 10, "b": 3}, {"a": 4, "b": 3}]


def test_no_fewer_utterances_are_drawn_than_there_are_folds(
    scripts: Any, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="`--folds` is 3 and `--most` 2; expected 2 or more, and no fewer"):
        scripts.prepare.prepare(tmp_path / "out", [table], "mood", 3, 2, 1)
    scripts.prepare.prepare(tmp_path / "out", [table], "mood", 3, 3, 1)
    assert sum(map(len, folds(tmp_path / "out", 3))) == 4 * 3
    assert capsys.readouterr().out.splitlines()[-1].startswith("fold2: ")


def test_quotation_marks_in_a_table_stay(scripts: Any, tmp_path: Path) -> None:
    rows = [f'x/"{i}.wav\t16000\ts{i % 2}\t"glad\n' for i in range(4)]
    (tmp_path / "all.tsv").write_text("path\tn_samples\tspeaker\tmood\n" + "".join(rows))
    scripts.prepare.prepare(tmp_path / "out", [tmp_path / "all.tsv"], "mood", 2, None, 1)
    held = [Manifest(tmp_path / f"out/fold{i}.tsv") for i in range(2)]
    assert sorted(utt for each in held for utt in each.column("utt")) == [f'x-"{i}' for i in range(4)]
    assert {name for each in held for name in each.column("class")} == {'"glad'}


def test_states_of_a_bert_are_made_by_both_files_and_answered_by_the_last_checkpoint(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = ("--features", "states=bert:5@/vq.pt+/bert.pt", "--seeds", "4")
    stages = list(scripts.compare.stages(plan(scripts, monkeypatch, tmp_path, *more)))
    for number in range(3):
        made = words_of(stages, "features_states", number)
        assert (made[2], value_of(made, "--layer"), value_of(made, "--bert")) == (
            "/vq.pt",
            "bert:5",
            "/bert.pt",
        )
        assert made[3] == str(tmp_path / f"data/manifests/fold{number}.tsv")
        answers = words_of(stages, f"answers_states_{number}_4")
        assert value_of(answers, "--path") == str(tmp_path / f"states_{number}_4/checkpoint_last.pt")
        assert value_of(answers, "--labels") == str(tmp_path / "labels/data")
