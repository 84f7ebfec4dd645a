"""Processes that decode: a thread each, and gone with whoever began them."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch

from vqw2v_plugin.decoding.hypothesis import DecoderPool, Emissions, Hypothesis
from vqw2v_plugin.decoding.scoring import Judge
from vqw2v_plugin.decoding.settings import Weights
from vqw2v_plugin.decoding.trials import DevSet, Trials


class Threads:
    """Says as often `a` as torch has threads where it decodes."""

    def with_settings(self, **_: Any) -> "Threads":
        return self

    def decode(self, emissions: Emissions) -> list[Hypothesis]:
        return [Hypothesis((), (), float(torch.get_num_threads()), 0.0)]


class Killed(Threads):
    """Dies as a process does for which there is no memory."""

    def decode(self, emissions: Emissions) -> list[Hypothesis]:
        assert multiprocessing.parent_process() is not None
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.fixture
def two_threads() -> Iterator[set[int | None]]:
    """In this process; and what runs besides."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield {process.pid for process in multiprocessing.active_children()}
    torch.set_num_threads(before)


def test_a_pool_s_processes_have_one_thread_and_end_with_it(two_threads: set[int | None]) -> None:
    """OpenMP's threads do not come along into a fork: who counts on them waits for ever."""
    emissions = [np.zeros((1, 1), np.float32)] * 4
    with DecoderPool(Threads(), workers=2) as pool:
        assert [best.score for (best,) in pool.decode(emissions)] == [1.0] * 4
    assert {process.pid for process in multiprocessing.active_children()} == two_threads
    assert [best.score for (best,) in DecoderPool(Threads()).decode(emissions[:1])] == [2.0]


def test_trials_processes_have_one_thread_and_end_with_them(two_threads: set[int | None]) -> None:
    class Counted(Judge):
        def __call__(self, reference: str, hypothesis: Hypothesis) -> Any:
            assert hypothesis.score == 1.0, "more than one thread"
            return super().__call__(reference, hypothesis)

    dev_set = DevSet(lambda number: np.zeros((1, 1), np.float32), ["a", "a b"])
    point = Weights(0.0, 0.0, 0.0)
    with Trials(cast(Any, Threads()), dev_set, Counted(), workers=2) as trials:
        trials.run([point], "a point")
        assert trials.scores[point].errors.total == 3
    assert {process.pid for process in multiprocessing.active_children()} == two_threads


def test_a_process_that_the_system_kills_is_one_sentence() -> None:
    dev_set = DevSet(lambda number: np.zeros((1, 1), np.float32), ["a", "b"])
    with pytest.raises(ValueError, match=r"was killed \(too little memory\?\); take fewer `--workers`"):
        with Trials(cast(Any, Killed()), dev_set, Judge(), workers=2) as trials:
            trials.run([Weights(0.0, 0.0, 0.0)], "a point")


def test_a_process_that_was_killed_is_told_with_what_to_try() -> None:
    emissions = [np.zeros((1, 1), np.float32)] * 4
    with (
        DecoderPool(Killed(), workers=2) as pool,
        pytest.raises(ValueError, match=r"a decoding process was killed .*; take fewer `--decode-workers`"),
    ):
        pool.decode(emissions)
