"""The demo: its stages follow from each other, and its table has what they found."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from recipe_files import check_order, scripts_of, value_of, words_of

from vqw2v_plugin.toy.speakers import make_speakers


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    with scripts_of("toy", "recipe") as (module,):
        yield module


def test_each_stage_reads_what_the_stages_that_it_needs_have_made(recipe: ModuleType, tmp_path: Path) -> None:
    listed = recipe.stages(tmp_path, 20)
    check_order(listed, tmp_path)
    assert set(listed[-1].needs) == {stage.name for stage in listed[:-1]} and listed[-1].name == "report"
    for split in ("train", "valid", "test"):
        for name in ("tokens", "features_logmel", "features_vq", "features_bert", "labels"):
            (stage,) = (stage for stage in listed if stage.name == name)
            said = [word for command in stage.commands for word in command]
            assert str(tmp_path / f"corpus/data/{split}.tsv") in said


def test_the_same_words_are_learnt_from_spectra_codes_and_bert(recipe: ModuleType, tmp_path: Path) -> None:
    listed = recipe.stages(tmp_path, 20)
    gumbel, bert = (str(tmp_path / name / "checkpoint_last.pt") for name in ("gumbel", "bert"))
    made = {name: words_of(listed, f"features_{name}") for name in ("logmel", "vq", "bert")}
    assert [words[2] for words in made.values()] == ["-", gumbel, gumbel]
    assert [value_of(words, "--layer") for words in made.values()] == ["logmel", "q", "bert"]
    assert value_of(made["bert"], "--workers") == "2"  # beside nothing else that could run
    assert value_of(made["bert"], "--bert") == bert and "--bert" not in made["vq"]
    for name in made:
        data = tmp_path / f"features_{name}/data"
        trained = words_of(listed, f"acoustic_{name}")
        assert {f"task.data={data}", f"task.labels={tmp_path}/labels/data"} <= set(trained)
        assert words_of(listed, f"abx_{name}")[2] == str(data)
        for decoder in ("greedy", "lexicon"):
            words = words_of(listed, f"{decoder}_{name}")
            assert words[1] == str(data) and value_of(words, "--decoder") == decoder
            assert value_of(words, "--path") == str(tmp_path / f"acoustic_{name}/checkpoint_best.pt")
            assert value_of(words, "--gen-subset") == "test"
            assert ("--lm" in words) == ("--lexicon" in words) == (decoder == "lexicon")
    assert value_of(words_of(listed, "lm"), "--order") == "4"
    assert words_of(listed, "lm")[2] == str(tmp_path / "labels/data/train.wrd")


@pytest.mark.parametrize(
    ("options", "minutes", "jobs"), [([], "20", 2), (["--minutes", "2.5", "--jobs", "1"], "2.5", 1)]
)
def test_the_demo_runs_all_stages_of_as_many_minutes_as_asked_for_and_shows_its_table(
    recipe: ModuleType,
    tmp_path: Path,
    options: list[str],
    minutes: str,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []

    def ran(run: Path, stages: Any, **how: Any) -> None:
        asked.append((run, stages, how))
        for d, decoder in enumerate(recipe.DECODERS, 1):
            for f, name in enumerate(recipe.FEATURES, 1):
                (run / f"{decoder}_{name}").mkdir(parents=True)
                rates = {"rate": 10.0 * d + f + 0.04}
                (run / f"{decoder}_{name}" / "errors-test.json").write_text(json.dumps(rates))
                (run / f"new_{decoder}_{name}").mkdir(parents=True)
                rates = {"rate": 30.0 + 10.0 * d + f + 0.04}
                (run / f"new_{decoder}_{name}" / "errors-train.json").write_text(json.dumps(rates))

    monkeypatch.setattr(recipe, "run_recipe", ran)
    monkeypatch.setattr("sys.argv", ["recipe.py", str(tmp_path / "r"), *options])
    assert recipe.main() == 0
    ((run, stages, how),) = asked
    assert run == tmp_path / "r" and how == {"jobs": jobs, "threads": 1}
    corpus = words_of(stages, "corpus")
    assert corpus[1:3] == ["toy", str(run / "corpus/data")]
    assert (value_of(corpus, "--minutes"), value_of(corpus, "--speakers")) == (minutes, "6")
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.endswith((".0", ".1"))]
    assert [row[-2:] for row in rows[:3]] == [["11.0", "21.0"], ["12.0", "22.0"], ["13.0", "23.0"]]
    assert [row[-2:] for row in rows[3:]] == [["41.0", "51.0"], ["42.0", "52.0"], ["43.0", "53.0"]]
    assert "On other voices log-mel energies are ahead as well" in said
    assert rows[0][0] == "log-mel" and rows[2][:3] == ["vq-wav2vec", "+", "BERT"]


def test_other_voices_are_none_of_training_and_meet_the_same_models(
    recipe: ModuleType, tmp_path: Path
) -> None:
    listed = recipe.stages(tmp_path, 20)
    seed = int(value_of(words_of(listed, "new_corpus"), "--seed"))
    cast = [{each.voice for each in make_speakers(6, ("en",), number)} for number in (1, seed)]
    assert not cast[0] & cast[1]
    known = tmp_path / "labels/data/dict.ltr.txt"
    assert value_of(words_of(listed, "new_labels"), "--dict") == str(known)
    for name in recipe.FEATURES:
        ours, theirs = (words_of(listed, f"{before}features_{name}") for before in ("", "new_"))
        assert ours[2] == theirs[2] and theirs[3] == str(tmp_path / "new_corpus/data/train.tsv")
        assert value_of(ours, "--layer") == value_of(theirs, "--layer")
        assert ("--bert" in ours) == ("--bert" in theirs)
        for decoder in recipe.DECODERS:
            words, before = (words_of(listed, f"{new}{decoder}_{name}") for new in ("new_", ""))
            for option in ("--path", "--decoder"):
                assert value_of(words, option) == value_of(before, option)
            assert words[1] == str(tmp_path / f"new_features_{name}/data")
    assert recipe.verdict(9.9, {"vq": 8.0, "bert": 9.0}) == (
        "On other voices vq-wav2vec is ahead of log-mel energies."
    )


def test_a_demo_that_fails_has_no_table(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(recipe, "run_recipe", fails)
    monkeypatch.setattr("sys.argv", ["recipe.py", str(tmp_path / "r")])
    assert recipe.main() == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("demo: no room")


def test_the_page_shows_what_more_audio_is_worth(recipe: ModuleType, tmp_path: Path) -> None:
    picture, _, caption = value_of(words_of(recipe.stages(tmp_path, 20), "report"), "--picture").partition(
        "="
    )
    assert Path(picture).read_bytes().startswith(b"\x89PNG") and caption.startswith("Real speech, few labels")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((50.0, 40.0, 45.0), "On other voices vq-wav2vec is ahead of log-mel energies."),
        ((40.0, 50.0, 45.0), "On other voices log-mel energies are ahead as well"),
        ((40.0, 40.0, 41.0), "On other voices log-mel energies are ahead as well"),
    ],
)
def test_who_is_ahead_is_told_by_words_of_the_lexicon_and_of_other_voices(
    recipe: ModuleType,
    tmp_path: Path,
    others: tuple[float, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By each decoder alone and by voices of training it is the other way round."""
    for name, rate in zip(recipe.FEATURES, others, strict=True):
        for before, decoder, split, found in (
            *(("", "greedy", "test", 100 - rate), ("", "lexicon", "test", 100 - rate)),
            *(("new_", "greedy", "train", 100 - rate), ("new_", "lexicon", "train", rate)),
        ):
            (tmp_path / f"{before}{decoder}_{name}").mkdir()
            file = tmp_path / f"{before}{decoder}_{name}" / f"errors-{split}.json"
            file.write_text(json.dumps({"rate": found}))
    recipe.print_table(tmp_path)
    assert said in capsys.readouterr().out


def test_codes_are_looked_at_where_they_were_learnt_and_phones_where_nobody_learnt(
    recipe: ModuleType, tmp_path: Path
) -> None:
    listed = recipe.stages(tmp_path, 20)
    used = words_of(listed, "usage")
    assert used[2:4] == [
        *(str(tmp_path / "gumbel/checkpoint_last.pt"), str(tmp_path / "corpus/data/train.tsv"))
    ]
    for name in recipe.FEATURES:
        assert value_of(words_of(listed, f"abx_{name}"), "--split") == "test"
    assert f"task.data={tmp_path}/corpus/data" in words_of(listed, "gumbel")
    assert f"task.data={tmp_path}/tokens/data" in words_of(listed, "bert")
    spelled = words_of(listed, "labels")
    assert (value_of(spelled, "--text"), value_of(spelled, "--unit")) == ("text", "letters")
