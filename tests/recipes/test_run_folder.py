import os
from pathlib import Path

import pytest

from vqw2v_plugin.recipes import folder as run_folder
from vqw2v_plugin.recipes import runner as recipe
from vqw2v_plugin.recipes.folder import RunError, RunFolder


def make(path: Path, text: str = "", when: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if when:
        os.utime(path, (when, when))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make(tmp_path / "corpus/begun", "vqw2v toy X --seed 4\n", 100)
    make(tmp_path / "corpus/log.txt", "made\n")
    make(tmp_path / "corpus/done", "vqw2v toy X --seed 4\n", 160)
    make(tmp_path / "corpus/data/train.tsv", "root\n")
    make(tmp_path / "corpus/data/flac/a.flac")
    make(tmp_path / "a_training/begun", "fairseq-hydra-train a 'b c'\nmore\nafter corpus 12ab\n", 200)
    make(tmp_path / "a_training/log.txt", "half a line")
    make(tmp_path / "a_training/.hydra/config.yaml", "x: 1")
    make(tmp_path / "a_training/.secret/config.yaml", "x: 1")
    make(tmp_path / "by_hand/tokens.json", "{}", 300)
    make(tmp_path / "notes.txt", "mine")
    return tmp_path


def test_marks_are_those_of_the_recipe() -> None:
    assert (run_folder.LOG, run_folder.BEGUN, run_folder.DONE) == (recipe.LOG, recipe.BEGUN, recipe.DONE)


def test_stages_stand_in_the_order_in_which_they_began(run: Path) -> None:
    stages = RunFolder(run).stages
    assert [stage.name for stage in stages] == ["corpus", "a_training", "by_hand"]
    assert [stage.state for stage in stages] == ["done", "unfinished", "unknown"]
    assert [stage.seconds for stage in stages] == [60, None, None]


def test_commands_and_needs_are_read_from_the_marks(run: Path) -> None:
    corpus, training, by_hand = RunFolder(run).stages
    assert corpus.commands == ("vqw2v toy X --seed 4",) and corpus.needs == ()
    assert training.commands == ("fairseq-hydra-train a 'b c'", "more") and training.needs == ("corpus",)
    assert training.arguments() == ["fairseq-hydra-train", "a", "b c", "more"]
    assert by_hand.commands == ()


def test_files_belong_to_the_stage_above_them_and_hidden_ones_to_none(run: Path) -> None:
    folder = RunFolder(run)
    assert [(s.name, p.name) for s, p in folder.find("*.tsv")] == [("corpus", "train.tsv")]
    assert [(s.name, p.parent.name) for s, p in folder.find("config.yaml")] == [("a_training", ".hydra")]
    assert folder.find("notes.txt") == []
    assert folder.short(f"{folder.path}/corpus/x") == "RUN/corpus/x"


def test_the_stage_that_makes_the_page_is_left_out_but_its_list_is_read(run: Path) -> None:
    make(run / "report/begun", "vqw2v report RUN x.html\nafter corpus 1\nafter decode 2\n", 400)
    folder = RunFolder(run, without=run / "report")
    assert [stage.name for stage in folder.stages] == ["corpus", "a_training", "by_hand"]
    assert folder.listed == ("corpus", "decode")


def test_a_trainings_folder_alone_is_a_run(run: Path) -> None:
    (stage,) = RunFolder(run / "a_training").stages
    assert stage.name == "a_training" and stage.state == "unfinished"


def test_a_copied_runs_times_say_nothing(run: Path) -> None:
    os.utime(run / "corpus/begun", (160, 160))
    assert RunFolder(run).stages[0].seconds is None


@pytest.mark.parametrize("name", ["missing", "notes.txt", "empty"])
def test_what_is_no_run_is_refused_by_name(run: Path, name: str) -> None:
    (run / "empty").mkdir()
    with pytest.raises(RunError, match=name):
        RunFolder(run / name)
