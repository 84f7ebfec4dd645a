"""Shards of a run: what goes wrong with one utterance is its own, what goes wrong with all ends the run."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin import load_features
from vqw2v_plugin.audio.reading import AudioError
from vqw2v_plugin.commands.corpus_arguments import shared_work
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.jobs.featurize import FeaturizeOptions, featurize
from vqw2v_plugin.jobs.shard_run import DiskError, make_shards
from vqw2v_plugin.jobs.split_job import SplitJob, shard_samples
from vqw2v_plugin.jobs.work import Ahead, Work, in_order, read_ahead
from vqw2v_plugin.stores.shards import MissingShardError, Rows, ShardFolder, ShardWriter, plan

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


def test_audio_that_is_replaced_while_it_is_encoded_is_noticed_by_the_next_run(tmp_path: Path) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(2)])
    for i in range(2):
        (tmp_path / f"{i}.wav").write_bytes(b"old")
    manifest, heard = Manifest(tmp_path / "train.tsv"), list[str]()

    def encode(utterance: Utterance) -> Rows:
        heard.append(utterance.utt)
        if heard == ["0"]:
            Path(utterance.path).write_bytes(b"replaced")
        return np.ones((3, 2), np.uint16)

    shards = ShardFolder(tmp_path / "parts", np.uint16, 2)
    shards.open({})
    for _ in range(3):
        make_shards(manifest, shards, plan(manifest.sizes, 1 << 20), Work(encode), Rank())
    assert heard == ["0", "1", "0"]


def test_each_rank_makes_its_own_shards_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(7)])
    manifest, shards = Manifest(tmp_path / "train.tsv"), ShardFolder(tmp_path / "parts", np.uint16, 2)
    shards.open({})
    there: list[int] = []
    for rank, own in ((1, [1, 4]), (0, [0, 3, 6]), (2, [2, 5])):
        work = Work(lambda utterance: np.ones((3, 2), np.uint16))
        make_shards(manifest, shards, plan(manifest.sizes, 1), work, Rank(rank, 3))
        there = sorted([*there, *own])
        assert [i for i in range(7) if shards.read(i) is not None] == there


@pytest.mark.parametrize("workers", [1, 3])
def test_work_is_never_far_ahead_of_what_is_taken(workers: int) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            begun.append(i)
            yield i

    prepared: list[int] = []
    results = in_order(
        lambda i: -i, items(), Work(raises(AssertionError()), workers, lambda: prepared.append(1))
    )
    for i in range(50):
        assert next(results) == -i and len(begun) <= i + 1 + 2 * workers
    assert list(results) == [-i for i in range(50, 100)] and 1 <= len(prepared) <= workers


@pytest.mark.parametrize("total", [1, 2])
def test_a_shard_that_goes_while_all_are_put_together_is_another_rank_s_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int
) -> None:
    def gone(_: SplitJob) -> None:
        raise MissingShardError("0.json: is gone; run the same command again")

    monkeypatch.setattr(SplitJob, "_publish", gone)
    soundfile.write(tmp_path / "0.wav", np.zeros(2_000), 16_000)
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "0.wav", "samples": 2_000}])
    rest = Manifest(tmp_path / "train.tsv"), str(tmp_path / "out"), FeaturizeOptions(), Rank(0, total)
    if total == 2:
        assert featurize(load_features("logmel"), *rest).state == "waiting"
        return
    with pytest.raises(MissingShardError):
        featurize(load_features("logmel"), *rest)


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_breaks_off_leaves_the_next_its_own_utterances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(6)])
    manifest, shards = Manifest(tmp_path / "train.tsv"), ShardFolder(tmp_path / "parts", np.uint16, 1)
    shards.open({})
    add = ShardWriter.add

    def where_there_is_room(writer: ShardWriter, found: Rows | str, audio: str = "") -> None:
        if not isinstance(found, str) and found[0, 0] == 0:
            raise OSError(28, "No space left on device")
        add(writer, found, audio)

    monkeypatch.setattr(ShardWriter, "add", where_there_is_room)
    work = Work(lambda utterance: np.full((2, 1), int(utterance.utt), np.uint16), workers)
    with pytest.raises(DiskError, match=r"1 shards were not written \(No space left on device\)"):
        make_shards(manifest, shards, plan(manifest.sizes, 27), work, Rank())
    shard = shards.whole(1)
    assert shards.read(0) is None and shards.rows(1, shard).ravel().tolist() == [3, 3, 4, 4, 5, 5]


def test_a_damaged_shard_is_said_to_be_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(3)])
    manifest, shards = Manifest(tmp_path / "train.tsv"), ShardFolder(tmp_path / "parts", np.uint16, 2)
    shards.open({})
    made: list[str] = []

    def encode(utterance: Utterance) -> Rows:
        made.append(utterance.utt)
        return np.ones((3, 2), np.uint16)

    for said in ("", f"vqw2v: shard 1 of {shards.folder} is damaged and is made anew\n", ""):
        make_shards(manifest, shards, plan(manifest.sizes, 1), Work(encode), Rank())
        assert capsys.readouterr().err == said
        if len(made) == 3:
            (shards.folder / "000001.json").write_text("{")
    assert made == ["0", "1", "2", "1"]


def test_minutes_of_a_shard_are_counted_at_the_files_own_rate_where_it_is_known(tmp_path: Path) -> None:
    rows = [{"path": "a.wav", "samples": 9, "rate": 8_000}]
    for columns, rate in ((("path", "samples", "rate"), 8_000), (("path", "samples"), 16_000)):
        write_manifest(tmp_path / "m.tsv", tmp_path, rows, columns)
        manifest = Manifest(tmp_path / "m.tsv")
        assert shard_samples(manifest, 1.5, 16_000) == 90 * rate
        assert shard_samples(manifest, 1e-9, 16_000) == 1  # each utterance has a shard of its own
        assert shard_samples(manifest, 10_000_000, 16_000) == 600_000_000 * rate
        for wrong in (0, -1, 10_000_001, float("nan")):
            with pytest.raises(ValueError, match="expected a number of minutes above 0, up to 10,000,000"):
                shard_samples(manifest, wrong, 16_000)


def test_audio_that_failed_and_was_mended_is_made_and_not_called_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(3)])
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(b"bad" if i == 1 else b"good")
    manifest, shards = Manifest(tmp_path / "train.tsv"), ShardFolder(tmp_path / "parts", np.uint16, 2)
    shards.open({})
    made: list[str] = []

    def encode(utterance: Utterance) -> Rows:
        made.append(utterance.utt)
        if Path(utterance.path).read_bytes() == b"bad":
            raise AudioError(f"{utterance.path}: is bad")
        return np.ones((3, 2), np.uint16)

    def again() -> tuple[list[str], str]:
        made.clear()
        make_shards(manifest, shards, plan(manifest.sizes, 1 << 20), Work(encode), Rank())
        return list(made), capsys.readouterr().err

    assert again() == (["0", "1", "2"], f"vqw2v: skipped: {tmp_path / '1.wav'}: is bad\n")
    (tmp_path / "1.wav").write_bytes(b"mended")
    assert again() == (["1"], "")
    (tmp_path / "2.wav").write_bytes(b"better")
    remade, said = again()
    written = os.stat(tmp_path / "0.wav").st_mtime_ns
    (tmp_path / "0.wav").write_bytes(b"of another size")
    os.utime(tmp_path / "0.wav", ns=(written, written))
    assert again()[0] == ["0"]  # as a copy that keeps its time
    assert remade == ["2"] and "1 utterances are of audio that was replaced" in said
    assert str(tmp_path / "2.wav") in said and again() == ([], "")


def test_a_reader_that_dies_is_one_sentence() -> None:
    ahead = Ahead(1, lambda _: np.zeros(1, np.float32), lambda *_: np.ones((1, 2), np.uint16))
    how = Work(lambda _: np.ones((1, 2), np.uint16), ahead=ahead)
    with pytest.raises(OSError, match="a process that reads audio has died"):
        list(read_ahead(lambda status, pool: pool.submit(os._exit, status).result, [1], how))


def test_workers_are_counted_beside_a_gpu_as_without_one() -> None:
    assert [shared_work(3, device, Rank()) for device in ("cpu", "cuda")] == [{"workers": 3}, {"readers": 3}]
    assert 1 <= shared_work(None, "cuda", Rank())["readers"] <= 8
    for device in ("cpu", "cuda"):
        with pytest.raises(ValueError, match="`--workers` is -1"):
            shared_work(-1, device, Rank())


@pytest.mark.parametrize(("cores", "readers"), [(2, 4), (3, 6), (64, 8)])
def test_beside_a_gpu_two_processes_a_core_read_and_eight_at_most(
    cores: int, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda who: set(range(cores)), raising=False)
    for rank in (Rank(), Rank(1, 2)):
        assert shared_work(None, "cuda", rank) == {"readers": readers}
        assert shared_work(20, "cuda", rank) == {"readers": 20}
    assert shared_work(None, "cpu", Rank()) == {"workers": cores}
