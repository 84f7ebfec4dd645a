"""After a power cut a name stands for a whole file, and nothing is deleted that is not safe elsewhere."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from corpus_runs import FEW, corpus, saved

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import write_folder, write_pickle
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.corpora.publish import publish
from vqw2v_plugin.corpora.rows import Row
from vqw2v_plugin.corpora.sources import Entry
from vqw2v_plugin.decoding.results import ResultFiles
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.emissions import EmissionWriter
from vqw2v_plugin.stores.labels import Labels, write_labels
from vqw2v_plugin.stores.pieces import train_pieces
from vqw2v_plugin.stores.shards import ShardFolder
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.text.lexicon import write_lexicon
from vqw2v_plugin.text.ngram import train_ngram, write_arpa
from vqw2v_plugin.text.ngram_counts import read_text
from vqw2v_plugin.text.units import asg_units
from vqw2v_plugin.training.restart import LAST, mend_last_checkpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by their descriptors")


class Call(NamedTuple):
    """What was asked of the disk: `sync` a path, `name` a path that was called `source`, `drop` a path."""

    what: str
    path: str
    source: str = ""
    holds: tuple[str, ...] = ()  # of a folder that was synced: the names that are safe now


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """In their order, once they have succeeded."""
    found: list[Call] = []
    fsync, replace, unlink, rmtree = os.fsync, os.replace, os.unlink, shutil.rmtree
    drop_rows = ShardFolder.drop_rows

    def record_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        holds = tuple(os.listdir(path)) if os.path.isdir(path) else ()
        fsync(descriptor)
        found.append(Call("sync", path, holds=holds))

    def record_replace(source: os.PathLike[str], path: os.PathLike[str]) -> None:
        replace(source, path)
        found.append(Call("name", os.path.realpath(path), os.path.realpath(source)))

    def record_unlink(path: os.PathLike[str], **options: object) -> None:
        unlink(path, **options)  # type: ignore[arg-type]
        found.append(Call("drop", os.path.realpath(path)))

    def record_rmtree(path: os.PathLike[str], **options: object) -> None:
        if os.path.isdir(path):
            found.append(Call("drop", os.path.realpath(path)))
        rmtree(path, **options)  # type: ignore[arg-type]

    def record_drop_rows(folder: ShardFolder, index: int) -> None:  # Python 3.10 hides `Path.unlink`
        drop_rows(folder, index)
        call = Call("drop", os.path.realpath(folder.folder / f"{index:06d}.rows"))
        if found[-1] != call:
            found.append(call)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    monkeypatch.setattr(os, "unlink", record_unlink)
    monkeypatch.setattr(shutil, "rmtree", record_rmtree)
    monkeypatch.setattr(ShardFolder, "drop_rows", record_drop_rows)
    return found


def named(calls: list[Call], below: Path) -> Iterator[tuple[int, Call]]:
    """The calls that gave a file its name, but for folders that were only moved out of the way."""
    for i, call in enumerate(calls):
        is_away = call.path.endswith((".done", ".broken"))
        if call.what == "name" and call.path.startswith(str(below.resolve())) and not is_away:
            yield i, call


def unsafe(calls: list[Call], below: Path) -> list[str]:
    """Names that stood for something not yet synced, or that a power cut takes even now."""
    found = []
    for i, call in named(calls, below):
        folder, name = os.path.split(call.path)
        if not any(c.what == "sync" and c.path == call.source for c in calls[:i]):
            found.append(f"{call.path}: not synced before it got its name")
        if not any(c.path == folder and name in c.holds for c in calls[i:]):
            found.append(f"{call.path}: its name was not synced")
    return found


def places(calls: list[Call], what: str, ends: str) -> list[int]:
    return [i for i, call in enumerate(calls) if call.what == what and call.path.endswith(ends)]


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ([], ["dict.txt", "tokens.json", "train.bin", "train.ids", "train.idx"]),
        (["--run-length", "--text", "--npy"], ["train.txt", "train.durations.npy", "train.codes"]),
        (["--dict"], ["dict.txt"]),
    ],
    ids=["plain", "extras", "given dictionary"],
)
def test_shards_of_codes_go_once_what_replaces_them_is_safe(
    tiny: Callable[..., VqWav2Vec],
    tmp_path: Path,
    calls: list[Call],
    options: list[str],
    published: list[str],
) -> None:
    out, checkpoint = tmp_path / "out", saved(tiny(quantizer="gumbel"), tmp_path)
    manifest = corpus(tmp_path, files=6)
    if options == ["--dict"]:
        (tmp_path / "given.txt").write_text("0-0 1\n")
        options = ["--dict", str(tmp_path / "given.txt")]
    assert main(["discretize", checkpoint, str(manifest), str(out), *options, *FEW]) == 0
    assert not unsafe(calls, out)
    (gone,) = places(calls, "name", ".train.parts.done")
    before = calls[:gone]
    assert not unsafe(before, out)
    assert all(places(before, "name", f"/{name}") for name in published)
    assert not places(before, "drop", ".rows") and not places(before, "drop", ".parts")


def test_shards_of_features_go_once_what_replaces_them_is_safe(tmp_path: Path, calls: list[Call]) -> None:
    out, manifest = tmp_path / "out", corpus(tmp_path, files=16)
    assert main(["features", "-", str(manifest), str(out), "--layer", "logmel", *FEW]) == 0
    assert not unsafe(calls, out)
    (gone,) = places(calls, "name", ".train.parts.done")
    assert not unsafe(calls[:gone], out)
    names = ("features.json", "train.npy", "train.ids", "train.ends.npy")
    assert all(places(calls[:gone], "name", f"/{name}") for name in names)
    dropped, synced = places(calls, "drop", ".rows"), places(calls, "sync", ".train.npy.part")
    assert len(dropped) > 2
    for i, before in zip(dropped, [-1, *dropped], strict=False):
        # the frames of this very shard are safe, and the name of the file that they are in
        assert any(before < j < i for j in synced)
        assert any(".train.npy.part" in call.holds for call in calls[:i])


def test_a_mended_shard_replaces_the_old_one_once_it_is_safe(tmp_path: Path, calls: list[Call]) -> None:
    folder = ShardFolder(tmp_path / "parts", np.uint16, 2)
    folder.open({"a": 1})
    for rows in ("no such file", np.ones((3, 2))):
        with folder.writing(0) as writer:
            writer.add(rows)
    assert not unsafe(calls, tmp_path)
    dropped = places(calls, "drop", "000000.json")[-1]
    parts = [call.path for call in calls[:dropped] if call.what == "sync" and "000000" in call.path]
    assert len(parts) >= 3 and "json" not in parts[-1]  # rows and json, then the new rows


def units() -> dict[str, object]:
    return asg_units(["|", "a"]).to_json()


def tokens(out: Path) -> None:
    with TokenWriter(out, "train", 9) as writer:
        writer.add("u", 1, [4])


def emissions(out: Path) -> None:
    with EmissionWriter(out, "dev", units(), 0.01) as writer:
        writer.add("u", np.zeros((3, len(units()["symbols"])), np.float32))  # type: ignore[arg-type]


def labels(out: Path) -> None:
    made = Labels(("u",), (("a", "|"),), ("a",))
    write_labels(out, "letters", {"train": made}, [("a", 1), ("|", 1)], {"splits": {"train": {}}})


def pieces(out: Path) -> None:
    train_pieces([["1", "2", "1", "2"]] * 9, ["1", "2"], 4).save(out)


def manifests(out: Path) -> None:
    out.mkdir()
    publish(out, "/root", {"train": [Row(Entry("x.wav", "x"), 0, 100, 8000)]}, [])
    write_manifest(out / "other.tsv", "/root", [{"path": "a.wav", "samples": 5}])


def language_model(out: Path) -> None:
    out.mkdir()
    (out / "text").write_text("a b a\nb a b\n" * 9)
    write_arpa(train_ngram(read_text(str(out / "text")), 2), out / "lm.arpa")
    write_lexicon(out / "lexicon.txt", {"a": [("a", "|")]})


def checkpoints(out: Path) -> None:
    out.mkdir()
    write_pickle(out / "a.pt", {"model": {"w": torch.zeros(3)}})
    write_folder(out / "folder", {"a": 1}, {"w": torch.zeros(3)})


def results(out: Path) -> None:
    ResultFiles(out, "test", 0.01).write()


def mended_training(out: Path) -> None:
    out.mkdir()
    torch.save({"model": {}}, out / "checkpoint_1_10.pt")
    (out / LAST).write_bytes(b"PK a piece")
    mend_last_checkpoint(out)


@pytest.mark.parametrize(
    "write",
    [
        *(tokens, emissions, labels, pieces, manifests),
        *(language_model, checkpoints, results, mended_training),
    ],
    ids=lambda write: write.__name__,
)
def test_whoever_writes_syncs(tmp_path: Path, calls: list[Call], write: Callable[[Path], None]) -> None:
    write(tmp_path / "out")
    assert not unsafe(calls, tmp_path) and any(named(calls, tmp_path))


@pytest.mark.parametrize(
    ("write", "last"),
    [
        (tokens, "train.idx"),
        (emissions, "dev.ends.npy"),
        (labels, "labels.json"),
        (pieces, "pieces.model"),
        (checkpoints, "config.json"),
    ],
    ids=lambda of: getattr(of, "__name__", ""),
)
def test_what_vouches_for_all_gets_its_name_last(
    tmp_path: Path, calls: list[Call], write: Callable[[Path], None], last: str
) -> None:
    """Whoever looks, or is killed, in between finds no whole of which a part is missing."""
    write(tmp_path / "out")
    names = [os.path.basename(call.path) for _, call in named(calls, tmp_path)]
    assert len(names) > 1 and names[-1] == last
