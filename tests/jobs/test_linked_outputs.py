"""Token and feature folders behind links: the links stay, and what they point to is what is written."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_runs import FEW, content, corpus, saved

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.symbols import TOKENS


@pytest.mark.parametrize("command", ["discretize", "features"])
def test_links_are_followed_and_stay(tiny: Callable[..., VqWav2Vec], tmp_path: Path, command: str) -> None:
    manifest = str(corpus(tmp_path, files=4))
    source, layer = "-", ["--layer", "logmel"]
    if command == "discretize":
        source, layer = saved(tiny(quantizer="gumbel"), tmp_path), ["--text", "--npy", "--run-length"]
    assert main([command, source, manifest, str(tmp_path / "plain"), *layer, *FEW]) == 0
    whole, out, disk = content(tmp_path / "plain"), tmp_path / "out", tmp_path / "disk"
    out.symlink_to(disk / "folder")  # which is not there yet
    far = disk / "far"
    far.mkdir(parents=True)
    (disk / "folder").mkdir()
    linked = (
        ["train.npy", "train.ends.npy"]
        if command == "features"
        else ["train.bin", "train.idx", "train.codes"]
    )
    for name in linked:
        (disk / "folder" / name).symlink_to(far / name)
    assert not TOKENS.splits(out)  # a link to nothing is no split
    for again in ([], ["--refresh"]):
        assert main([command, source, manifest, str(out), *layer, *FEW, *again]) == 0
        assert out.is_symlink() and all((out / name).is_symlink() for name in linked)
        found = content(out) | content(far)
        assert found == whole
        assert not [name for name in os.listdir(far) if name.startswith(".")]


def test_a_folder_that_a_link_points_to_is_made(tmp_path: Path) -> None:
    manifest, out = str(corpus(tmp_path, files=2)), tmp_path / "out"
    out.symlink_to(tmp_path / "not" / "yet")
    assert main(["features", "-", manifest, str(out), "--layer", "logmel"]) == 0
    assert out.is_symlink() and (tmp_path / "not" / "yet" / "train.npy").is_file()
