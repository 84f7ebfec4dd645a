"""`vqw2v discretize`: no kill, rank, full disk or bad file changes what is made in the end."""

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_runs import FEW, content, corpus, ended, run, start

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.stores import shards
from vqw2v_plugin.stores.tokens import TokenStore


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path)


STEPS = 13  # renames of a run with one shard
ALL = ["--run-length", "--text", "--npy", "--workers", "2", *FEW]


@pytest.mark.slow
def test_twenty_kills_at_random_change_nothing(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    assert run(checkpoint, manifest, tmp_path / "whole", *ALL) == 0
    lasted, whole, rng = time.monotonic() - begin, content(tmp_path / "whole"), random.Random(0)
    kills = attempts = 0
    while kills < 20:
        attempts += 1
        assert attempts <= 100, f"only {kills} of so many kills came in time"
        out = tmp_path / f"cut{attempts}"
        child = start(checkpoint, manifest, out, *ALL)
        time.sleep(lasted * (kills + rng.random()) / 20)
        os.kill(child, signal.SIGKILL)
        if ended(child) == -signal.SIGKILL:
            kills += 1
        else:  # it had ended before: the first run, which was timed, was a slow one
            lasted *= 0.9
        assert run(checkpoint, manifest, out, *ALL) == 0
        assert content(out) == whole
        assert not list(out.glob(".*parts*")) and not list(out.glob(".*part"))


@pytest.mark.parametrize("step", range(STEPS))
def test_a_kill_before_any_rename_changes_nothing(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Nothing has its name before it is whole: the process kills itself instead of its n-th rename."""
    manifest = corpus(tmp_path, files=4)
    assert run(checkpoint, manifest, tmp_path / "whole", *ALL) == 0
    real, calls = os.replace, []

    def replace(*names: object) -> None:
        calls.append(names)
        if len(calls) > step:  # the last step is the removal of the shards
            os.kill(os.getpid(), signal.SIGKILL)
        real(*names)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        assert run(checkpoint, manifest, tmp_path / "cut", *ALL) == -signal.SIGKILL
    assert run(checkpoint, manifest, tmp_path / "cut", *ALL) == 0
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    names = {path.name for path in (tmp_path / "cut").iterdir() if path.name.startswith(".")}
    assert names == {".lock", ".lock.merge"}


@pytest.mark.parametrize("total", [2, 3])
def test_ranks_make_what_one_process_makes(
    checkpoint: str, manifest: Path, tmp_path: Path, total: int
) -> None:
    assert run(checkpoint, manifest, tmp_path / "one", *FEW) == 0
    out = tmp_path / "ranks"
    children = [
        start(checkpoint, manifest, out, *FEW, RANK=str(i), WORLD_SIZE=str(total)) for i in range(total)
    ]
    assert [ended(child) for child in children] == [0] * total
    assert content(tmp_path / "ranks") == content(tmp_path / "one")


def test_a_split_is_made_anew_by_one_process(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several one would remove what another has just made."""
    manifest, out = corpus(tmp_path, files=2), tmp_path / "out"
    words = ["discretize", checkpoint, str(manifest), str(out), "--workers", "1"]
    assert main(words) == 0
    before = content(out)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*words, "--refresh"]) == 2
    assert "`--refresh` is for one process alone: run it once without torchrun" in capsys.readouterr().err
    assert content(out) == before


def test_a_rank_s_share_may_be_ended_by_fewer(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(checkpoint, manifest, out, *FEW, RANK="1", WORLD_SIZE="3") == 0
    assert not (out / "train.idx").exists()
    assert run(checkpoint, manifest, out, *FEW) == 0
    assert run(checkpoint, manifest, tmp_path / "one", *FEW) == 0
    assert content(out) == content(tmp_path / "one")


def test_a_full_disk_is_named_and_gone_on_from(
    checkpoint: str,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, real, writes = tmp_path / "out", shards.ShardWriter.add, []

    def add(writer: shards.ShardWriter, found: object, audio: str) -> None:
        writes.append(1)
        if len(writes) in (3, 4, 11):  # two shards; there is room in between
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, found, audio)  # type: ignore[arg-type]

    arguments = ["discretize", checkpoint, str(manifest), str(out), *FEW]
    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardWriter, "add", add)
        assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("was not written: No space left on device") == 3
    assert "make room, and run the same command again" in err and not (out / "train.idx").exists()
    done = len(list((out / ".train.parts").glob("0*.json")))
    assert 0 < done < 7
    assert main(arguments) == 0
    assert run(checkpoint, manifest, tmp_path / "one", *FEW) == 0
    assert content(out) == content(tmp_path / "one")


def test_a_disk_that_stays_full_ends_the_run(
    checkpoint: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(*args: object) -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.ShardWriter, "add", full)
    assert main(["discretize", checkpoint, str(manifest), str(tmp_path / "out"), *FEW]) == 2
    assert len(calls) == 3


@pytest.fixture
def damaged(tmp_path: Path, manifest: Path) -> list[Path]:
    """A corrupt file, one that is too short, one that has vanished."""
    audio = [tmp_path / "audio-train" / f"train{i}.flac" for i in (2, 7, 20)]
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in audio:
        os.rename(path, kept / path.name)
    audio[0].write_bytes(b"fLaC, or not")
    sf.write(audio[1], np.zeros(50), 16_000)
    return audio


def test_what_cannot_be_read_is_named_and_tried_again(
    checkpoint: str, manifest: Path, tmp_path: Path, damaged: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["discretize", checkpoint, str(manifest), str(out), *FEW]
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert all(str(path) in err for path in damaged) and "3 of 24 utterances are missing" in err
    lines = (out / "train.refused.tsv").read_text().splitlines()
    assert lines[0] == "utt\tpath\treason" and [line.split("\t")[0] for line in lines[1:]] == [
        "train2",
        "train7",
        "train20",
    ]
    assert len(TokenStore(out, "train")) == 21
    first = content(out)
    assert main(arguments) == 1 and content(out) == first
    for path in damaged:
        os.replace(tmp_path / "kept" / path.name, path)
    encoded = []
    original = Tokenizer.encode_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Tokenizer, "encode_file", lambda *args: (encoded.append(args[1].path), original(*args))[1]
        )
        assert main(arguments) == 0
    assert sorted(encoded) == sorted(map(str, damaged))  # those alone
    assert run(checkpoint, manifest, tmp_path / "one", *FEW) == 0
    assert content(out) == content(tmp_path / "one") and not list(out.glob(".*parts"))


def test_strict_publishes_nothing_that_lacks_something(
    checkpoint: str, manifest: Path, tmp_path: Path, damaged: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["discretize", checkpoint, str(manifest), str(out), "--strict"]) == 2
    assert "3 of 24 utterances" in capsys.readouterr().err
    assert list(content(out)) == ["train.refused.tsv"]


def test_a_kill_while_mended_files_are_put_in_changes_nothing(
    checkpoint: str, manifest: Path, tmp_path: Path, damaged: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The split is there when it is made again: dictionary and data set are replaced one after the other."""
    assert run(checkpoint, manifest, tmp_path / "cut0", *FEW) == 1
    for path in damaged:
        os.replace(tmp_path / "kept" / path.name, path)
    assert run(checkpoint, manifest, tmp_path / "one", *FEW) == 0
    real = os.replace
    for step in range(2, 13):  # the first few renames make shards anew
        calls: list[object] = []

        def replace(*names: object, step: int = step, calls: list[object] = calls) -> None:
            calls.append(names)
            if len(calls) > step:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*names)  # type: ignore[call-overload]

        out = tmp_path / f"cut{step}"
        shutil.copytree(tmp_path / "cut0", out)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            assert run(checkpoint, manifest, out, *FEW) == -signal.SIGKILL
        assert run(checkpoint, manifest, out, *FEW) == 0
        assert content(out) == content(tmp_path / "one")
