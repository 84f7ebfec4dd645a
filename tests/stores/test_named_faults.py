"""What is wrong in a folder of ours is said with the file it is in, and what to do about it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqw2v_plugin.stores.emissions import EmissionWriter, read_emissions
from vqw2v_plugin.stores.features import FEATURES, FeatureError, FeatureStore, FeatureWriter
from vqw2v_plugin.stores.frames import TokenFrames
from vqw2v_plugin.stores.labels import LabelError, dict_name, read_labels, read_symbols
from vqw2v_plugin.stores.shards import MissingShardError, ShardFolder
from vqw2v_plugin.stores.symbols import TOKENS, TokenError, read_dict
from vqw2v_plugin.stores.token_extras import read_durations
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter
from vqw2v_plugin.text.units import asg_units

UNITS = asg_units(["|", "a"]).to_json()


def tokens(folder: Path, *sizes: int) -> TokenStore:
    with TokenWriter(folder, "a", 10) as writer:
        for i, size in enumerate(sizes):
            writer.add(f"u{i}", size, [4] * size)
    return TokenStore(folder, "a")


def test_a_dictionary_of_another_encoding_or_that_is_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "dict.ltr.txt"
    path.write_bytes(b"a 1\nb\xff 2\n")
    says = rf"{path}: is not UTF-8 \(invalid start byte at byte 5\); convert it"
    with pytest.raises(TokenError, match=says):
        read_dict(path)
    with pytest.raises(LabelError, match=says):
        read_symbols(tmp_path, "letters")
    with pytest.raises(TokenError, match=rf"{tmp_path}: is a folder, expected a dictionary; name another"):
        read_dict(tmp_path)


@pytest.mark.parametrize("unit", ["word", "ltr"])
def test_labels_of_a_unit_that_there_is_not(tmp_path: Path, unit: str) -> None:
    (tmp_path / "train.utt").touch()
    for ask in (lambda: dict_name(unit), lambda: read_labels(tmp_path, "train", unit)):
        with pytest.raises(LabelError, match=f"`unit` is '{unit}'; expected one of letters, phones, pieces"):
            ask()


def test_durations_that_are_not_there_or_of_another_number(tmp_path: Path) -> None:
    store = tokens(tmp_path, 2, 1)
    with pytest.raises(TokenError, match=r"a\.durations\.npy: is missing; the splits in .* are: a; name one"):
        read_durations(tmp_path, "a", store)
    for count in (2, 4):
        np.save(tmp_path / "a.durations.npy", np.ones(count, "<i4"))
        with pytest.raises(
            TokenError, match=rf"a\.durations\.npy: has {count} numbers, expected one a token"
        ):
            read_durations(tmp_path, "a", store)
    np.save(tmp_path / "a.durations.npy", np.array([2, 1, 1], "<i4"))
    with pytest.raises(TokenError, match=r"a\.ids:1: 'u0' has 2 frames, 3 in the other files"):
        read_durations(tmp_path, "a", store)
    np.save(tmp_path / "a.durations.npy", np.ones(3, "<i4"))
    assert read_durations(tmp_path, "a", store).tolist() == [1, 1, 1]


def test_symbols_of_several_numbers_of_groups(tmp_path: Path) -> None:
    tokens(tmp_path, 2)
    about = {"stride": 1, "receptive_field": 1, "sample_rate": 1}
    TOKENS.write_about(tmp_path, about)
    (tmp_path / "dict.txt").write_text("1-2 1\n3 1\n4-5-6 1\n")
    with pytest.raises(
        FeatureError, match=r"dict\.txt: has symbols of \[1, 2, 3\] codes; expected one number"
    ):
        TokenFrames(tmp_path, "a")
    (tmp_path / "dict.txt").write_text("1-2 1\n3-x 1\n")
    with pytest.raises(FeatureError, match=r"dict\.txt: symbol '3-x' is not a code; expected one such as"):
        TokenFrames(tmp_path, "a")
    (tmp_path / "dict.txt").write_text("1-2 1\n")
    assert TokenFrames(tmp_path, "a")["u0"].tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"units": None}, "its `units` are None; expected those of a model"),
        ({"units": {**UNITS, "more": 1}}, "its `units` are {.*; expected those of a model"),
        ({"units": {k: v for k, v in UNITS.items() if k != "repeats"}}, "expected those of a model"),
        ({"units": {**UNITS, "symbols": "abcd"}}, "expected symbols and repeats"),
        ({"units": {**UNITS, "repeats": [1, 2]}}, "expected symbols and repeats"),
        ({"units": {**UNITS, "blank": "0"}}, "its `blank` is '0'; expected a column"),
        ({"frame_seconds": 1}, "`frame_seconds` is 1; expected more than 0"),
        ({"frame_seconds": float("inf")}, "`frame_seconds` is inf; expected more than 0"),
        ({"transitions": [[1], [2, 3]]}, r"`transitions` are no matrix \("),
        ({"transitions": "x"}, r"`transitions` are no matrix \("),
        ({"transitions": [[0.0] * 4] * 3}, r"`transitions` are \[3, 4\]; expected \[4, 4\]"),
    ],
)
def test_what_decoding_needs_of_emissions(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    steps = np.zeros((4, 4), np.float32)
    with EmissionWriter(tmp_path, "dev", UNITS, 0.01, steps) as writer:
        writer.add("x", np.zeros((3, 4)))
    with pytest.raises(ValueError, match="outside of its `with` block"):
        writer.add("y", np.zeros((3, 4)))
    about = {**FEATURES.read_about(tmp_path), **change}
    (tmp_path / FEATURES.about).write_text(json.dumps(about))
    with pytest.raises(FeatureError, match=rf"{tmp_path / FEATURES.about}: .*{says}"):
        read_emissions(tmp_path, "dev")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_split_without_frames_is_one(tmp_path: Path, dtype: type) -> None:
    writer = FeatureWriter(tmp_path, "a", dtype, 3)
    writer.publish([("u", 0), ("v", 0)], {"dim": 3})
    store = FeatureStore(tmp_path, "a")
    assert store.frames.dtype == dtype and store.dim == 3
    assert [store[i].shape for i in range(2)] == [(0, 3)] * 2 and store.rows == [("u", 0), ("v", 0)]


def test_a_shard_that_was_there_and_is_gone(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({})
    with folder.writing(7) as writer:
        writer.add(np.array([[1, 2]]))
    assert folder.whole(7).frames == [1]
    (tmp_path / "parts" / "000007.json").unlink()
    with pytest.raises(MissingShardError, match=r"000007\.json: is gone; run the same command again"):
        folder.whole(7)
