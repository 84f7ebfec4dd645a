"""Folders of splits: one set of rules for tokens, features and labels, each with errors of its own kind."""

import json
import os
import re
from pathlib import Path

import pytest

from vqw2v_plugin.stores.emissions import EMISSIONS
from vqw2v_plugin.stores.features import FEATURES
from vqw2v_plugin.stores.folder import _OBJECTS, SettingsError, SplitFormat, StoreError, ids_line
from vqw2v_plugin.stores.labels import LABELS
from vqw2v_plugin.stores.symbols import TOKENS

ALL = pytest.mark.parametrize("kind", [TOKENS, FEATURES, EMISSIONS, LABELS], ids=lambda kind: kind.about)
JOBS = pytest.mark.parametrize("kind", [TOKENS, FEATURES], ids=lambda kind: kind.about)


def make(folder: Path, kind: SplitFormat, split: str = "train", **about: object) -> None:
    """A split whose files hold nothing."""
    for suffix in kind.files[:3]:
        (folder / f"{split}.{suffix}").touch()
    splits = {**kind.read_about(folder).get("splits", {}), split: {"frames": 3}}
    kind.write_about(folder, {"layer": "z", **about, "splits": splits})


@ALL
def test_the_json_is_written_and_read(tmp_path: Path, kind: SplitFormat) -> None:
    assert kind.read_about(tmp_path) == {}
    about = {"b": 1, "a": "größe \udcff.pt"}  # a name that is not UTF-8
    kind.write_about(tmp_path, about)
    assert kind.read_about(tmp_path) == about == json.loads((tmp_path / kind.about).read_text("utf-8"))
    assert '"größe \\udcff.pt"' in (tmp_path / kind.about).read_text("utf-8")
    assert kind.about_bytes({"b": 1, "a": 2}) == kind.about_bytes({"a": 2, "b": 1})
    of_another_shape = [(f'{{"{name}": [1]}}', f"`{name}` is .1.; expected an object") for name in _OBJECTS]
    for text, says in (("[1]", "holds a list"), ("{", "expected a JSON object"), *of_another_shape):
        (tmp_path / kind.about).write_text(text)
        with pytest.raises(kind.error, match=rf"{kind.about}: .*{says}"):
            kind.read_about(tmp_path)
    assert issubclass(kind.error, StoreError)


@ALL
def test_a_split_is_there_as_long_as_its_last_file_is(tmp_path: Path, kind: SplitFormat) -> None:
    make(tmp_path, kind)
    make(tmp_path, kind, "a.b")
    (tmp_path / f".valid.{kind.files[0]}.part").touch()
    assert kind.splits(tmp_path) == ["a.b", "train"]
    says = rf"x\.bin: is missing; the splits in .* are: a\.b, train; .*{kind.made_with}"
    with pytest.raises(kind.error, match=says):
        raise kind.missing(tmp_path / "x.bin")
    kind.hide(tmp_path, "train")
    assert kind.splits(tmp_path) == ["a.b"]


@JOBS
def test_utterances_of_any_name_are_read(tmp_path: Path, kind: SplitFormat) -> None:
    rows = [("a", 3), ("b\u2028c", 1), ("d\x85\x0b", 0), ("é/ü#1", 2)]
    (tmp_path / "x.ids").write_text("".join(ids_line(*row) for row in rows), encoding="utf-8", newline="\n")
    assert kind.read_ids(tmp_path, "x", 4) == rows
    with pytest.raises(kind.error, match=rf"x\.ids: has 4 lines, its \.{kind.files[0]} 2 utterances"):
        kind.read_ids(tmp_path, "x", 2)
    (tmp_path / "x.ids").write_text("")
    assert kind.read_ids(tmp_path, "x", 0) == []
    for frames in ("٣", "²", "-1", "1.0", ""):
        (tmp_path / "x.ids").write_text(f"a\t{frames}\n", encoding="utf-8")
        with pytest.raises(kind.error, match=rf"x\.ids: got '{re.escape(frames)}' frames; expected lines"):
            kind.read_ids(tmp_path, "x", 1)


@JOBS
def test_a_split_is_published_once_it_is_named_and_there(tmp_path: Path, kind: SplitFormat) -> None:
    settings = {"layer": "z", "frames": 3}
    assert not kind.is_published(tmp_path, "train", settings)
    make(tmp_path, kind)
    assert kind.is_published(tmp_path, "train", settings)
    with pytest.raises(SettingsError, match="train was begun with other settings: `layer` was 'z' and is n"):
        kind.is_published(tmp_path, "train", {"layer": "c"})
    with pytest.raises(SettingsError, match="`dtype` was None and is now 'bf16'"):
        kind.is_published(tmp_path, "train", {**settings, "dtype": "bf16"})
    for name in kind.later:  # nothing is known of what the json came to say later
        assert kind.is_published(tmp_path, "train", {**settings, name: True})
    with pytest.raises(SettingsError, match=r"`layer` was .*; `frames` was 3 and is now 4; `z` was None and"):
        kind.is_published(tmp_path, "train", {"layer": "c", "frames": 4, "z": (1, 2), "y": 1})
    kind.hide(tmp_path, "train")
    assert not kind.is_published(tmp_path, "train", settings)


@JOBS
def test_all_splits_of_a_folder_are_of_one_model(tmp_path: Path, kind: SplitFormat) -> None:
    make(tmp_path, kind)
    kind.check_one_model(tmp_path, "valid", {"layer": "z"})
    kind.check_one_model(tmp_path, "train", {"layer": "c"})  # alone it may change
    kind.write_about(tmp_path, {**kind.read_about(tmp_path), "sizes": (1, 2)})
    kind.check_one_model(tmp_path, "valid", {"layer": "z", "sizes": (1, 2)})  # which json has as a list
    with pytest.raises(
        kind.error, match=r"its split train is of another model \(.*`layer` was 'z' and is no"
    ):
        kind.check_one_model(tmp_path, "valid", {"layer": "c"})
    for split in "hgfedcba":
        make(tmp_path, kind, split)
    with pytest.raises(kind.error, match="its split a is of another model"):
        kind.check_one_model(tmp_path, "valid", {"layer": "c"})


@JOBS
def test_what_others_made_is_left_alone(tmp_path: Path, kind: SplitFormat) -> None:
    make(tmp_path, kind)
    kind.check_own(tmp_path, "train")
    kind.check_own(tmp_path, "valid")
    for suffix in kind.files[:2]:
        (tmp_path / f"valid.{suffix}").touch()
        with pytest.raises(kind.error, match=rf"valid\.{suffix} is there, and {kind.about} does not say"):
            kind.check_own(tmp_path, "valid")
        (tmp_path / f"valid.{suffix}").unlink()


@JOBS
def test_a_cleared_split_leaves_the_others(tmp_path: Path, kind: SplitFormat) -> None:
    make(tmp_path, kind, "valid")
    left = {path.name for path in tmp_path.iterdir()}
    make(tmp_path, kind)
    for suffix in kind.files:
        (tmp_path / f".train.{suffix}.part").touch()
    (tmp_path / "train.codes").mkdir()
    kind.clear(tmp_path, "train")
    assert kind.read_about(tmp_path)["splits"] == {"valid": {"frames": 3}}
    assert {path.name for path in tmp_path.iterdir()} - {"train.codes"} == left
    assert (tmp_path / "train.codes").exists() == (kind is FEATURES)


@ALL
def test_a_split_is_hidden_on_the_disk_too(
    tmp_path: Path, kind: SplitFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could show it while its files are exchanged."""
    make(tmp_path, kind)
    seen: list[tuple[int, list[str]]] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_ino, kind.splits(tmp_path)))
    )
    kind.hide(tmp_path, "train")
    assert seen == [(tmp_path.stat().st_ino, [])]


@ALL
def test_a_link_to_nothing_is_no_split(tmp_path: Path, kind: SplitFormat) -> None:
    (tmp_path / f"train.{kind.files[0]}").symlink_to(tmp_path / "far")
    assert kind.splits(tmp_path) == []
    (tmp_path / "far").touch()
    assert kind.splits(tmp_path) == ["train"]
    kind.hide(tmp_path, "train")
    assert not (tmp_path / "far").exists() and (tmp_path / f"train.{kind.files[0]}").is_symlink()


@pytest.mark.parametrize("value", [0, -1, 2**31, True, "160", None, float("nan")])
def test_what_is_counted_is_a_number_from_one_up(tmp_path: Path, value: object) -> None:
    for name in ("stride", "receptive_field", "sample_rate", "num_groups", "num_codes"):
        for good in (1, 160.0, 2**31 - 1):
            TOKENS.write_about(tmp_path, {name: good})
            assert TOKENS.read_about(tmp_path) == {name: good}
        TOKENS.write_about(tmp_path, {name: value})
        with pytest.raises(TOKENS.error, match=f"`{name}` is .*; expected a whole number from 1 up"):
            TOKENS.read_about(tmp_path)


@pytest.mark.parametrize("splits", [[], {"train": 3}, None])
def test_splits_in_the_json_are_an_object_each(tmp_path: Path, splits: object) -> None:
    FEATURES.write_about(tmp_path, {"splits": splits})
    with pytest.raises(FEATURES.error, match=r"its `splits` are .*; expected an object for each split"):
        FEATURES.read_about(tmp_path)


def test_of_long_settings_that_differ_two_hundred_characters_are_told(tmp_path: Path) -> None:
    make(tmp_path, TOKENS, layer="z" * 198)
    with pytest.raises(SettingsError) as error:
        TOKENS.is_published(tmp_path, "train", {"layer": "c" * 199})
    assert f"`layer` was '{'z' * 198}' and is now '{'c' * 199}…;" in str(error.value)


def test_splits_made_before_a_field_was_are_of_the_same_model(tmp_path: Path) -> None:
    make(tmp_path, FEATURES)
    FEATURES.check_one_model(tmp_path, "valid", {"layer": "z", "normalize": True})
    make(tmp_path, FEATURES, normalize=False)
    with pytest.raises(FEATURES.error, match="`normalize` was False and is now True"):
        FEATURES.check_one_model(tmp_path, "valid", {"layer": "z", "normalize": True})


@JOBS
def test_folders_in_the_places_of_files_are_named(tmp_path: Path, kind: SplitFormat) -> None:
    (tmp_path / "x.ids").mkdir()
    with pytest.raises(kind.error, match=r"x\.ids: is a folder; expected lines 'utterance<TAB>frames'"):
        kind.read_ids(tmp_path, "x", 1)
    (tmp_path / kind.about).mkdir()
    with pytest.raises(kind.error, match=rf"{kind.about}: is a folder; expected a JSON object"):
        kind.read_about(tmp_path)
