"""The last lines of a training: whose checkpoint it is, and the commands that are of use to it."""

import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fairseq")
from omegaconf import OmegaConf

from vqw2v_plugin.training import next_step
from vqw2v_plugin.training.next_step import LastLines, kept_best, last_lines, next_commands

FEATURES = "vqw2v features C /d/train.tsv FEATURES --layer w2v2:N"
CODES = ["vqw2v usage C /d/valid.tsv", "vqw2v discretize C /d/train.tsv TOKENS"]


def settings(task: str = "vq_audio_pretraining", folder: str = "ck", **more: Any) -> Any:
    model = {"_name": "vq_wav2vec", "quantizer": "fsq", **more.pop("model", {})}
    named = {"_name": task, "data": "/d", "labels": None, **more}
    return OmegaConf.create({"task": named, "model": model, "checkpoint": {"save_dir": folder}})


@pytest.mark.parametrize(
    ("model", "commands"),
    [
        ({}, [FEATURES, *CODES]),
        ({"_name": "vq_wav2vec2_small"}, [FEATURES, *CODES]),
        ({"quantizer": "none"}, [FEATURES]),
        ({"quantize_targets": "false"}, [FEATURES]),
        ({"quantize_targets": False, "quantize_input": True}, [FEATURES, *CODES]),
        ({"quantize_targets": False, "quantize_input": True, "quantizer": "none"}, [FEATURES]),
    ],
)
def test_codes_are_offered_of_a_wav2vec2_that_has_some(model: dict[str, Any], commands: list[str]) -> None:
    own = {"_name": "vq_wav2vec2", "quantize_targets": "true", "quantize_input": False, **model}
    assert next_commands(settings(model=own), "C") == commands


def test_a_vq_wav2vec_s_codes_are_looked_at_and_made_into_tokens() -> None:
    assert next_commands(settings(), "C") == CODES
    assert next_commands(settings(model={"quantizer": "none"}), "C") == [
        "vqw2v features C /d/train.tsv FEATURES --layer c"
    ]


def test_decoding_takes_the_labels_of_the_training_or_those_beside_its_data() -> None:
    for labels, taken in (("/l x", "'/l x'"), (None, "/d")):
        generate, transcribe = next_commands(settings("vq_acoustic", labels=labels), "C")
        assert (
            f"fairseq-generate /d --user-dir $(vqw2v path) --task vq_acoustic --labels {taken} " in generate
        )
        assert transcribe == "vqw2v transcribe C FILE"


def test_the_best_checkpoint_goes_before_the_last_and_both_by_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ck").mkdir()
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        (tmp_path / "ck" / name).touch()
        first, *others = last_lines(settings())
        assert first == f"checkpoint: {tmp_path / 'ck' / name}"
        assert [line.split()[:3] for line in others] == [["next:", *c.split()[:2]] for c in CODES]
    assert last_lines(settings("translation")) == []  # another plugin's
    monkeypatch.setenv("VQW2V_NEXT", "0")  # of a script, which knows
    assert last_lines(settings()) == [f"checkpoint: {tmp_path / 'ck' / 'checkpoint_best.pt'}"]


def test_each_training_of_a_process_has_its_own_last_lines_once(tmp_path: Path) -> None:
    lines = LastLines()

    def said(message: Any) -> str:
        record = logging.LogRecord("x", logging.INFO, "", 0, message, (), None)
        assert lines.filter(record)
        return str(record.msg)

    assert said("done training in 1 s") == "done training in 1 s"  # whose settings nobody has told
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint_last.pt").touch()
        said(settings(folder=str(tmp_path / name)))
        assert said("begin training") == "begin training"
        assert f"checkpoint: {tmp_path / name}/checkpoint_best.pt" in said("done training in 1 s")
        assert said("done training in 2 s") == "done training in 2 s"


def test_a_training_s_log_begins_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(next_step, "keep_log", begun.append)
    cfg = settings()
    for message in ("task: X", cfg, "done training in 1 s"):
        assert LastLines().filter(logging.LogRecord("x", logging.INFO, "", 0, message, (), None))
    assert begun == [cfg]


def test_segments_are_read_and_layers_of_several_folders_are_all_named(tmp_path: Path) -> None:
    assert next_commands(settings("vq_unpaired"), "C") == [
        "fairseq-generate /d --user-dir $(vqw2v path) --task vq_unpaired --path C --gen-subset valid "
        "--results-path RESULTS"
    ]
    (command,) = next_commands(settings("vq_utterance", data="/a:/b c", labels="/l"), "C")
    assert command.startswith("fairseq-generate '/a:/b c' ") and " --labels /l --path C " in command


def test_of_a_mixture_the_first_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "mixture.yaml").write_text("corpora: [{data: de}, {data: en}]")
    first, _ = next_commands(settings(data=str(tmp_path / "mixture.yaml")), "C")
    assert first == f"vqw2v usage C {tmp_path}/de/valid.tsv"


@pytest.mark.parametrize(
    ("rank", "task", "kept"), [(0, "vq_acoustic", 1), (1, "vq_acoustic", 0), (0, "x", 0)]
)
def test_one_rank_of_our_trainings_keeps_the_last_checkpoint_as_the_best(
    rank: int, task: str, kept: int, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint_last.pt").touch()
    cfg = settings(task, str(tmp_path))
    cfg.distributed_training = {"distributed_rank": rank}
    assert len(kept_best(cfg)) == kept == len(list(tmp_path.glob("checkpoint_best.pt")))


def test_a_mixture_that_is_gone_by_the_end_is_named_itself(tmp_path: Path) -> None:
    first, _ = next_commands(settings(data=str(tmp_path / "mixture.yaml")), "C")
    assert first == f"vqw2v usage C {tmp_path}/mixture.yaml/valid.tsv"
