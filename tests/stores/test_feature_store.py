"""The feature store: what is gathered is read, at once and by numpy alone."""

import pickle
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.stores.features import FEATURES, FeatureError, FeatureStore, FeatureWriter, gather_features
from vqw2v_plugin.stores.shards import ShardFolder, Span

Arrays = list[list[np.ndarray]]


def random_shards(seed: int, dtype: str = "float16", failing: bool = False) -> tuple[Arrays, int]:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 9))
    shards = [
        [
            rng.normal(size=(int(rng.integers(1, 30)), dim)).astype(dtype)
            for _ in range(int(rng.integers(1, 5)))
        ]
        for _ in range(int(rng.integers(1, 5)))
    ]
    return shards, dim


def write(
    folder: Path, arrays: Arrays, dim: int, dtype: str, failed: str = ""
) -> tuple[ShardFolder, list[Span]]:
    shards = ShardFolder(folder / "parts", dtype, dim)
    shards.open({})
    spans, first = [], 0
    for i, held in enumerate(arrays):
        with shards.writing(i) as writer:
            for rows in held:
                writer.add(rows)
            if failed:
                writer.add(failed)
        spans.append(Span(i, first, first + len(held)))
        first += len(held)
    return shards, spans


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("failed", ["", "no such file"])
def test_what_is_gathered_is_read(tmp_path: Path, seed: int, dtype: str, failed: str) -> None:
    arrays, dim = random_shards(seed, dtype)
    shards, spans = write(tmp_path, arrays, dim, dtype, failed)
    flat = [rows for held in arrays for rows in held]
    gather_features(tmp_path, "train", shards, spans, [f"u{i}" for i in range(len(flat))], {})
    store = FeatureStore(tmp_path, "train")
    assert len(store) == len(flat) and store.dim == dim and store.frames.dtype == dtype
    assert all(np.array_equal(store[i], rows) for i, rows in enumerate(flat))
    assert np.array_equal(store[-1], flat[-1]) and store.sizes.tolist() == [len(rows) for rows in flat]
    assert store.rows == [(f"u{i}", len(rows)) for i, rows in enumerate(flat)]
    assert np.array_equal(np.load(tmp_path / "train.npy"), np.concatenate(flat))
    assert shards.has_rows(0) == bool(failed)  # kept for another try where something failed
    with pytest.raises(IndexError, match="asked for"):
        store[len(flat)]
    assert np.array_equal(pickle.loads(pickle.dumps(store))[0], flat[0])


def test_utterances_without_frames_have_their_place(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path, "train", np.float32, 3)
    writer.add(np.ones((4, 3), np.float32))
    writer.publish([("first", 0), ("u", 4), ("last", 0)], {})
    store = FeatureStore(tmp_path, "train")
    assert [len(store[i]) for i in range(3)] == store.sizes.tolist() == [0, 4, 0]


def test_a_killed_gathering_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after each shard that was taken over, and between the renames."""
    import vqw2v_plugin.stores.features as module

    arrays, dim = random_shards(3)
    utts = [f"u{i}" for held in arrays for i in range(len(held))]
    shards, spans = write(tmp_path / "whole", arrays, dim, "float16")
    gather_features(tmp_path / "whole", "train", shards, spans, utts, {})
    real = module.os.replace
    for name in ("drop_rows", "1st rename", "2nd rename", "3rd rename", "4th rename"):
        out = tmp_path / name
        shards, spans = write(out, arrays, dim, "float16")
        calls = []

        def cut(*args: object, name: str = name, calls: list[int] = calls) -> None:
            calls.append(1)
            if name == "drop_rows" or len(calls) == int(name[0]):
                raise KeyboardInterrupt
            real(*args)  # type: ignore[arg-type]

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*((shards, "drop_rows") if name == "drop_rows" else (module.os, "replace")), cut)
            gather_features(out, "train", shards, spans, utts, {})
        assert FEATURES.splits(out) == []
        gather_features(out, "train", shards, spans, utts, {})
        for suffix in ("npy", "ends.npy", "ids"):
            assert (out / f"train.{suffix}").read_bytes() == (
                tmp_path / "whole" / f"train.{suffix}"
            ).read_bytes()


def test_a_killed_gathering_goes_on_beside_what_was_published_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The split of an earlier run lies there until it is replaced, and is not taken for what was gathered."""
    earlier = FeatureWriter(tmp_path, "train", np.float32, 2)
    earlier.add(np.zeros((9, 2), np.float32))
    earlier.publish([("old", 9)], {})
    shards, spans = write(tmp_path, [[np.ones((3, 2))], [np.full((4, 2), 2.0)]], 2, "float32")
    drop = shards.drop_rows

    def killed(index: int) -> None:
        drop(index)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "drop_rows", killed)
        gather_features(tmp_path, "train", shards, spans, ["a", "b"], {})
    assert np.load(tmp_path / "train.npy").shape == (9, 2)
    gather_features(tmp_path, "train", shards, spans, ["a", "b"], {})
    assert np.load(tmp_path / "train.npy")[:, 0].tolist() == [1, 1, 1, 2, 2, 2, 2]


def test_what_a_killed_writer_left_behind_the_end_is_cut_off(tmp_path: Path) -> None:
    killed = FeatureWriter(tmp_path, "train", np.float32, 3)
    killed.add(np.ones((9, 3), np.float32))
    killed.close()
    writer = FeatureWriter(tmp_path, "train", np.float32, 3, resume=True)
    writer.skip(2, zlib.crc32(np.ones((2, 3), np.float32).tobytes()))
    writer.add(np.zeros((4, 3), np.float32))
    writer.publish([("u", 6)], {})
    assert (tmp_path / "train.npy").stat().st_size == 128 + 6 * 3 * 4
    assert np.load(tmp_path / "train.npy").sum(1).tolist() == [3, 3, 0, 0, 0, 0]


def test_frames_that_are_gone_are_missed(tmp_path: Path) -> None:
    shards, spans = write(tmp_path, [[np.zeros((3, 2))], [np.ones((3, 2))]], 2, "float32")
    shards.drop_rows(0)
    with pytest.raises(FeatureError, match="lacks frames that were in it"):
        gather_features(tmp_path, "train", shards, spans, ["a", "b"], {})


def test_frames_that_have_changed_since_are_missed(tmp_path: Path) -> None:
    killed = FeatureWriter(tmp_path, "train", np.float32, 3)
    killed.add(np.ones((9, 3), np.float32))
    killed.close()
    writer = FeatureWriter(tmp_path, "train", np.float32, 3, resume=True)
    with pytest.raises(FeatureError, match="lacks frames that were in it"):
        writer.skip(2, zlib.crc32(np.zeros((2, 3), np.float32).tobytes()))
    writer.close()


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    shards, spans = write(tmp_path, [[np.zeros((3, 2))]], 2, "float32")
    gather_features(tmp_path, "train", shards, spans, ["a"], {})
    with pytest.raises(FeatureError, match=r"valid.npy: is missing; the splits in .* are: train"):
        FeatureStore(tmp_path, "valid")
    np.save(tmp_path / "train.ends.npy", np.array([2]))
    with pytest.raises(FeatureError, match=r"has the shape \[3, 2\], train.ends.npy expects 2 frames"):
        FeatureStore(tmp_path, "train")
    (tmp_path / "train.npy").write_bytes(b"\x93NUM")
    with pytest.raises(FeatureError, match="expected a whole file of numpy's"):
        FeatureStore(tmp_path, "train")


def test_opening_reads_no_frame(tmp_path: Path) -> None:
    """Forty gigabytes of a hundred million frames, as a sparse file: reading them would show."""
    frames, count = 100_000_000, 200_000
    with open(tmp_path / "train.npy", "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (frames, 200)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + frames * 400)
    np.save(tmp_path / "train.ends.npy", np.arange(1, count + 1) * (frames // count))
    begin = time.perf_counter()
    store = FeatureStore(tmp_path, "train")
    assert store[count - 1].shape == (500, 200)
    assert time.perf_counter() - begin < 0.05


def test_many_frames_of_a_killed_writer_are_known_by_the_sum_of_all(tmp_path: Path) -> None:
    """Which are more than are read at once."""
    frames = np.random.default_rng(0).normal(size=(300_000, 1)).astype(np.float32)
    killed = FeatureWriter(tmp_path, "train", np.float32, 1)
    killed.add(frames)
    killed.close()
    writer = FeatureWriter(tmp_path, "train", np.float32, 1, resume=True)
    writer.skip(len(frames), zlib.crc32(frames.tobytes()))
    writer.publish([("u", len(frames))], {})
    assert np.array_equal(FeatureStore(tmp_path, "train")[0], frames)


def test_frames_are_of_the_size_and_type_that_the_json_says(tmp_path: Path) -> None:
    for about, says in (
        ({"dim": 4}, "its `dim` is 3, features.json says 4"),
        ({"store": "fp16"}, "its `store` is fp32, features.json says fp16"),
    ):
        writer = FeatureWriter(tmp_path, "train", np.float32, 3)
        writer.add(np.ones((2, 3)))
        writer.publish([("u", 2)], about)
        with pytest.raises(FeatureError, match=rf"train\.npy: {says}; the two are not of one run"):
            FeatureStore(tmp_path, "train")


def test_utterances_are_counted_from_the_end_as_far_as_the_first(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path, "train", np.float32, 1)
    writer.add(np.arange(3.0)[:, None])
    writer.publish([("a", 1), ("b", 2)], {})
    store = FeatureStore(tmp_path, "train")
    assert [store[i].ravel().tolist() for i in (-1, -2)] == [[1, 2], [0]]
    with pytest.raises(IndexError, match="train has 2 utterances, asked for -3"):
        store[-3]
