"""Shards are whole or not there, and only runs that agree share a folder."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.common.locks import LockedError, Rank, claimed
from vqw2v_plugin.stores.folder import SettingsError
from vqw2v_plugin.stores.shards import MOST_ROWS, ShardFolder, plan


def test_a_plan_covers_each_row_once() -> None:
    rng = np.random.default_rng(0)
    for samples in (1, 50, 10_000, 10**9):
        sizes = rng.integers(0, 100, 1000)
        spans = plan(sizes, samples)
        assert [i for span in spans for i in range(span.first, span.stop)] == list(range(1000))
        assert [span.index for span in spans] == list(range(len(spans)))
        assert all(span.stop - span.first <= MOST_ROWS for span in spans)
        assert all(sizes[span.first : span.stop - 1].sum() < samples for span in spans)
    assert plan(np.zeros(0, dtype=np.int64), 5) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({"a": 1})
    assert folder.read(3) is None
    with folder.writing(3) as writer:
        writer.add(np.array([[1, 2], [3, 4]]))
        writer.add("b.wav: breaks off")
        writer.add(np.array([[5, 6]]))
    shard = folder.read(3)
    assert shard is not None and shard.frames == [2, 0, 1] and shard.failed == {1: "b.wav: breaks off"}
    assert folder.rows(3, shard).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_shard_that_breaks_off_is_not_there(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({})
    with pytest.raises(OSError), folder.writing(0) as writer:
        writer.add(np.array([[1, 2]]))
        raise OSError(errno.ENOSPC, "No space left on device")
    assert folder.read(0) is None and [p.name for p in folder.folder.iterdir()] == ["settings.json"]


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    ShardFolder(tmp_path / "parts", np.uint16, 2).open({"dtype": "fp32", "manifest": "x"})
    again = ShardFolder(tmp_path / "parts", np.uint16, 2)
    again.open({"dtype": "fp32", "manifest": "x"})
    with pytest.raises(SettingsError, match="`dtype` was 'fp32' and is now 'bf16'; say the same as then"):
        again.open({"dtype": "bf16", "manifest": "x"})
    again.remove()
    again.open({"dtype": "bf16"})


def hold(out: Path, rank: Rank) -> multiprocessing.Process:
    """Another process that has claimed the folder."""

    def work() -> None:
        with claimed(out, rank):
            (out / "held").touch()
            time.sleep(60)

    (out / "held").unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    while not (out / "held").exists():
        time.sleep(0.001)
    return process


@pytest.mark.parametrize(
    ("there", "here", "fits"),
    [
        (Rank(), Rank(), False),
        (Rank(), Rank(1, 3), False),
        (Rank(0, 3), Rank(), False),
        (Rank(0, 3), Rank(1, 3), True),
        (Rank(0, 3), Rank(0, 3), False),
        (Rank(0, 3), Rank(3, 4), False),
    ],
)
def test_runs_refuse_each_other_and_ranks_do_not(tmp_path: Path, there: Rank, here: Rank, fits: bool) -> None:
    process = hold(tmp_path, there)
    try:
        if fits:
            with claimed(tmp_path, here):
                pass
        else:
            with pytest.raises(LockedError, match="is being written by another run"), claimed(tmp_path, here):
                pass
    finally:
        process.kill()
        process.join()
    with claimed(tmp_path, here):  # the lock died with its process
        pass


def test_the_environment_s_rank() -> None:
    assert Rank.of({}) == Rank(0, 1) and Rank.of({"RANK": "2", "WORLD_SIZE": "4"}) == Rank(2, 4)
    for environ in ({"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "x"}, {"WORLD_SIZE": "0"}):
        with pytest.raises(ValueError, match="expected numbers such as 0 and 4"):
            Rank.of(environ)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match="is a file, expected a folder"), claimed(tmp_path / "out", Rank()):
        pass
    assert os.path.isfile(tmp_path / "out")
