"""What scripts are told reaches what they do, as the pages say; a mistake is one line and a status."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recipe_files import scripts_of

from vqw2v_plugin.recipes.runner import Stage

OUT, A, B = Path("out"), Path("a.tsv"), Path("b.tsv")
# folder, script, what it calls, its words, what that is given
CALLS: list[tuple[str, str, str, str, tuple[Any, ...]]] = [
    ("few_labels", "prepare", "prepare", "out a.tsv b.tsv", (OUT, [A, B], [1.0], [1])),
    (
        *("few_labels", "prepare", "prepare", "out a.tsv --shares 0.5 0.1 --seeds 2 3"),
        (OUT, [A], [0.5, 0.1], [2, 3]),
    ),
    ("multilingual", "draw", "prepare", "out a.tsv b.tsv", (OUT, [A, B], None, [10.0, 60.0], [1])),
    (
        *("multilingual", "draw", "prepare", "out a.tsv --lang de --minutes 2 3.5 --seeds 4 5"),
        (OUT, [A], "de", [2.0, 3.5], [4, 5]),
    ),
    ("multilingual", "prepare", "prepare", "out a.tsv", (OUT, A, [1.0], 0.03)),
    ("multilingual", "prepare", "prepare", "out a.tsv --alphas 1 0.5 --valid 0.2", (OUT, A, [1.0, 0.5], 0.2)),
    (
        "multilingual",
        "telephone",
        "prepare",
        "out a.tsv c",
        (OUT, A, Path("c"), ["so762_more/test"], 0.1, 0.03),
    ),
    (
        *("multilingual", "telephone", "prepare", "out a.tsv c --sets x/y z/y --share 0.3 --valid 0.2"),
        (OUT, A, Path("c"), ["x/y", "z/y"], 0.3, 0.2),
    ),
    ("utterance", "prepare", "prepare", "out a.tsv --column mood", (OUT, [A], "mood", 5, None, 1)),
    (
        *("utterance", "prepare", "prepare", "out a.tsv b.tsv --column mood --folds 3 --most 40 --seed 2"),
        (OUT, [A, B], "mood", 3, 40, 2),
    ),
    ("wav2vec_u", "pseudo", "write", "out a.tsv b.tsv", (OUT, [A, B])),
    ("wav2vec_u", "language", "make", "out", (OUT, "L1", 1, "sizes")),
    (
        *("wav2vec_u", "language", "make", "out --rung flat --seed 3 --utterances 40"),
        (OUT, "flat", 3, {"train": 40}),
    ),
]


@pytest.mark.parametrize(("folder", "script", "calls", "words", "given"), CALLS)
def test_words_become_arguments(
    folder: str,
    script: str,
    calls: str,
    words: str,
    given: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[tuple[Any, ...]] = []
    with scripts_of(folder, script) as (module,):
        if script == "language":
            *others, sizes = given
            given = (*others, module.SIZES if sizes == "sizes" else {**module.SIZES, **sizes})
        monkeypatch.setattr(module, calls, lambda *said: told.append(said) or 1234)
        monkeypatch.setattr("sys.argv", [f"{script}.py", *words.split()])
        assert module.main() == 0 and told == [given]
        said = capsys.readouterr().out
        assert said == {"pseudo": "out: 1,234 utterances\n"}.get(script, said)
        if script == "language":
            monkeypatch.setattr("sys.argv", ["language.py", "out", "--utterances", "0"])
            assert module.main() == 2 and len(told) == 1
            return

        def fails(*said: Any) -> None:
            raise ValueError("there is no such thing")

        monkeypatch.setattr(module, calls, fails)
        assert module.main() == 2
    assert capsys.readouterr().err == f"{script}.py: error: there is no such thing\n"


# folder, script, its words behind RUN, its table, and what lists its stages
RECIPES = [
    ("few_labels", "compare", "corpus", "results.md", "stages"),
    ("multilingual", "compare", "a.tsv corpora", "results.md", "stages"),
    ("multilingual", "domain", "a.tsv corpora --sets a/test", "results.md", "stages"),
    ("multilingual", "adapt", "corpora --audio a.tsv --checkpoints en=x.pt", "results.md", "stages"),
    ("utterance", "compare", "all.tsv --column mood", "results.md", "stages"),
    ("wav2vec2", "ablation", "", "results.md", "stages"),
    ("digits", "compare", "", "results.md", "stages"),
    ("digits", "sweep", "--sizes 1x4 2x8", "sweep.md", "with_codes"),
]


@pytest.mark.parametrize(("folder", "script", "words", "table", "lists"), RECIPES)
def test_a_recipe_runs_its_plan_s_stages_and_writes_its_table(
    folder: str,
    script: str,
    words: str,
    table: str,
    lists: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[Any, ...]] = []
    before = ["fsdd"] if folder == "digits" else []
    monkeypatch.setattr(
        "sys.argv", [f"{script}.py", *before, str(tmp_path / "run"), *words.split(), "--jobs", "2"]
    )
    with scripts_of(folder, script) as (module,):
        monkeypatch.setattr(module, "finish", lambda *said: told.append(said) or 7)
        assert module.main() == 7
        ((name, written, planned, *does),) = told
        assert (name, written) == (f"{script}.py", table)
        assert does == [getattr(module, lists), module.write_table]
        plan = planned()
    assert (plan.run, plan.jobs) == (tmp_path / "run", 2) and plan.rows


def test_a_grid_s_trials_hear_features_and_text_and_the_best_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "grid.py run f t --measure true --config toy --seeds 2 --jobs 3"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", words.split())
    asked: list[Any] = []
    ranked = [SimpleNamespace(checkpoint="best.pt"), SimpleNamespace(checkpoint="other.pt")]
    with scripts_of("wav2vec_u", "grid") as (grid,):
        monkeypatch.setattr(grid.library, "run_grid", lambda *said: asked.append(said) or ranked)
        monkeypatch.setattr(grid.library, "text_model", lambda text: f"model of {text}")
        monkeypatch.setattr(grid.library, "write_table", lambda *said: asked.append(said))
        monkeypatch.setattr(grid.library, "table", lambda ranked, model: ["a table", model])
        assert grid.main() == 0
    (made, first, jobs), written = asked
    assert made.settings == tuple(
        f"task.{k}={tmp_path / v}" for k, v in (("data", "f"), ("text", "t"), ("measure", "true"))
    )
    assert (made.run, len(made.trials), first, jobs) == (tmp_path / "run", 2, [], 3)
    assert written == (tmp_path / "run", ranked, "model of t")
    assert capsys.readouterr().out == "\na table\nmodel of t\n\nchosen: best.pt\n"


def test_a_ladder_s_languages_are_made_once_and_each_rung_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "out/flat/labels"
    labels.mkdir(parents=True)
    (labels / "labels.json").touch()
    words = f"ladder.py {tmp_path}/out --rungs L0 flat --language 5 --utterances 60 --seeds 1 --jobs 2"
    monkeypatch.setattr("sys.argv", words.split())
    made: list[Any] = []
    ran: list[Any] = []
    with scripts_of("wav2vec_u", "ladder") as (ladder,):
        monkeypatch.setattr(ladder, "make", lambda *said: made.append(said))
        monkeypatch.setattr(ladder, "text_model", lambda text: text)
        monkeypatch.setattr(
            ladder, "run_grid", lambda grid, first, jobs: ran.append((grid.run, first, jobs)) or []
        )
        monkeypatch.setattr(ladder, "write_table", lambda run, ranked, model: ran.append((run, model)))
        monkeypatch.setattr(ladder, "table", lambda ranked, model: [model.parent.name])
        assert ladder.main() == 0
        assert made == [(tmp_path / "out/L0", "L0", 5, {**ladder.SIZES, "train": 60})]
    assert ran == [
        step
        for rung in ("L0", "flat")
        for step in (
            (tmp_path / "out" / rung, [], 2),
            (tmp_path / "out" / rung, tmp_path / "out" / rung / "text"),
        )
    ]
    said = capsys.readouterr().out
    assert said == "\nL0: symbols at hidden places\n\nL0\n\nflat: any phone after any other\n\nflat\n\n"


def test_the_upper_rungs_are_asked_for_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    with scripts_of("wav2vec_u", "rungs") as (rungs,):
        monkeypatch.setattr(rungs, "climb", told.append)
        monkeypatch.setattr("sys.argv", ["rungs.py", "run"])
        assert rungs.main() == 0
    (args,) = told
    assert (args.run, args.rungs, args.minutes, args.language) == (Path("run"), ("L2", "L3"), 60, "es")
    assert (args.taught_updates, args.config, args.seeds, args.rounds) == (800, "spoken", 8, 3)


@pytest.mark.parametrize("status", [0, 3])
def test_a_corpus_becomes_spans_text_and_labels_of_both_splits(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = tmp_path / "halves", list[Any]()
    monkeypatch.setattr("sys.argv", ["spoken.py", str(out), "corpus"])
    with scripts_of("wav2vec_u", "spoken") as (spoken,):
        monkeypatch.setattr(spoken, "write_text", lambda *given: said.append(given))
        monkeypatch.setattr(spoken, "write_spoken", lambda *given: said.append(given))
        monkeypatch.setattr(spoken, "vqw2v", lambda words: said.append(words) or status)
        assert spoken.main() == status and out.is_dir()
    text, *steps = said
    assert text == (out / "text.txt", "es", 8000, 7)
    expected = []
    for split in ("train", "valid")[: 1 if status else 2]:
        words = ["labels", f"corpus/{split}.tsv", str(out / "labels"), "--unit", "phones", "--text"]
        expected += [(out, Path("corpus"), split), [*words, str(out / f"{split}.txt")]]
    assert steps == expected


@pytest.mark.parametrize("found", [{}, {"wav2vec-U, greedy": 25.0}])
def test_a_recipe_without_labels_goes_in_through_a_grid_and_out(
    found: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    words = f"recipe.py {run} m t.txt --layer w2v2:15 --jobs 3 --taught-updates 70 --lexicon {tmp_path}/l.txt"
    monkeypatch.setattr("sys.argv", words.split())
    ran: list[Any] = []
    chosen = run / "grid/seed1/2/checkpoint_best.pt"
    ranked = [SimpleNamespace(checkpoint=chosen), SimpleNamespace(checkpoint=run / "other.pt")]
    with scripts_of("wav2vec_u", "parts", "recipe") as (parts, recipe):
        trial = Stage("grid/seed1/2", [["x"]], "A trial", 1)
        grid = SimpleNamespace(stages_of=lambda ranked, first: ran.append(first) or [trial])
        monkeypatch.setattr(
            recipe, "run_recipe", lambda run, stages, **how: ran.append(([s.name for s in stages], how))
        )
        monkeypatch.setattr(recipe, "grid_of", lambda args, run, said: ran.append((run, said)) or grid)
        monkeypatch.setattr(recipe, "run_grid", lambda grid, first, jobs: ran.append(jobs) or ranked)
        monkeypatch.setattr(recipe, "tell", lambda grid, ranked, text: ran.append(text))
        monkeypatch.setattr(recipe, "errors", lambda inputs: found)
        assert recipe.main() == 0
        inputs = recipe.inputs_of(recipe.arguments())
        first = [stage.name for stage in parts.going_in(inputs)]
        last = [stage.name for stage in parts.coming_out(inputs, chosen, "grid/seed1/2", 70)]
        assert ("--lexicon", str(tmp_path / "l.txt")) == inputs.phones[-2:]
        asked = (run, parts.settings(inputs))
    how = {"jobs": 3, "threads": 1}
    assert ran == [
        *((first, how), asked, 3, inputs.phone_text, first),
        ([*first, "grid/seed1/2", *last, "report"], how),
    ]
    assert (run / "errors.md").is_file() == bool(found)
    assert ("| wav2vec-U, greedy | 25.0 |" in capsys.readouterr().out) == bool(found)


def test_no_script_takes_a_shortened_option() -> None:
    """`--seed` for `--seeds` would be taken for a while, and mean something else with the next option."""
    root = Path(__file__).resolve().parents[2]
    for path in [*root.glob("examples/*/*.py"), *root.glob("benchmarks/*.py")]:
        text = path.read_text()
        assert text.count("ArgumentParser(") == text.count("allow_abbrev=False"), path


def test_a_grid_without_labels_is_told_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", "grid.py run f t".split())
    asked: list[Any] = []
    with scripts_of("wav2vec_u", "grid") as (grid,):
        monkeypatch.setattr(grid.library, "run_grid", lambda made, *_: asked.append(made.settings))
        monkeypatch.setattr(grid, "tell", lambda *_: None)
        assert grid.main() == 0
    assert asked == [(f"task.data={tmp_path / 'f'}", f"task.text={tmp_path / 't'}")]
