"""The recipes' stages: their commands are those of the program, and say what the stage was asked for."""

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from vqw2v_plugin.__main__ import build_parser
from vqw2v_plugin.recipes import stages, unpaired_stages
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


def test_segments_of_each_split_are_cut_by_clusters_or_by_the_spans_of_their_split() -> None:
    options = ["--layer", "w2v2:15"]
    made = unpaired_stages.clusters(RUN, "c", "/a.pt", DATA / "train.tsv", options, [])
    assert said(made) == {
        "command": "cluster",
        "checkpoint": "/a.pt",
        "manifest": "/data/train.tsv",
        "out": "/run/c/data",
        "layer": "w2v2:15",
    }
    given = (RUN, "s", "/a.pt", DATA, ["train", "dev"], options, [])
    told = {"command": "segment", "checkpoint": "/a.pt", "out": "/run/s/data", "layer": "w2v2:15"}
    for spans in (None, "/{split}/{split}.ctm"):
        stage = unpaired_stages.segments(*given, spans)
        for number, split in enumerate(("train", "dev")):
            more = {} if spans is None else {"spans": f"/{split}/{split}.ctm"}
            assert said(stage, number) == {**told, "manifest": f"/data/{split}.tsv", **more}


def test_phones_are_made_anew_of_another_text_and_only_the_model_that_scores_lacks_silence() -> None:
    stage = unpaired_stages.phones(RUN, "p", Path("/t.txt"), ["--min-count", "3"], [])
    assert said(stage)["save_dir"] == "/run/p/data" and said(stage)["min_count"] == 3
    assert stage.reads == [Path("/t.txt")]
    models = unpaired_stages.phone_models(RUN, "lm", RUN / "p/data", ["p"])
    text = {"command": "lm", "text": "/run/p/data/train.phn"}  # of the usual order, the paper's 4
    assert said(models) == {**text, "out": "/run/lm/score.arpa", "leave_out": ["<SIL>"]}
    assert said(models, 1) == {**text, "out": "/run/lm/search.arpa"}
    stage = unpaired_stages.decipher(RUN, "d", RUN / "s", RUN / "p", "valid", ["--codes", "9"], [])
    assert said(stage) == {
        "command": "decipher",
        "features": "/run/s",
        "text": "/run/p",
        "out": "/run/d/data",
        "read": ["valid"],
        "codes": 9,
    }


def test_each_split_is_read_by_the_model_as_its_task_needs() -> None:
    stage = unpaired_stages.read(
        *(RUN, "r", RUN / "a.pt", DATA, ["train", "dev"], ["free", "--lm", "/x"], "T", ["m"]),
        ("vq_acoustic", "--labels", "/l"),
    )
    assert [[Path(words[0]).name, *words[1:]] for words in stage.commands] == [
        [
            *("fairseq-generate", "/data", "--user-dir", str(stages.PACKAGE), "--task", "vq_acoustic"),
            *("--labels", "/l", "--path", "/run/a.pt", "--gen-subset", split),
            *("--decoder", "free", "--lm", "/x", "--results-path", "/run/r", "--cpu", "--num-workers", "0"),
        ]
        for split in ("train", "dev")
    ]
    assert stage.result == "/run/r/hypotheses-dev.jsonl" and stage.needs == ["m"]


def test_classes_are_answered_by_the_head_of_a_split() -> None:
    more = {"title": "T", "minutes": 1, "needs": ["h"], "options": ["--batch-size", "7"]}
    stage = stages.answer(RUN, "a", RUN / "h.pt", "/x:/y", RUN / "l", "fold1", **more)  # type: ignore
    (command,) = stage.commands
    assert [Path(command[0]).name, *command[1:]] == [
        *("fairseq-generate", "/x:/y", "--user-dir", str(stages.PACKAGE), "--task", "vq_utterance"),
        *("--labels", "/run/l", "--path", "/run/h.pt", "--gen-subset", "fold1"),
        *("--results-path", "/run/a", "--batch-size", "7"),
    ]
    assert stage.result == "/run/a/classes-fold1.tsv" and stage.needs == ["h"]


SAID = [
    "trained: 95,226 frames, 2 groups of 32 codes",
    "  together: 100% of the codes used",
    "Generate test with beam=1: WER 3.0",
    "fold1: accuracy 50.00 % (33.33 by one answer to all)",
    "within speakers: 12.3 %",
    "train: 9.9 segments a second of audio",
    "explains 0.3 bits a segment",
    "vqw2v: something else",
    "across speakers: 23.4 %",
]


@pytest.mark.parametrize(
    ("stage", "shown"),
    [
        (stages.usage(RUN, "u", RUN, DATA, "test", []), [0, 1]),
        (stages.decode(RUN, "d", RUN, DATA, RUN, "t", [], title="", minutes=1, needs=[]), [2]),
        (stages.answer(RUN, "a", RUN, "", RUN, "fold1", title="", minutes=1, needs=[]), [3]),
        (stages.abx(RUN, "x", RUN, DATA, "test", []), [4, 8]),
        (unpaired_stages.segments(RUN, "s", "", DATA, [], [], []), [5]),
        (unpaired_stages.decipher(RUN, "d", RUN, RUN, "", [], []), [6]),
    ],
    ids=["usage", "decode", "answer", "abx", "segments", "decipher"],
)
def test_of_what_a_stage_says_its_figures_are_shown(stage: Stage, shown: list[int]) -> None:
    assert [i for i, line in enumerate(SAID) if re.search(stage.shown, line)] == shown
