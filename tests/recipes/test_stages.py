"""The recipes' stages: their commands are those of the program, and say what the stage was asked for."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.__main__ import build_parser
from vqw2v_plugin.recipes import stages
from vqw2v_plugin.recipes.runner import Stage

RUN, DATA = Path("/run"), Path("/data")


def said(stage: Stage, number: int = 0) -> dict[str, Any]:
    """What the program understands of a command, without what is as usual."""
    program, name, *words = stage.commands[number]
    assert Path(program).name == "vqw2v"
    args = vars(build_parser(name).parse_args([name, *words]))
    parser = argparse.ArgumentParser()
    args["run"].__globals__["add_arguments"](parser)
    usual = {"user_dir": None} | {action.dest: action.default for action in parser._actions}
    return {key: value for key, value in args.items() if key != "run" and usual.get(key, "") != value}


def test_usage_is_told_with_phones_beside_a_fresh_network() -> None:
    stage = stages.usage(RUN, "usage", RUN / "a.pt", DATA, "valid", ["pretrain"])
    assert said(stage) == {
        "command": "usage",
        "checkpoint": "/run/a.pt",
        "manifest": ["/data/valid.tsv"],
        "phones": "/data/valid.phones.ctm",
        "untrained": True,
        "mfcc": True,
        "robust": 5,
        "out": "/run/usage/usage.json",
    }
    assert stage.needs == ["pretrain"]


def test_tokens_of_each_split_go_into_one_folder_in_order() -> None:
    stage = stages.tokens(RUN, "tokens", RUN / "a.pt", DATA, ["train", "valid"], 1, [], ["--run-length"])
    assert [said(stage, i)["manifest"] for i in (0, 1)] == ["/data/train.tsv", "/data/valid.tsv"]
    for number in (0, 1):
        told = said(stage, number)
        assert (told["out"], told["checkpoint"]) == ("/run/tokens/data", "/run/a.pt")
        assert told["run_length"] is True


def test_features_of_a_layer_are_made_with_its_files_and_options() -> None:
    options = ["--store", "fp32"]
    stage = stages.features(RUN, "f", "bert:2", DATA, ["test"], 1, [], "/a.pt", Path("/b.pt"), options)
    told = {"layer": "bert:2", "checkpoint": "/a.pt", "bert": "/b.pt", "store": "fp32"}
    assert said(stage) == {"command": "features", "manifest": "/data/test.tsv", "out": "/run/f/data", **told}
    assert said(stages.features(RUN, "f", "logmel", DATA, ["test"], 1, [])) == {
        "command": "features",
        "manifest": "/data/test.tsv",
        "out": "/run/f/data",
        "layer": "logmel",
        "checkpoint": "-",
    }


def test_abx_compares_a_split_between_any_neighbours_by_speaker() -> None:
    stage = stages.abx(RUN, "abx", RUN / "z/data", DATA, "test", ["z"])
    assert said(stage) == {
        "command": "abx",
        "folder": "/run/z/data",
        "split": "test",
        "phones": "/data/test.phones.ctm",
        "manifest": "/data/test.tsv",
        "context": "none",
        "out": "/run/abx/abx.json",
    }
    assert "How well z tell" in stage.title


def test_labels_and_a_language_model_are_made_as_they_are_asked_for() -> None:
    options = ["--text", "text", "--unit", "letters"]
    assert said(stages.labels(RUN, "l", DATA, ["train", "dev"], options, [])) == {
        "command": "labels",
        "manifests": ["/data/train.tsv", "/data/dev.tsv"],
        "out": "/run/l/data",
        "text": "text",
        "unit": "letters",
    }
    assert stages.labels(RUN, "l", DATA, ["train"], options, []).result == "/run/l/data"
    stage = stages.language_model(RUN, "lm", Path("/t.txt"), 3, [])
    assert said(stage) == {"command": "lm", "text": "/t.txt", "out": "/run/lm/lm.arpa", "order": 3}


def test_a_report_is_of_the_whole_run() -> None:
    stage = stages.report(RUN, "report", ["a", "b"])
    assert said(stage) == {"command": "report", "folder": "/run", "out": "/run/report/report.html"}
    assert stage.needs == ["a", "b"] and stage.result.startswith("/run/report/report.html: ")
    drawn = stages.report(RUN, "report", [], [(Path("/h.png"), "Hours, so many"), (Path("/b.png"), "")])
    assert said(drawn)["picture"] == ["/h.png=Hours, so many", "/b.png="]
    assert drawn.reads == [Path("/h.png"), Path("/b.png")]  # drawn anew, the page is made anew


@pytest.mark.parametrize(
    ("overrides", "updates"), [([], 700), (["optimization.max_update=5", "common.seed=2"], 5)]
)
def test_a_training_knows_its_yaml_and_its_updates(
    overrides: list[str], updates: int, tmp_path: Path
) -> None:
    config = tmp_path / "small.yaml"
    config.write_text("optimization:\n  max_update: 700\n")
    stage = stages.train(RUN, "t", config, overrides, title="T", minutes=2, needs=["corpus"])
    (command,) = stage.commands
    assert Path(command[0]).name == "fairseq-hydra-train"
    assert command[1:5] == ["--config-dir", str(tmp_path), "--config-name", "small"]
    assert command[5:] == [
        f"common.user_dir={stages.PACKAGE}",
        "checkpoint.save_dir=/run/t",
        "hydra.run.dir=/run/t",
        *overrides,
    ]
    assert (stage.reads, stage.updates, stage.needs) == ([config], updates, ["corpus"])
    assert stage.result == "/run/t/checkpoint_last.pt"


def test_decoding_says_its_model_split_decoder_and_options_and_shows_the_rate() -> None:
    decoder = ["lexicon", "--lexicon", "/x"]
    more = {"title": "T", "minutes": 1, "needs": [], "options": ["--beam", "7"]}
    stage = stages.decode(RUN, "d", RUN / "a.pt", DATA, RUN / "l", "test", decoder, **more)  # type: ignore
    command, answer = stage.commands
    assert [Path(command[0]).name, *command[1:]] == [
        *("fairseq-generate", "/data", "--user-dir", str(stages.PACKAGE), "--task", "vq_acoustic"),
        *("--labels", "/run/l", "--path", "/run/a.pt", "--gen-subset", "test"),
        *("--decoder", "lexicon", "--lexicon", "/x", "--scoring", "vq_error"),
        *("--results-path", "/run/d", "--beam", "7"),
    ]
    assert answer == ["tail", "-n", "1", "/run/d/generate-test.txt"] and stage.shown == "^Generate "


def test_two_stages_run_side_by_side_unless_told_otherwise() -> None:
    parser = argparse.ArgumentParser()
    stages.add_jobs(parser)
    assert (parser.parse_args([]).jobs, parser.parse_args(["--jobs", "5"]).jobs) == (2, 5)
