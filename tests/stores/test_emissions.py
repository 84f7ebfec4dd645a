"""Saved emissions: what was written is read, and what does not belong together is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.common.locks import LockedError, Rank, claimed
from vqw2v_plugin.common.targets import OutputError
from vqw2v_plugin.stores.emissions import EmissionWriter, read_emissions
from vqw2v_plugin.stores.features import FEATURES, FeatureError, FeatureWriter
from vqw2v_plugin.text.units import Units, asg_units, ctc_units

UNITS = asg_units(["|", "a", "b"])
STEPS = np.arange(25, dtype=np.float32).reshape(5, 5) / 7


def rows(frames: int, seed: int = 0, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, columns)).astype(np.float32)


def write(folder: Path, split: str = "dev", units: Units = UNITS, steps: np.ndarray | None = STEPS) -> None:
    with EmissionWriter(folder, split, units.to_json(), 0.01, steps) as writer:
        for i, frames in enumerate((3, 0, 7)):
            writer.add(f"utt {i}", rows(frames, i, len(units)))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "e")
    write(tmp_path / "e", "test")
    for split in ("dev", "test"):
        saved = read_emissions(tmp_path / "e", split)
        assert saved.utts == ("utt 0", "utt 1", "utt 2") and len(saved) == 3
        for i, frames in enumerate((3, 0, 7)):
            assert np.array_equal(saved[i], rows(frames, i))
            assert saved[i].flags.writeable and not np.shares_memory(saved[i], saved.store[i])
        assert Units.from_json(saved.units) == UNITS and saved.frame_seconds == 0.01
        assert saved.transitions is not None and np.array_equal(saved.transitions, STEPS)
    assert not list((tmp_path / "e").glob(".*part"))
    assert len((tmp_path / "e" / FEATURES.about).read_text().splitlines()) == 1  # a matrix has many numbers
    row = {"utterances": 3, "frames": 10}
    assert FEATURES.read_about(tmp_path / "e")["splits"] == {"dev": row, "test": row}


def test_a_split_is_replaced_and_a_failed_one_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path)
    with EmissionWriter(tmp_path, "dev", ctc_units(["a"]).to_json(), 0.02) as writer:
        writer.add("other", rows(4, 1, 2))
    saved = read_emissions(tmp_path, "dev")
    assert saved.utts == ("other",) and saved.transitions is None
    assert FEATURES.read_about(tmp_path)["splits"] == {"dev": {"utterances": 1, "frames": 4}}
    assert Units.from_json(saved.units) == ctc_units(["a"])
    with pytest.raises(KeyboardInterrupt):
        with EmissionWriter(tmp_path, "dev", ctc_units(["a"]).to_json(), 0.02) as writer:
            raise KeyboardInterrupt
    assert read_emissions(tmp_path, "dev").utts == ("other",)
    assert not list(tmp_path.glob(".*part"))


def test_two_models_do_not_share_a_folder(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(FeatureError, match="its split dev is of another model"):
        write(tmp_path, "test", steps=STEPS + 1)
    write(tmp_path, "dev", steps=STEPS + 1)  # alone it may change
    write(tmp_path, "test", steps=STEPS + 1)


def test_broken_rows_and_names_are_refused(tmp_path: Path) -> None:
    with EmissionWriter(tmp_path, "dev", UNITS.to_json(), 0.01, STEPS) as writer:
        with pytest.raises(FeatureError, match=r"x: emissions of the shape \[3, 4\]; expected \[frames, 5\]"):
            writer.add("x", rows(3, columns=4))
        writer.add("x", rows(3))
        with pytest.raises(FeatureError, match="'x' is there a second time"):
            writer.add("x", rows(3))
        for name in ("a\tb", "a\nb"):
            with pytest.raises(FeatureError, match="holds a tab or a line end"):
                writer.add(name, rows(3))
    assert read_emissions(tmp_path, "dev").utts == ("x",)
    with pytest.raises(FeatureError, match=r"`transitions` are \[2, 2\]; expected \[5, 5\]"):
        EmissionWriter(tmp_path, "dev", UNITS.to_json(), 0.01, np.zeros((2, 2)))
    with pytest.raises(FeatureError, match="`frame_seconds` is 0"):
        EmissionWriter(tmp_path, "dev", UNITS.to_json(), 0)
    for wrong in ({"repeats": [1]}, {"repeats": "12"}, {"symbols": ["a", 3]}):
        with pytest.raises(FeatureError, match=r"its `units` are .*; expected symbols and repeats"):
            EmissionWriter(tmp_path, "dev", {**UNITS.to_json(), **wrong}, 0.01)
    with pytest.raises(FeatureError, match="its `blank` is True; expected a column"):
        EmissionWriter(tmp_path, "dev", {**UNITS.to_json(), "blank": True}, 0.01)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no such folder"):
        read_emissions(tmp_path / "none", "dev")
    (tmp_path / FEATURES.about).write_text(json.dumps({"layer": "z"}))
    with pytest.raises(FeatureError, match="has the layer 'z', expected 'emissions'"):
        read_emissions(tmp_path, "dev")
    (tmp_path / FEATURES.about).unlink()
    write(tmp_path)
    with pytest.raises(FeatureError, match=r"no emissions of the split 'test' \(there are: dev\)"):
        read_emissions(tmp_path, "test")


@pytest.mark.parametrize("columns", [4, 6])
def test_emissions_of_other_columns_than_the_units_are_named(tmp_path: Path, columns: int) -> None:
    write(tmp_path)
    about = FEATURES.read_about(tmp_path)
    writer = FeatureWriter(tmp_path, "dev", np.float32, columns)
    writer.add(rows(3, columns=columns))
    writer.publish([("x", 3)], {**about, "dim": columns})
    with pytest.raises(FeatureError, match=rf"dev\.npy: has {columns} columns, features\.json names others"):
        read_emissions(tmp_path, "dev")


def test_a_folder_of_features_that_its_json_does_not_list_is_kept(tmp_path: Path) -> None:
    for name in FEATURES.files:
        (tmp_path / f"train.{name}").write_text("3\n")
    (tmp_path / FEATURES.about).write_text(json.dumps({"layer": "z"}))
    with pytest.raises(FeatureError, match="its split train is of another model"):
        write(tmp_path)
    assert FEATURES.read_about(tmp_path) == {"layer": "z"} and FEATURES.splits(tmp_path) == ["train"]


def test_a_folder_that_another_run_writes_is_left_alone(tmp_path: Path) -> None:
    with claimed(tmp_path, Rank()), pytest.raises(LockedError, match="is being written by another run"):
        write(tmp_path)
    write(tmp_path)


def test_a_device_in_a_file_s_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dev.ids")
    with pytest.raises(OutputError, match=r"dev\.ids: is a pipe"):
        write(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_emissions_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    with EmissionWriter(tmp_path, "dev", UNITS.to_json(), 0.01, STEPS) as writer:
        writer.add("good", rows(3))
        writer.add("bad", np.where(rows(3) > 0, value, rows(3)))
    saved = read_emissions(tmp_path, "dev")
    assert len(saved[0]) == 3
    with pytest.raises(FeatureError, match=r"dev.npy: the emissions of 'bad' are no numbers"):
        saved[1]


def test_a_column_that_cannot_be_is_a_number_too(tmp_path: Path) -> None:
    """The logarithm of nothing, where another column has something."""
    logs = rows(3)
    logs[1, :4] = -np.inf
    with EmissionWriter(tmp_path, "dev", UNITS.to_json(), 0.01, STEPS) as writer:
        writer.add("x", logs)
    assert np.array_equal(read_emissions(tmp_path, "dev")[0], logs)


def test_units_may_name_their_loss_and_those_of_earlier_files_do_not(tmp_path: Path) -> None:
    for split, more in (("dev", {}), ("test", {"loss": "asg"})):
        with EmissionWriter(tmp_path / split, split, {**UNITS.to_json(), **more}, 0.01, STEPS) as writer:
            writer.add("x", rows(3))
        assert Units.from_json(read_emissions(tmp_path / split, split).units) == UNITS


def test_a_disk_that_is_full_at_the_end_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, steps=STEPS + 1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
