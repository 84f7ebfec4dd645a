"""Shards of a run: what goes wrong with one utterance is its own, what goes wrong with all ends the run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.jobs.shard_run import DiskError, Work, make_shards
from vqw2v_plugin.stores.shards import Rows, ShardFolder, plan

Fail = Callable[[], object]


def too_large() -> object:
    return torch.empty(1 << 58)  # torch's own error, whatever it is


def raises(error: Exception) -> Fail:
    def call() -> None:
        raise error

    return call


def encoded(folder: Path, fail: Fail) -> dict[int, str]:
    """What failed of two utterances, the second of which cannot be encoded."""
    write_manifest(folder / "train.tsv", folder, [{"path": f"{i}.wav", "samples": 9} for i in range(2)])
    manifest = Manifest(folder / "train.tsv")

    def encode(utterance: Utterance) -> Rows:
        if utterance.utt == "1":
            fail()
        return np.ones((3, 2), np.uint16)

    shards = ShardFolder(folder / "parts", np.uint16, 2)
    shards.open({})
    make_shards(manifest, shards, plan(manifest.sizes, 1 << 20), Work(encode), Rank())
    shard = shards.read(0)
    assert shard is not None and shard.frames == [3, 0]
    return shard.failed


@pytest.mark.parametrize(
    "fail",
    [
        *(too_large, raises(MemoryError()), raises(torch.OutOfMemoryError("CUDA out of memory"))),
        raises(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …")),
    ],
    ids=["CPU", "Python", "GPU", "CUDA"],
)
def test_an_utterance_that_needs_too_much_memory_is_named(tmp_path: Path, fail: Fail) -> None:
    (reason,) = encoded(tmp_path, fail).values()
    assert (
        reason == f"{tmp_path / '1.wav'}: needs more memory than there is; cut it, or give fewer `--workers`"
    )


@pytest.mark.parametrize("says", ["CUDA error: an illegal memory access was encountered", "shared memory"])
def test_an_error_that_only_speaks_of_memory_ends_the_run(tmp_path: Path, says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        encoded(tmp_path, raises(RuntimeError(says)))


@pytest.mark.parametrize(("lost", "written"), [((0, 2, 4), (1, 3, 5)), ((1, 2, 3), (0,))])
def test_only_a_row_of_shards_that_cannot_be_written_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[int, ...], written: tuple[int, ...]
) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(6)])
    manifest, shards = Manifest(tmp_path / "train.tsv"), ShardFolder(tmp_path / "parts", np.uint16, 2)
    shards.open({})
    writing = shards.writing

    def where_there_is_room(index: int) -> object:
        if index in lost:
            raise OSError(28, "No space left on device")
        return writing(index)

    monkeypatch.setattr(shards, "writing", where_there_is_room)
    work = Work(lambda utterance: np.ones((3, 2), np.uint16))
    with pytest.raises(DiskError, match="3 shards were not written"):
        make_shards(manifest, shards, plan(manifest.sizes, 1), work, Rank())
    assert tuple(i for i in range(6) if shards.read(i) is not None) == written
