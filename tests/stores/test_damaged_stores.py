"""A damaged store is a clear error, or gives what the whole one gives: no other data, no traceback."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqw2v_plugin.stores.features import FeatureStore, FeatureWriter
from vqw2v_plugin.stores.folder import StoreError
from vqw2v_plugin.stores.symbols import TOKENS
from vqw2v_plugin.stores.token_extras import read_durations
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter

SIZES = [5, 3, 8, 1, 4, 7]


def tokens(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with TokenWriter(folder, "a", 100) as writer:
        for i, size in enumerate(SIZES):
            writer.add(f"u{i}", size, rng.integers(4, 100, size))
    TOKENS.write_about(folder, {"run_length": False, "splits": {"a": {}}})


def run_length(folder: Path) -> None:
    rng = np.random.default_rng(0)
    durations = [rng.integers(1, 5, size) for size in SIZES]
    with TokenWriter(folder, "a", 100) as writer:
        for i, lengths in enumerate(durations):
            writer.add(f"u{i}", int(lengths.sum()), rng.integers(4, 100, len(lengths)))
    np.save(folder / "a.durations.npy", np.concatenate(durations).astype("<i4"))


def features(folder: Path) -> None:
    writer = FeatureWriter(folder, "a", np.float32, 3)
    rng = np.random.default_rng(0)
    for size in SIZES:
        writer.add(rng.normal(size=(size, 3)))
    writer.publish([(f"u{i}", size) for i, size in enumerate(SIZES)], {"dim": 3, "store": "fp32"})


def read_tokens(folder: Path) -> list[Any]:
    store = TokenStore(folder, "a")
    return [store.rows, [store[i].tolist() for i in range(len(store))], store.sizes.tolist()]


def read_run_length(folder: Path) -> list[Any]:
    return [*read_tokens(folder), read_durations(folder, "a", TokenStore(folder, "a")).tolist()]


def read_features(folder: Path) -> list[Any]:
    store = FeatureStore(folder, "a")
    return [store.rows, [store[i].tobytes() for i in range(len(store))], store.frames.dtype, store.dim]


@pytest.mark.parametrize("name", ["a.npy", "a.ends.npy", "a.ids", "a.idx", "a.bin", "a.durations.npy"])
def test_a_pipe_in_a_store_is_not_waited_for(name: str, tmp_path: Path) -> None:
    write, read = (features, read_features) if name.endswith((".npy", ".ids")) else (tokens, read_tokens)
    if name == "a.durations.npy":
        write, read = run_length, read_run_length
    write(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises((StoreError, OSError)) as error:
        read(tmp_path)
    assert name in str(error.value)


def damages(whole: bytes, seed: int, flips: int) -> Iterator[bytes]:
    """Cut short, longer, empty, bytes changed, pieces exchanged, zeros."""
    rng, end = random.Random(seed), len(whole)
    yield from (b"", whole[:-1], whole + b"\0", whole + whole, whole[1:], bytes(end), b"\xff" * end)
    yield from (whole[:cut] for cut in rng.sample(range(end), min(end, 12)))
    for _ in range(flips):
        place = rng.randrange(end)
        value = rng.choice([0, 255, whole[place] ^ 1 << rng.randrange(8), rng.randrange(256)])
        yield whole[:place] + bytes([value]) + whole[place + 1 :]
    for width in (4, 8, 12):
        for _ in range(12):
            i, j = (rng.randrange(0, end - width) for _ in range(2))
            changed = bytearray(whole)
            changed[i : i + width], changed[j : j + width] = whole[j : j + width], whole[i : i + width]
            yield bytes(changed)


@pytest.mark.parametrize(
    ("write", "read", "name"),
    [
        (tokens, read_tokens, "a.idx"),
        (tokens, read_tokens, "a.ids"),
        (run_length, read_run_length, "a.idx"),
        (run_length, read_run_length, "a.durations.npy"),
        (features, read_features, "a.ends.npy"),
        (features, read_features, "a.ids"),
    ],
    ids=["idx", "ids of tokens", "idx of runs", "durations", "ends", "ids of features"],
)
def test_what_is_damaged_is_named_or_changes_nothing(
    tmp_path: Path, write: Callable[[Path], None], read: Callable[[Path], list[Any]], name: str
) -> None:
    write(tmp_path)
    expected, path = read(tmp_path), tmp_path / name
    whole = path.read_bytes()
    for damaged in damages(whole, seed=0, flips=400):
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        try:
            found = read(tmp_path)
        except StoreError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error), error
            continue
        if name == "a.ids":  # another name is not known from a wrong one, another number of frames is
            found[0], expected[0] = ([frames for _, frames in rows] for rows in (found[0], read_rows(whole)))
        assert found == expected, damaged


def read_rows(ids: bytes) -> list[tuple[str, int]]:
    lines = (line.split("\t") for line in ids.decode().removesuffix("\n").split("\n"))
    return [(utt, int(frames)) for utt, frames in lines]


def test_a_header_that_is_damaged_is_no_other_matrix(tmp_path: Path) -> None:
    features(tmp_path)
    expected, path = read_features(tmp_path), tmp_path / "a.npy"
    whole = path.read_bytes()
    shapes = [(28, 2), (28, 1), (84, 1), (14, 6), (28, 4), (-28, 3), (28, 3, 1), (84,), (10**30, 3), (28, 0)]
    shapes += [(False, 3), (28, True)]
    headers = [("<f4", False, shape) for shape in shapes]
    headers += [
        ("<f4", True, (28, 3)),
        (">f4", False, (28, 3)),
        ("<i4", False, (28, 3)),
        ("<u4", False, (28, 3)),
    ]
    headers += [
        ("|O", False, (28, 3)),
        ("<f2", False, (28, 6)),
        ("<f8", False, (14, 3)),
        ("<c8", False, (14, 3)),
    ]
    for descr, is_fortran, shape in headers:
        text = repr({"descr": descr, "fortran_order": is_fortran, "shape": shape}).ljust(117).encode() + b"\n"
        path.write_bytes(whole[:10] + text + whole[128:])
        with pytest.raises(StoreError, match=r"a\.npy: "):
            read_features(tmp_path)
    for damaged in damages(whole[:128], seed=1, flips=400):
        path.write_bytes(damaged + whole[128:])
        try:
            assert read_features(tmp_path) == expected, damaged
        except StoreError as error:
            assert str(path) in str(error) and "\n" not in str(error), error


def test_files_of_two_splits_that_are_exchanged_are_not_taken_for_one(tmp_path: Path) -> None:
    features(tmp_path)
    tokens(tmp_path)
    (tmp_path / "a.ids").write_text("".join(f"u{i}\t{size}\n" for i, size in enumerate(reversed(SIZES))))
    for read in (read_tokens, read_features):
        with pytest.raises(StoreError, match=r"a\.ids:1: 'u0' has 7 frames, 5 in the other files"):
            read(tmp_path)


@pytest.mark.parametrize("about", [{}, {"run_length": True}, {"run_length": False, "splits": {"b": {}}}])
def test_frames_and_tokens_differ_where_nothing_says_that_they_are_one(
    tmp_path: Path, about: dict[str, Any]
) -> None:
    with TokenWriter(tmp_path, "a", 100) as writer:
        writer.add("u", 9, [5, 6])
    TOKENS.write_about(tmp_path, {"splits": {"a": {}}, **about})
    assert TokenStore(tmp_path, "a").rows == [("u", 9)]


ODD = "\u2028 \u2029 \x85 \x0b \x0c \x1c \x1d \x1e \r \xa0 \ufeff ٣".split(" ")


def test_names_of_every_character_are_read_again(tmp_path: Path) -> None:
    names = [f"a{odd}b" for odd in ODD if odd != "\r"] + ["\u2028", "\x85", "x \\ y"]
    with TokenWriter(tmp_path, "a", 100) as writer:
        for name in names:
            writer.add(name, 1, [5])
    assert [name for name, _ in TokenStore(tmp_path, "a").rows] == names
    feature_writer = FeatureWriter(tmp_path, "b", np.float32, 1)
    feature_writer.add(np.zeros((len(ODD), 1)))
    feature_writer.publish([(f"a{odd}b", 1) for odd in ODD], {})
    assert [name for name, _ in FeatureStore(tmp_path, "b").rows] == [f"a{odd}b" for odd in ODD]


def test_ids_that_do_not_end_as_the_others_are_of_another_index(tmp_path: Path) -> None:
    tokens(tmp_path)
    path, whole = tmp_path / "a.bin", (tmp_path / "a.bin").read_bytes()
    for end in np.cumsum(np.array(SIZES) + 1) - 1:  # where an utterance's </s> is
        path.write_bytes(whole[: 2 * end] + b"\x09\x00" + whole[2 * end + 2 :])
        store = TokenStore(tmp_path, "a")
        with pytest.raises(StoreError, match=r"a\.bin: ids of utterance \d are below 0, or one of it and"):
            [store[i] for i in range(len(store))]
    path.write_bytes(whole)
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes()[:17] + b"\x03" + index.read_bytes()[18:])  # int16
    path.write_bytes(b"\xff\xff" + whole[2:])
    with pytest.raises(StoreError, match=r"a\.bin: ids of utterance 0 are below 0"):
        TokenStore(tmp_path, "a")[0]


def test_ends_that_go_back_are_refused_at_opening(tmp_path: Path) -> None:
    features(tmp_path)
    np.save(tmp_path / "a.ends.npy", np.array([5, 16, 8, 17, 21, 28]))
    with pytest.raises(StoreError, match=r"a\.ends\.npy: an utterance ends before it begins"):
        FeatureStore(tmp_path, "a")
