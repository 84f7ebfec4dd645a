"""A grid of trainings without labels: halves go on by their scores, and no error decides anything."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from report_tables import table_of

from vqw2v_plugin.analysis import grid as library
from vqw2v_plugin.analysis.grid import Found, Grid, all_trials, run_grid, table, write_table
from vqw2v_plugin.analysis.report_page.trials import trials_section
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.recipes.folder import RunFolder
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import number_words
from vqw2v_plugin.text.ngram_score import TextModel, perplexity, score_by_text, score_of

TOY = Path(__file__).resolve().parents[2] / "examples" / "wav2vec_u" / "toy.yaml"
TEXT = TextModel(lambda words: 0.0, 3.0, 9.0)


def logged(run: Path, began: list[str]) -> object:
    """Trainings whose scores fall with the seed and the updates, and whose errors rise."""

    def runs(folder: Path, stages: Sequence[Stage], **_: object) -> None:
        for stage in stages:
            name = stage.name.removeprefix("grid/")
            if stage.name == name or (run / stage.name).exists():
                continue
            began.append(name)
            trial, updates = name.split("/")
            seed = int(trial.rpartition("seed")[2])
            score = 100 / seed - int(updates) / 100
            (run / stage.name).mkdir(parents=True)
            (run / stage.name / "log.txt").write_text(
                f"[2026-11-29 00:37:14,782][valid][INFO] - epoch 004 | valid on 'valid' subset | loss 4 | "
                f"weighted_lm_ppl {score} | vocab_seen_pct 0.6 | uer {10 * seed} | num_updates {updates}\n"
            )

    return runs


def small(run: Path, seeds: int = 4, rounds: int = 3) -> Grid:
    trials = all_trials(range(1, seeds + 1), {"gradient_penalty": [0.5]})
    return Grid(run, TOY, ("task.data=d",), trials, 400, rounds)


def test_every_seed_meets_every_choice_of_weights() -> None:
    trials = all_trials((1, 2), {"gradient_penalty": [1.5, 2], "code_penalty": [4]})
    assert [trial.name for trial in trials] == [
        "gp1.5_cp4_seed1",
        "gp1.5_cp4_seed2",
        "gp2_cp4_seed1",
        "gp2_cp4_seed2",
    ]
    assert trials[2].settings == ["common.seed=1", "model.gradient_penalty=2", "model.code_penalty=4"]
    assert [trial.name for trial in all_trials((3,), {})] == ["seed3"]


def test_rounds_double_and_go_on_from_the_one_before(tmp_path: Path) -> None:
    grid = small(tmp_path)
    first, second, third = grid.stages(grid.trials[0], 3, ["segments"])
    assert [stage.updates for stage in (first, second, third)] == [100, 200, 400]
    assert "checkpoint.restore_file" not in str(first.commands) and first.needs == ["segments"]
    before = f"checkpoint.restore_file={tmp_path}/grid/gp0.5_seed1/100/checkpoint_last.pt"
    assert before in second.commands[0] and second.needs == ["segments", "grid/gp0.5_seed1/100"]


def test_the_better_half_goes_on_by_score_and_errors_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[str] = []
    monkeypatch.setattr(library, "run_recipe", logged(tmp_path, began))
    said: list[str] = []
    ranked = run_grid(small(tmp_path), [], 1, said.append)
    assert began[4:] == ["gp0.5_seed3/200", "gp0.5_seed4/200", "gp0.5_seed4/400"]
    assert [each.trial.seed for each in ranked] == [4, 3, 2, 1]
    assert [each.trained for each in ranked] == [400, 200, 100, 100]
    assert (
        ranked[0].error == 40 and ranked[0].checkpoint == tmp_path / "grid/gp0.5_seed4/400/checkpoint_best.pt"
    )
    assert said == [
        "round 1: 2 of 4 go on; the best score: 24.00",
        "round 2: 1 of 2 go on; the best score: 23.00",
    ]
    again: list[str] = []
    monkeypatch.setattr(library, "run_recipe", logged(tmp_path, again))
    assert run_grid(small(tmp_path), [], 1, said.append) == ranked and again == []


def found(seed: int, score: float, error: float | None) -> Found:
    trial = all_trials((seed,), {})[0]
    return Found(trial, score, 300, 400, 0.9, error, Path(f"{seed}.pt"))


def test_the_table_says_which_is_chosen_and_whether_it_is_text(tmp_path: Path) -> None:
    lines = table([found(2, 3.5, 12.0), found(1, 30.0, 90.0)], TEXT)
    assert lines[0] == "| trial | score | updates | of | phones used | error, % |"
    assert lines[2] == "| seed2 | 3.50 | 300 | 400 | 90% | 12.0 |"
    assert lines[-1].endswith("Chosen without a label: seed2, which is text by its score.")
    half = table([found(2, 3.5, None), found(1, 30.0, 90.0)], TEXT)  # measured for one of them
    assert half[0] == lines[0] and half[2] == "| seed2 | 3.50 | 300 | 400 | 90% |  |"
    assert table([found(2, 3.5, 0.0)], TEXT)[2] == "| seed2 | 3.50 | 300 | 400 | 90% | 0.0 |"
    unmeasured = table([found(1, 30.0, None)], TEXT)
    assert "error" not in unmeasured[0] and unmeasured[-1].endswith("which is NOT text by its score.")


def test_the_page_of_the_run_has_the_table(tmp_path: Path) -> None:
    (tmp_path / "grid" / "seed2" / "400").mkdir(parents=True)
    (tmp_path / "grid" / "seed2" / "400" / "log.txt").write_text("")
    view = RunView(RunFolder(tmp_path), PageOptions())
    assert trials_section(view) is None
    write_table(tmp_path, [found(2, 3.5, 12.0), found(1, 30.0, None)], TEXT)
    section = trials_section(view)
    assert section is not None and section.title == "Chosen without labels"
    assert (
        "<b>seed2</b>" in section.body and "12.0" in section.body and "is text by its score" in section.body
    )
    assert "<b>seed1</b>" not in section.body
    assert json.loads((tmp_path / "grid" / "grid.json").read_text())["chosen"] == "seed2"
    write_table(tmp_path, [found(1, 30.0, None)], TEXT)
    section = trials_section(view)
    assert section is not None and "is NOT text by its score" in section.body
    endless = json.loads((tmp_path / "grid" / "grid.json").read_text())
    endless["trials"][0]["trained"] = float("inf")
    for broken in ("[]", "{", '{"trials": [{}], "chosen": 1, "text": {}, "is_text": 1}', json.dumps(endless)):
        (tmp_path / "grid" / "grid.json").write_text(broken)
        assert trials_section(view) is None


def test_what_is_no_grid_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the grid has no trials"):
        small(tmp_path, seeds=0)
    for rounds in (0, 9):
        with pytest.raises(ValueError, match=f"`--rounds` is {rounds} and `--updates` 400"):
            small(tmp_path, rounds=rounds)
    with pytest.raises(ValueError, match="expected 1 to 10 rounds"):
        dataclasses.replace(small(tmp_path), updates=1 << 12, rounds=11)
    assert dataclasses.replace(small(tmp_path), updates=1 << 10, rounds=10).updates_after(1) == 2
    with pytest.raises(ValueError, match=r"gp0.5_seed1: was never validated"):
        small(tmp_path).found(small(tmp_path).trials[0], 1)


def scores(grid: Grid, *rounds: tuple[float, float]) -> None:
    """A log of each round of the first trial, its validations after half of it and all of it."""
    for number, pair in enumerate(rounds, 1):
        folder, updates = grid.run / grid.stage_name(grid.trials[0], number), grid.updates_after(number)
        folder.mkdir(parents=True)
        lines = [
            f"[now][valid][INFO] - epoch 1 | valid on 'valid' subset | loss 4 | weighted_lm_ppl {score} | "
            f"vocab_seen_pct {score / 100} | uer {score + 1} | num_updates {at}\n"
            for score, at in zip(pair, (updates // 2, updates), strict=True)
        ]
        (folder / "log.txt").write_text("".join(lines))


def test_a_trial_is_judged_by_its_best_validation_of_whatever_round(tmp_path: Path) -> None:
    grid = small(tmp_path)
    scores(grid, (60, 30), (20, 40), (50, 70))
    best = grid.found(grid.trials[0], 3)
    assert (best.score, best.updates, best.trained, best.used, best.error) == (20, 100, 400, 0.2, 21)
    assert best.checkpoint == tmp_path / "grid/gp0.5_seed1/200/checkpoint_best.pt"
    assert grid.found(grid.trials[0], 1).score == 30


def test_of_two_validations_that_are_as_good_the_earlier_counts(tmp_path: Path) -> None:
    grid = small(tmp_path)
    scores(grid, (60, 30), (30, 30))
    best = grid.found(grid.trials[0], 2)
    assert (best.updates, best.trained) == (100, 200)
    assert best.checkpoint == tmp_path / "grid/gp0.5_seed1/100/checkpoint_best.pt"


def test_of_three_trials_two_go_on_and_each_round_is_run_as_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[str] = []
    run, given = logged(tmp_path, began), []

    def noted(folder: Path, stages: Sequence[Stage], **more: object) -> None:
        given.append((folder, stages[0].name, more))
        assert all("text" in stage.needs for stage in stages[1:])
        run(folder, stages)  # type: ignore[operator]

    monkeypatch.setattr(library, "run_recipe", noted)
    run_grid(small(tmp_path, seeds=3, rounds=2), [Stage("text", [], "", 1)], 5, lambda _: None)
    assert began[3:] == ["gp0.5_seed2/400", "gp0.5_seed3/400"]
    assert given == [(tmp_path, "text", {"jobs": 5, "threads": 1})] * 2


def test_a_trial_s_trainings_have_all_settings_and_half_the_time_where_they_go_on(tmp_path: Path) -> None:
    grid = Grid(tmp_path, TOY, ("task.data=d",), all_trials((7,), {"code_penalty": [4]}), 400, 2, minutes=8)
    first, second = grid.stages(grid.trials[0], 2, [])
    for stage, updates in ((first, 200), (second, 400)):
        (words,) = stage.commands
        settings = {"task.data=d", "common.seed=7", "model.code_penalty=4"}
        assert settings | {f"optimization.max_update={updates}"} <= set(words)
    assert (first.minutes, second.minutes) == (4, 4)
    ranked = [found(1, 3.0, None)]
    assert [stage.name for stage in grid.stages_of(ranked, [])] == ["grid/seed1/200", "grid/seed1/400"]


def test_what_scores_as_well_stands_in_the_order_of_names() -> None:
    ranked = library.ranked_of([found(3, 2.0, 1.0), found(1, 2.0, 9.0), found(2, 1.0, None)])
    assert [each.trial.seed for each in ranked] == [2, 1, 3]


def test_text_is_judged_without_its_silence(tmp_path: Path) -> None:
    (tmp_path / "dict.phn.txt").write_text("a 1\nb 1\n<SIL> 1\n")
    with_silence, bare = "<SIL> a b <SIL> a <SIL>\n<SIL>\n", "a b a\n"
    models = []
    for lines in (with_silence, bare):
        for split in ("train", "valid"):
            (tmp_path / f"{split}.phn").write_text(lines * 20)
        models.append(library.text_model(tmp_path))
    assert models[0].of_text == models[1].of_text and models[0].of_phones == models[1].of_phones


def test_the_table_s_file_has_every_figure(tmp_path: Path) -> None:
    write_table(tmp_path, [found(2, 3.5, 12.0), found(1, 30.0, None)], TEXT)
    about = json.loads((tmp_path / "grid" / "grid.json").read_text())
    assert about["text"] == {"of_text": 3.0, "of_phones": 9.0} and about["is_text"] is True
    named = ("trial", "score", "updates", "trained", "used", "error", "checkpoint")
    assert [about["trials"][0][name] for name in named] == ["seed2", 3.5, 300, 400, 0.9, 12.0, "2.pt"]
    section = trials_section(RunView(RunFolder(_of_a_run(tmp_path)), PageOptions()))
    assert section is not None
    assert [list(row.values()) for row in table_of(section.body)] == [
        ["seed2", "3.50", "300", "400", "90%", "12.0"],
        ["seed1", "30.00", "300", "400", "90%", "–"],
    ]
    assert "has a perplexity of 3.00, phones one by one of 9.00" in section.body
    write_table(tmp_path, [found(2, 3.5, 0.0)], TEXT)
    section = trials_section(RunView(RunFolder(tmp_path), PageOptions()))
    assert section is not None and table_of(section.body)[0]["error, %"] == "0.0"


def _of_a_run(folder: Path) -> Path:
    (folder / "grid/seed2/400").mkdir(parents=True)
    (folder / "grid/seed2/400/log.txt").touch()
    return folder


def test_a_score_is_judged_by_text_that_was_not_learnt_from_and_by_the_model_that_is_named(
    tmp_path: Path,
) -> None:
    learnt, unseen = [["a", "b", "a"], ["b"]], [["b", "b"], ["a"]]
    (tmp_path / "dict.phn.txt").write_text("a 1\nb 1\n")
    for split, part in (("train", learnt), ("valid", unseen)):
        (tmp_path / f"{split}.phn").write_text("".join(f"{' '.join(line)}\n" for line in part * 9))
    model = library.text_model(tmp_path)
    assert model.of_text == pytest.approx(perplexity(score_by_text(learnt * 9, 4), unseen))
    assert model.of_phones == pytest.approx(perplexity(score_by_text(learnt * 9, 1), unseen))
    write_arpa(train_ngram(number_words([b"a b b", b"b"] * 9), 2), tmp_path / "lm.arpa")
    named = library.text_model(tmp_path, str(tmp_path / "lm.arpa"))
    assert named.of_text == pytest.approx(perplexity(score_of(tmp_path / "lm.arpa"), unseen))
    assert named.of_text != pytest.approx(model.of_text, rel=0.01) and named.of_phones == model.of_phones
