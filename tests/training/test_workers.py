"""Garbage of a training is freed by the training, never in a worker; and steps leave none with a tensor."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq import options as fairseq_options
from fairseq import tasks
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from fake_speech import OPTIONS as ACOUSTIC
from fake_speech import write_speech
from small_training import PLUGIN, noise_corpus, options

from vqw2v_plugin.stores.symbols import write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.training.workers import leave_memory_alone


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Nothing is collected but where the test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


class Garbage:
    """In a cycle, as tensors of a training may be; says in which process it was freed."""

    def __init__(self, said: Path) -> None:
        self.itself, self.said = self, said

    def __del__(self) -> None:
        with self.said.open("a") as file:
            file.write(f"{os.getpid()}\n")


class Collecting(FairseqDataset):
    """Collects in its worker; an item is the worker's number."""

    def __getitem__(self, index: int) -> int:
        gc.collect()
        return os.getpid()

    def __len__(self) -> int:
        return 4


def test_a_worker_frees_nothing_of_what_was_there_before_it(tmp_path: Path, by_hand: None) -> None:
    leave_memory_alone()
    leave_memory_alone()
    Garbage(tmp_path / "freed")
    batches = EpochBatchIterator(Collecting(), list, [[0], [1], [2], [3]], num_workers=2)
    workers = {pid for batch in batches.next_epoch_itr(shuffle=False) for pid in batch}
    assert os.getpid() not in workers and len(workers) == 2
    assert not (tmp_path / "freed").exists()
    gc.collect()
    assert (tmp_path / "freed").read_text() == f"{os.getpid()}\n"


def audio(folder: Path, *more: str) -> list[str]:
    return options(noise_corpus(folder / "data", 4), folder / "ck", ["--max-update", "9", *more])


def bert(folder: Path) -> list[str]:
    with TokenWriter(folder, "train", 40) as writer:
        for i in range(6):
            writer.add(f"u{i}", 40, 4 + (i + np.arange(40)) % 30)
    write_dict(folder / "dict.txt", [(f"{i % 5}-{i // 5}", 1) for i in range(30)])
    given = (
        "--task vq_token_pretraining --arch vq_bert_tiny --criterion vq_masked_tokens --cpu --optimizer adam"
    )
    given += " --encoder-layers 2 --max-tokens 100 --tokens-per-sample 50 --num-workers 0 --max-update 9"
    return [str(folder), *given.split(), "--user-dir", str(PLUGIN), "--save-dir", str(folder / "ck")]


def acoustic(folder: Path, criterion: str) -> list[str]:
    features, labels = write_speech(folder, {"train": 8})
    given = [str(features), "--labels", str(labels), "--criterion", criterion, *ACOUSTIC]
    return [*given, "--max-update", "9", "--save-dir", str(folder / "ck")]


TRAININGS: dict[str, Callable[[Path], list[str]]] = {
    "none": lambda folder: audio(folder, "--quantizer", "none"),
    "gumbel": lambda folder: audio(folder, "--quantizer", "gumbel"),
    "kmeans": lambda folder: audio(
        folder, "--quantizer-args", '{"ema_decay": 0.9, "revive_after": 2}', "--stop-on-collapse"
    ),
    "bert": bert,
    "asg": lambda folder: acoustic(folder, "asg"),
    "ctc": lambda folder: acoustic(folder, "vq_ctc"),
}


def trainer(arguments: list[str]) -> tuple[Trainer, list[Any]]:
    """fairseq's, and the batches of an epoch."""
    parser = fairseq_options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, arguments))
    task = tasks.setup_task(cfg.task)
    made = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    return made, list(made.get_train_iterator(1).next_epoch_itr())


@pytest.mark.parametrize("arguments", TRAININGS.values(), ids=TRAININGS)
def test_a_step_leaves_no_cycle_that_holds_a_tensor(
    arguments: Callable[[Path], list[str]], tmp_path: Path, by_hand: None
) -> None:
    made, batches = trainer(arguments(tmp_path))
    with metrics.aggregate("train", new_root=True):
        made.train_step(batches[:1])  # what is made once
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for batch in batches[:3]:
            made.train_step([batch])
            made.valid_step(batch)
    del batch
    gc.collect()
    held = [thing for thing in gc.garbage if torch.is_tensor(thing)]
    assert not held, [(tensor.shape, tensor.dtype) for tensor in held]
    assert made.get_num_updates() == 1 + len(batches[:3])
