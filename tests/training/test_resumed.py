"""A training that goes on says what has changed, and goes on as another one only where that is meant."""

import copy
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import last, noise_corpus, num_updates, options, train

from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.training.datasets.base import digest_of
from vqw2v_plugin.training.resumed import Before, ResumeError, before, changes

THEN: dict[str, Any] = {
    "common": {"seed": 1, "log_interval": 100, "fp16": False},
    "dataset": {"max_tokens": 1000, "num_workers": 1, "batch_size_valid": 3},
    "optimization": {"max_update": 10, "lr": [0.1], "clip_norm": 0.0},
    "checkpoint": {"save_dir": "ck", "restore_file": "checkpoint_last.pt", "save_interval": 1},
    "model": {"_name": "vq_wav2vec", "vq_vars": 8, "vq_temp": [2, 0.5], "max_update": 10, "compile": False}
    | {"collapse_share": 0.05, "stop_on_collapse": False},
    "criterion": {"_name": "vq_contrastive", "infonce": False, "loss_weights": None},
    "task": {"_name": "vq_audio_pretraining", "data": "a", "normalize": False, "max_sample_size": 10},
    "optimizer": {"_name": "adam", "adam_betas": "(0.9, 0.999)", "lr": [0.1]},
    "lr_scheduler": {"_name": "fixed", "warmup_updates": 0, "lr": [0.1]},
}


def changed(name: str, value: object) -> dict[str, Any]:
    now = copy.deepcopy(THEN)
    group, key = name.split(".")
    now[group][key] = value
    return now


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("common.seed", 2),
        ("model.vq_vars", 16),
        ("model._name", "vq_bert"),
        ("criterion.infonce", True),
        ("criterion._name", "vq_ctc"),
        ("task.normalize", True),
        ("task.max_sample_size", 11),
        ("optimizer._name", "sgd"),
        ("lr_scheduler._name", "cosine"),
    ],
)
def test_what_makes_another_training_is_told_from_the_rest(name: str, value: object) -> None:
    (found,) = changes(THEN, changed(name, value), {"data"})
    assert found.parts and found.name == name and f"is {value}" in str(found)


def test_what_a_task_may_change_is_its_own(tmp_path: Path) -> None:
    (found,) = changes(THEN, changed("common.seed", 2), {"seed", "data"})
    assert found.parts and found.name == "common.seed"
    now = saved(tmp_path, changed("common.seed", 2), cfg=THEN)
    now["checkpoint"]["reset_dataloader"] = True  # allows other data, and nothing else
    reset = before(now, may_change=False)
    assert reset is not None
    with pytest.raises(ResumeError, match=r"`common\.seed`"):
        reset.check_settings(now, {"data"})


def test_a_schedule_that_is_reset_may_be_another() -> None:
    now = changed("lr_scheduler._name", "cosine")
    assert [change.parts for change in changes(THEN, now, (), {"lr_scheduler._name"})] == [False]

    then = {**THEN, "common": {"seed": 1}}
    earlier = Before(Path("last.pt"), then, {}, False, False)
    with pytest.raises(ResumeError, match=r"`lr_scheduler\._name` was fixed and is cosine"):
        earlier.check_settings(now, ())
    now["checkpoint"]["reset_lr_scheduler"] = True
    earlier.check_settings(now, ())
    now["common"]["seed"] = 2
    with pytest.raises(ResumeError, match=r"another training: `common\.seed` was 1 and is 2; go on"):
        earlier.check_settings(now, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimization.lr", [0.2]),
        ("optimization.clip_norm", 1.0),
        ("optimizer.adam_betas", "(0.9, 0.98)"),
        ("lr_scheduler.warmup_updates", 5),
        ("dataset.max_tokens", 2000),
        ("common.fp16", True),
        ("criterion.loss_weights", [0.1]),
        ("model.vq_temp", [1.0, 0.5]),
    ],
)
def test_what_changes_how_it_goes_on_is_told(name: str, value: object) -> None:
    (found,) = changes(THEN, changed(name, value), {"data"})
    assert not found.parts and found.name == name


@pytest.mark.parametrize(
    "name",
    [
        *(f"optimization.{name}" for name in ("lr", "clip_norm", "update_freq", "sentence_avg")),
        *(f"dataset.{name}" for name in ("max_tokens", "batch_size", "required_batch_size_multiple")),
        *("common.fp16", "common.bf16", "common.amp", "distributed_training.distributed_world_size"),
        *(f"model.{name}" for name in ("dropout", "dropout_features", "dropout_agg", "freeze_updates")),
        *(f"model.{name}" for name in ("attention_dropout", "activation_dropout", "front", "front_bert")),
        *("model.front_pieces", "optimizer.weight_decay", "lr_scheduler.min_lr", "model.front_pca"),
        *("model.freeze_finetune_updates", "model.w2v_path", "task.init_from", "task.init_codebook"),
    ],
)
def test_a_setting_of_how_a_training_goes_is_told_once(name: str) -> None:
    group, key = name.split(".")
    (found,) = changes({group: {key: 1}}, {group: {key: 2}}, ())
    assert found.name == name and not found.parts


def test_a_learning_rate_that_fairseq_repeats_is_told_once() -> None:
    now = copy.deepcopy(THEN)
    for group in ("optimization", "optimizer", "lr_scheduler"):
        now[group]["lr"] = [0.2]
    then = {**THEN, "criterion": {**THEN["criterion"], "sentence_avg": False}}
    now["criterion"]["sentence_avg"] = True
    assert [change.name for change in changes(then, now, ())] == ["optimization.lr"]


def test_mappings_are_compared_by_what_they_hold() -> None:
    then = {"model": {"sizes": {"a": "(1, 2)", "b": "True"}}}
    assert not list(changes(then, {"model": {"sizes": {"b": True, "a": [1, 2]}}}, ()))
    assert list(changes(then, {"model": {"sizes": {"b": True, "a": [1, 3]}}}, ()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimization.max_update", 20),
        ("model.max_update", 20),
        ("model.compile", True),
        ("model.collapse_share", 0.5),
        ("model.stop_on_collapse", True),
        ("common.log_interval", 1),
        ("dataset.num_workers", 8),
        ("dataset.batch_size_valid", 1),
        ("checkpoint.save_interval", 5),
        ("checkpoint.save_dir", "elsewhere"),
        ("task.data", "elsewhere"),
        ("model.vq_temp", "(2.0, 0.5)"),
        ("task.normalize", "false"),
        ("task.normalize", "False"),
        ("task.normalize", " FALSE"),
        ("model.an_option_of_later", 3),
    ],
)
def test_what_may_change_freely_and_other_spellings_are_no_change(name: str, value: object) -> None:
    assert not list(changes(THEN, changed(name, value), {"data"}))


def saved(folder: Path, now: dict[str, Any], **content: object) -> dict[str, Any]:
    """The settings of a run in `folder`, in which such a checkpoint lies."""
    torch.save({"model": {}, **content}, folder / "checkpoint_last.pt")
    now["checkpoint"]["save_dir"] = str(folder)
    return now


def test_a_refusal_names_every_setting_and_the_remedy(tmp_path: Path) -> None:
    now = changed("common.seed", 2)
    now["model"]["vq_vars"] = 16
    found = before(saved(tmp_path, now, cfg=THEN), may_change=False)
    assert found is not None
    says = r"last\.pt is of another .*`common\.seed` was 1 and is 2; `model\.vq_vars` .*`resume_changed`"
    with pytest.raises(ResumeError, match=says):
        found.check_settings(now, {"data"})


def test_what_was_asked_for_is_one_line_a_setting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = changed("common.seed", 2)
    now["optimization"]["lr"] = [0.2]
    found = before(saved(tmp_path, now, cfg=THEN), may_change=True)
    assert found is not None
    found.check_settings(now, {"data"})
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2 and all("going on from checkpoint_last.pt" in line for line in said)
    assert "`optimization.lr` was [0.1] and is [0.2]" in caplog.text


def test_other_content_of_a_split_is_refused_where_it_is_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {"data": {"train": "a" * 64, "valid": "b" * 64}}
    now = saved(tmp_path, copy.deepcopy(THEN), cfg=THEN, task_state=state)
    found = before(now, may_change=False)
    assert found is not None
    for split in ("train", "valid"):
        found.check_data(split, state["data"][split], trains=split == "train")
    found.check_data("more", "c" * 64, trains=True)  # a split that it did not have says nothing
    assert not caplog.text
    found.check_data("valid", "c" * 64, trains=False)
    assert "valid (its content)" in caplog.text
    with pytest.raises(ResumeError, match=r"train \(its content\)"):
        found.check_data("train", "c" * 64, trains=True)
    now["checkpoint"]["reset_dataloader"] = True
    reset = before(now, may_change=False)
    assert reset is not None
    reset.check_data("train", "c" * 64, trains=True)


@pytest.mark.parametrize(
    "content", [{}, {"cfg": None}, {"cfg": {"common": None}}, {"cfg": THEN, "task_state": {}}]
)
def test_a_checkpoint_that_says_less_goes_on(tmp_path: Path, content: dict[str, object]) -> None:
    found = before(saved(tmp_path, copy.deepcopy(THEN), **content), may_change=False)
    assert found is not None
    found.check_settings(THEN, {"data"})
    found.check_data("train", "c" * 64, trains=True)


def test_where_another_training_begins_nothing_is_compared(tmp_path: Path) -> None:
    now = saved(tmp_path, copy.deepcopy(THEN), cfg=THEN)
    assert before({**now, "checkpoint": {**now["checkpoint"], "reset_optimizer": True}}, False) is None
    assert (
        before({**now, "checkpoint": {**now["checkpoint"], "save_dir": str(tmp_path / "new")}}, False) is None
    )
    assert before({}, False) is None


def test_the_file_is_the_one_that_fairseq_restores(tmp_path: Path) -> None:
    now = saved(tmp_path, copy.deepcopy(THEN), cfg=THEN)
    shutil.copy(tmp_path / "checkpoint_last.pt", tmp_path / "other-a.pt")
    shutil.copy(tmp_path / "checkpoint_last.pt", tmp_path / "checkpoint_last-a.pt")
    for told, name in (
        ({}, "checkpoint_last.pt"),
        ({"checkpoint_suffix": "-a"}, "checkpoint_last-a.pt"),
        ({"restore_file": str(tmp_path / "other.pt"), "checkpoint_suffix": "-a"}, "other-a.pt"),
        ({"continue_once": str(tmp_path / "other-a.pt")}, "checkpoint_last.pt"),  # the run has its own by now
        ({"save_dir": "none", "continue_once": str(tmp_path / "other-a.pt")}, "other-a.pt"),
    ):
        found = before({**now, "checkpoint": {**now["checkpoint"], **told}}, False)
        assert found is not None and found.path == tmp_path / name


def test_a_checkpoint_that_was_asked_for_and_is_not_there_is_no_new_training(tmp_path: Path) -> None:
    now = saved(tmp_path, copy.deepcopy(THEN), cfg=THEN)
    for reset in (False, True):
        asked = {**now["checkpoint"], "restore_file": "none/at/all.pt", "reset_optimizer": reset}
        with pytest.raises(CheckpointError, match=r"restore_file: none/at/all\.pt is not there"):
            before({**now, "checkpoint": asked}, False)
    own = {**now["checkpoint"], "restore_file": str(tmp_path / "checkpoint_best.pt")}  # a script's first run
    assert before({**now, "checkpoint": own}, False) is None


def test_a_corpus_that_was_moved_is_the_same_and_another_row_is_not(tmp_path: Path) -> None:
    rows = [{"path": f"{i}.wav", "samples": 100 + i} for i in range(3)]
    digests = []
    for name, held in (
        ("a", rows),
        ("b", rows),
        ("c", rows[:2]),
        ("d", [*rows[:2], {**rows[2], "samples": 9}]),
    ):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name / "train.tsv", tmp_path / name, held)
        digests.append(Manifest(tmp_path / name / "train.tsv").rows_digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_digests_do_not_run_one_part_over_into_the_next() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc") != digest_of("abc")
    assert digest_of(np.arange(3)) == digest_of(np.arange(6)[:3]) != digest_of(np.arange(4))


@pytest.mark.slow
def test_a_training_resumed_otherwise_than_before_says_so(tmp_path: Path) -> None:
    data = noise_corpus(tmp_path / "data")
    other = noise_corpus(tmp_path / "other", clips=7)

    def resumed(corpus: Path, updates: int, *more: str) -> tuple[int, str]:
        ended = train(options(corpus, tmp_path / "ck", ["--max-update", str(updates), *more]), tmp_path)
        assert "Traceback" not in ended.said or "ResumeError" in ended.said, ended.said
        return ended.status, ended.said

    assert resumed(data, 2)[0] == 0
    assert set(last(tmp_path / "ck")["task_state"]["data"]) == {"train", "valid"}  # type: ignore[index]
    for corpus, more, says in (
        (data, ["--seed", "2"], "`common.seed` was 1 and is 2"),
        (data, ["--num-negatives", "5"], "`model.num_negatives` was 4 and is 5"),
        (data, ["--vq-vars", "16"], "`model.vq_vars` was 8 and is 16"),
        (data, ["--max-sample-size", "4400"], "`task.max_sample_size` was 4500 and is 4400"),
        (other, [], "train (its content)"),
    ):
        status, said = resumed(corpus, 4, *more)
        assert status and says in said and num_updates(tmp_path / "ck") == 2, said
    moved = tmp_path / "moved"
    shutil.move(data, moved)
    (moved / "train.tsv").write_text((moved / "train.tsv").read_text().replace(str(data), str(moved)))
    (moved / "valid.tsv").write_text((moved / "valid.tsv").read_text().replace(str(data), str(moved)))
    status, said = resumed(moved, 4, "--lr", "0.001", "--log-interval", "2")
    assert status == 0 and num_updates(tmp_path / "ck") == 4, said
    assert said.count("with a change") == 1 and "`optimization.lr` was [0.003] and is [0.001]" in said
    status, said = resumed(other, 6, "--seed", "2", "--resume-changed")
    assert status == 0 and num_updates(tmp_path / "ck") == 6 and "`common.seed` was 1 and is 2" in said
    status, said = resumed(
        other, 6, "--seed", "3", "--reset-optimizer", "--reset-dataloader", "--reset-meters"
    )
    assert status == 0 and "with a change" not in said, said
