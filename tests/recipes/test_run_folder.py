"""What a recipe writes into the folders of its stages is what is read from them; old runs stay readable."""

import os
from pathlib import Path

import pytest
from python_code import python

from vqw2v_plugin.recipes import folder as folder_module
from vqw2v_plugin.recipes.folder import (
    BEGUN,
    DONE,
    RunError,
    RunFolder,
    StageFolder,
    Stamp,
    begin,
    finish,
    hash_of,
)
from vqw2v_plugin.recipes.runner import Stage, run_recipe, stage_stamps

TOY = Stamp(("vqw2v toy X --seed 4",))
TRAINING = Stamp(
    ("fairseq-hydra-train a 'b c'", "more"), (("corpus", TOY.hash),), (("/my yaml/a.yaml", hash_of(b"x: 1")),)
)


def make(path: Path, text: str = "", when: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if when:
        os.utime(path, (when, when))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    begin(tmp_path / "corpus", TOY)
    make(tmp_path / "corpus/log.txt", "made\n")
    finish(tmp_path / "corpus", TOY)
    begin(tmp_path / "a_training", TRAINING)
    for mark, when in (("corpus/begun", 100), ("corpus/done", 160), ("a_training/begun", 200)):
        os.utime(tmp_path / mark, (when, when))
    make(tmp_path / "corpus/data/train.tsv", "root\n")
    make(tmp_path / "corpus/data/flac/a.flac")
    make(tmp_path / "a_training/log.txt", "half a line")
    make(tmp_path / "a_training/.hydra/config.yaml", "x: 1")
    make(tmp_path / "a_training/.secret/config.yaml", "x: 1")
    make(tmp_path / "by_hand/tokens.json", "{}", 300)
    make(tmp_path / "notes.txt", "mine")
    return tmp_path


def test_a_stamp_is_text_that_earlier_runs_hold() -> None:
    """A stage whose stamp is another runs anew: this text may never change."""
    text = (
        "fairseq-hydra-train a 'b c'\n"
        "more\n"
        "after corpus 05147b104ed19694\n"
        "with /my yaml/a.yaml db0d222aebf678ab\n"
    )
    assert TRAINING.text == text and Stamp.parse(text) == TRAINING
    assert Stamp(()).text == "\n" and Stamp.parse("\n") == Stamp.parse("") == Stamp(())


@pytest.mark.parametrize("command", ["with care", "after all", "sh -c 'a\n\nafter b 0123456789abcdef\n'"])
def test_every_command_comes_back_from_a_stamp(command: str) -> None:
    for stamp in (Stamp((command,)), Stamp((command, "more"), TRAINING.needs, TRAINING.reads)):
        assert Stamp.parse(stamp.text) == stamp


def test_what_a_recipe_wrote_is_read_as_commands_needs_and_files(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("lr: 1")
    stages = [
        Stage("one", python("print(1)\nprint(2)"), "First", 0.1),
        Stage("two", [["echo", "a b"], ["true"]], "Second", 0.1, needs=["one"], reads=[settings]),
    ]
    run_recipe(tmp_path / "run", stages)
    one, two = RunFolder(tmp_path / "run").stages
    assert one.arguments()[1:] == ["-c", "print(1)\nprint(2)"] and len(one.commands) == 1
    assert two.commands == ("echo 'a b'", "true") and two.needs == ("one",)
    for name in (BEGUN, DONE):
        assert (tmp_path / "run/two" / name).read_text() == stage_stamps(stages)["two"].text


def test_stages_stand_in_the_order_in_which_they_began(run: Path) -> None:
    stages = RunFolder(run).stages
    assert [stage.name for stage in stages] == ["corpus", "a_training", "by_hand"]
    assert [stage.state for stage in stages] == ["done", "unfinished", "unknown"]
    assert [stage.seconds for stage in stages] == [60, None, None]


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        (["log.txt"], "unfinished"),
        (["begun"], "unfinished"),
        (["begun", "done"], "done"),
        (["done"], "done"),
        (["train.log"], "unknown"),
    ],
)
def test_whether_a_stage_is_done_is_said_by_its_marks(marks: list[str], state: str, tmp_path: Path) -> None:
    for name in marks:
        make(tmp_path / "stage" / name)
    (stage,) = RunFolder(tmp_path).stages
    assert stage.state == state


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
    begin(run / "report", Stamp(("vqw2v report RUN x.html",), (("corpus", TOY.hash), ("decode", TOY.hash))))
    folder = RunFolder(run, without=run / "report")
    assert [stage.name for stage in folder.stages] == ["corpus", "a_training", "by_hand"]
    assert folder.listed == ("corpus", "decode")


def test_a_trainings_folder_alone_is_a_run(run: Path) -> None:
    (stage,) = RunFolder(run / "a_training").stages
    assert stage.name == "a_training" and stage.state == "unfinished"


def test_a_copied_runs_times_say_nothing(run: Path) -> None:
    os.utime(run / "corpus/begun", (160, 160))
    assert RunFolder(run).stages[0].seconds is None


def test_a_stage_began_when_its_first_mark_says(run: Path) -> None:
    make(run / "late/hydra_train.log", "x", 400)
    make(run / "late/a.txt", "x", 5)
    make(run / "bare/checkpoint_last.pt", "x", 350)
    make(run / "bare/a.txt", "x", 340)
    began = {stage.name: stage.began for stage in RunFolder(run).stages}
    assert began == {"corpus": 100, "a_training": 200, "by_hand": 300, "late": 400, "bare": 340}


def test_a_training_s_last_checkpoint_is_preferred_to_its_best(run: Path) -> None:
    training = RunFolder(run / "a_training").stages[0]
    assert training.checkpoint is None
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        make(run / "a_training" / name)
        found = training.checkpoint
        assert found is not None and found.name == name


def test_a_stage_that_begins_anew_takes_nothing_that_its_links_lead_to(
    run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    make(outside / "a.wav", "mine")
    (run / "corpus/linked").symlink_to(outside)
    (run / "corpus/file.wav").symlink_to(outside / "a.wav")
    begin(run / "corpus", TRAINING)
    assert [path.name for path in (run / "corpus").iterdir()] == [BEGUN]
    assert (outside / "a.wav").read_text() == "mine"


def test_a_mark_that_a_killed_recipe_has_half_written_is_no_stranger_s_file(tmp_path: Path) -> None:
    make(tmp_path / "stage/.begun.part", "vqw2v to")
    begin(tmp_path / "stage", TOY)
    assert (tmp_path / "stage" / BEGUN).read_text() == TOY.text


def test_what_a_stage_promises_goes_before_what_it_has(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module.shutil, "rmtree", killed)
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(iterdir(path))))  # data/ before done
    with pytest.raises(KeyboardInterrupt):
        begin(run / "corpus", TRAINING)
    assert (run / "corpus/data/train.tsv").exists() and not (run / "corpus" / DONE).exists()


def test_commands_that_no_shell_could_read_are_split_at_blanks() -> None:
    stage = StageFolder("x", Path("/x"), ())
    stage.__dict__["commands"] = ("it's", "so")
    assert stage.arguments() == ["it's", "so"]


def test_folders_far_down_or_full_of_audio_hold_no_stage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(run / "1/2/3/4/5/6/tokens.json")
    make(run / "1/2/3/4/5/6/7/deep/tokens.json")
    make(run / "far/2/3/4/5/6/deep/tokens.json")
    for number in range(9):
        make(run / f"full/{number}.wav")
    make(run / "full/corpus.json")
    monkeypatch.setattr(folder_module, "_MOST_FILES", 9)
    names = {stage.name for stage in RunFolder(run).stages}
    assert "1/2/3/4/5/6" in names and not any("deep" in name or name == "full" for name in names)
    monkeypatch.setattr(folder_module, "_MOST_FILES", 10)
    assert "full" in {stage.name for stage in RunFolder(run).stages}


def test_a_page_that_is_made_in_the_run_itself_hides_no_stage(run: Path) -> None:
    training = run / "a_training"
    assert [stage.path for stage in RunFolder(training, without=training).stages] == [training]


@pytest.mark.parametrize("name", ["missing", "notes.txt", "empty"])
def test_what_is_no_run_is_refused_by_name(run: Path, name: str) -> None:
    (run / "empty").mkdir()
    with pytest.raises(RunError, match=name):
        RunFolder(run / name)


@pytest.mark.parametrize(
    ("name", "is_stage"),
    [
        *(
            (name, True)
            for name in ("corpus.json", "tokens.json", "features.json", "labels.json", "abx.json")
        ),
        *((name, True) for name in ("errors-dev.json", "lm.arpa", "train.tsv", "hypotheses-dev.jsonl")),
        *((name, True) for name in ("train.log", "hydra_train.log", "log.txt", "checkpoint_best.pt")),
        *((name, False) for name in ("checkpoint_3_9.pt", "notes.md", "errors.json", "config.json")),
    ],
)
def test_what_was_made_by_hand_is_a_stage_by_its_files(name: str, is_stage: bool, tmp_path: Path) -> None:
    make(tmp_path / "by_hand/data" / name)
    make(tmp_path / "other/tokens.json")
    names = {stage.name for stage in RunFolder(tmp_path).stages}
    assert names == ({"by_hand/data", "other"} if is_stage else {"other"})


def test_products_below_a_stage_are_its_own_and_another_s_marks_are_not(run: Path) -> None:
    make(run / "corpus/more/features.json")
    make(run / "corpus/trained/checkpoint_last.pt", "x", 500)
    stages = {stage.name: [file.name for file in stage.files] for stage in RunFolder(run).stages}
    assert "corpus/more" not in stages and "features.json" in stages["corpus"]
    assert stages["corpus/trained"] == ["checkpoint_last.pt"]
    make(run / "corpus/trained/samples/notes.md")
    files = {stage.name: [file.name for file in stage.files] for stage in RunFolder(run).stages}
    assert files == {**stages, "corpus/trained": ["checkpoint_last.pt", "notes.md"]}  # of the nearest above
