"""Shards are whole or not there, and only runs that agree share a folder."""

import errno
from pathlib import Path

import numpy as np
import pytest

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
