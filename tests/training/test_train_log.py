"""What goes to the screen and what to the log beside the checkpoints, and that curves are read from there."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from vqw2v_plugin.analysis.curves import best_log
from vqw2v_plugin.analysis.model_card import TRAIN_LOG
from vqw2v_plugin.training.train_log import TRAIN, keep_log, shorten_screen

CFG = {"task": {"_name": "vq_acoustic", "data": "d"}, "optimization": {"max_update": 8}}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The root logger with one handler, as fairseq's program has it."""
    stream = io.StringIO()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(stream)])
    before = logging.root.level
    logging.root.setLevel(logging.INFO)  # which loggers that others have asked remember, unless it is told so
    monkeypatch.setattr(logging.getLogger(TRAIN), "filters", [])
    yield stream
    for handler in logging.root.handlers[1:]:
        handler.close()
    logging.root.setLevel(before)


def config(folder: Path, **checkpoint: object) -> object:
    return OmegaConf.create({**CFG, "checkpoint": {"save_dir": str(folder), **checkpoint}})


def test_settings_and_networks_are_in_the_file_and_the_rest_in_both(
    screen: io.StringIO, tmp_path: Path
) -> None:
    shorten_screen()
    shorten_screen()
    keep_log(cfg := config(tmp_path / "run"))
    keep_log(cfg)  # once
    logger = logging.getLogger(TRAIN)
    logger.info(cfg)
    said = ("Model(\n  (a): Linear()\n)", "task: VqAcousticTask", "Start iterating over samples")
    for line in (*said, "num. shared model params: 5"):
        logger.info(line)
    logging.getLogger("fairseq.trainer").info("loading train data for epoch 1")
    logging.getLogger("fairseq.trainer").warning("loading train data for epoch 1")
    logger.info("end of epoch 3 (average epoch stats below)")
    for line in ("Saving checkpoint to a.pt", "Finished saving checkpoint to a.pt"):
        logging.getLogger("fairseq.trainer").info(line)
    for line in ("Preparing to save checkpoint for epoch 3 @ 6 updates", "Saved checkpoint a.pt (epoch 3)"):
        logging.getLogger("fairseq.checkpoint_utils").info(line)
    logging.getLogger("train_inner").info("epoch 001:      2 / 4 loss=3, num_updates=2, lr=1")
    shown, kept = screen.getvalue(), (tmp_path / "run" / TRAIN_LOG).read_text()
    assert [line[:12] for line in shown.splitlines()] == [
        *("num. shared ", "loading trai", "Saved checkp", "epoch 001:  ")
    ]
    assert all(
        line in kept for line in ("Preparing to save", "Saving check", "Finished saving", "end of epoch 3")
    )
    assert "Linear()" in kept and "VqAcousticTask" in kept and kept.count("train_inner") == 1
    curves = best_log([kept, shown])
    assert curves.updates == 2 and curves.max_update == 8


def test_handlers_that_hydra_makes_later_are_for_the_same_screen(screen: io.StringIO, tmp_path: Path) -> None:
    """Its command configures logging when the plugin has been loaded."""
    shorten_screen()
    logging.root.handlers = [logging.StreamHandler(screen), logging.FileHandler(tmp_path / "log")]
    logger = logging.getLogger(TRAIN)
    logger.info(config(tmp_path))
    logger.info("task: VqAcousticTask")
    logger.info("num. shared model params: 5")
    assert screen.getvalue() == "num. shared model params: 5\n"
    assert (tmp_path / "log").read_text().count("\n") == 3


def test_another_training_of_the_process_has_a_log_of_its_own(screen: io.StringIO, tmp_path: Path) -> None:
    for run in ("one", "other", "none"):
        keep_log(config(tmp_path / run, no_save=run == "none"))
        logging.getLogger(TRAIN).info(f"of {run}")
    assert "of one" in (one := (tmp_path / "one" / TRAIN_LOG).read_text()) and "of other" not in one
    assert "of other" in (other := (tmp_path / "other" / TRAIN_LOG).read_text()) and "of none" not in other


def test_curves_take_settings_from_whichever_log_has_them() -> None:
    line = "[now][{}][INFO] - {}\n"
    long = line.format("train_inner", "epoch 001: 2 / 4 loss=3, num_updates=9")
    assert best_log([line.format(TRAIN, str(CFG)), long]).max_update == 8


@pytest.mark.parametrize("why", ["no_save", "rank", "there", "program", "unwritable"])
def test_no_second_log_is_written(
    why: str, screen: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    cfg = OmegaConf.to_container(config(folder, no_save=why == "no_save"))
    given = SimpleNamespace(
        checkpoint=SimpleNamespace(**cfg["checkpoint"]),  # type: ignore[index,call-overload]
        distributed_training=SimpleNamespace(distributed_rank=int(why == "rank")),
    )
    if why == "there":
        logging.root.addHandler(logging.FileHandler(tmp_path / "hydra_train.log"))
    if why == "program":  # the program's own logger writes a file
        handler = logging.FileHandler(tmp_path / "own.log")
        monkeypatch.setattr(logging.getLogger(TRAIN), "handlers", [handler])
        handler.close()
    if why == "unwritable":
        folder.write_text("a file")
    keep_log(given)
    assert not (folder / TRAIN_LOG).exists() and not screen.getvalue()
