"""A run's manifests: which files are some, where they are looked for, and which splits are held out."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqw2v_plugin.analysis.corpus_splits import Split, find_splits
from vqw2v_plugin.corpora.manifest import Manifest, ManifestError, write_manifest
from vqw2v_plugin.recipes.folder import RunFolder, Stamp, begin


def listed(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "a.wav", np.zeros(1600), 16_000)
    row = {"path": "a.wav", "samples": 1600, "utt": "a"}
    for name in names:
        write_manifest(folder / f"{name}.tsv", folder, [row], list(row))


@pytest.mark.parametrize(
    ("name", "is_held_out"),
    [
        *((name, True) for name in ("test", "test-other", "dev", "dev-clean", "valid", "valid2")),
        *((name, False) for name in ("train", "train-valid", "contest", "all")),
    ],
)
def test_a_split_is_held_out_by_the_beginning_of_its_name(
    name: str, is_held_out: bool, tmp_path: Path
) -> None:
    listed(tmp_path, name)
    assert Split(name, Manifest(tmp_path / f"{name}.tsv")).is_held_out == is_held_out


def test_a_list_of_what_was_refused_is_no_split(tmp_path: Path) -> None:
    listed(tmp_path, "train", "refused", "train.refused")  # even if it could be read as one
    assert [split.name for split in find_splits(RunFolder(tmp_path))] == ["train"]


def test_empty_and_broken_manifests_are_passed_over(tmp_path: Path) -> None:
    listed(tmp_path, "train")
    (tmp_path / "broken.tsv").write_text("hello\n")
    write_manifest(tmp_path / "empty.tsv", tmp_path, [], ["path", "samples"])
    assert [split.name for split in find_splits(RunFolder(tmp_path))] == ["train"]


def test_a_corpus_that_is_named_comes_before_the_run_s_own(tmp_path: Path) -> None:
    listed(tmp_path / "run", "train")
    listed(tmp_path / "corpus", "test")
    run = RunFolder(tmp_path / "run")
    assert [split.name for split in find_splits(run, str(tmp_path / "corpus"))] == ["test"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ManifestError, match=r"nothing: holds no manifest; expected SPLIT\.tsv"):
        find_splits(run, str(tmp_path / "nothing"))


def test_manifests_and_folders_of_them_are_found_in_a_stage_s_commands(tmp_path: Path) -> None:
    listed(tmp_path / "one", "train", "unused")
    listed(tmp_path / "two", "test", "train")
    command = f"vqw2v usage model.pt {tmp_path}/one/train.tsv task.data={tmp_path}/two"
    begin(tmp_path / "run/stage", Stamp((command,)))
    found = find_splits(RunFolder(tmp_path / "run"))
    assert [split.name for split in found] == ["train", "test"]
    assert Path(found[0].manifest.path).parent.name == "one"  # the first of a name


def test_times_lie_beside_the_manifest_and_half_a_file_counts_as_none(tmp_path: Path) -> None:
    listed(tmp_path, "test")
    (tmp_path / "test.phones.ctm").write_text("a 1 0.0 0.1 AA\n")
    (tmp_path / "test.words.ctm").write_text("a 1 0.0")
    split = Split("test", Manifest(tmp_path / "test.tsv"))
    assert split.phones["a"].labels == ("AA",) and split.words == {}
    assert list(split.utterances) == ["a"]


def test_a_word_of_a_command_is_no_folder_of_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(tmp_path / "here/data", "train")
    monkeypatch.chdir(tmp_path / "here")
    begin(tmp_path / "run/stage", Stamp(("vqw2v features data",)))
    assert find_splits(RunFolder(tmp_path / "run")) == []
