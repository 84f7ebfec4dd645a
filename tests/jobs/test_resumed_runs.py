"""`vqw2v discretize` that goes on: with what was begun, of the audio that is there, of whole shards."""

import fcntl
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_runs import FEW, content, corpus, decoded, run

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.common.locks import Rank, claimed
from vqw2v_plugin.jobs.split_job import SplitJob

ONE = ["--workers", "1", *FEW]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path, files=9)


def cut_before_merging(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """A run that dies when all its shards are there."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(SplitJob, "_publish", die)
        assert run(*arguments) == -signal.SIGKILL


def test_audio_that_was_replaced_since_is_encoded_anew_and_named(
    checkpoint: str,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoded: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, arguments = tmp_path / "out", [checkpoint, str(manifest), str(tmp_path / "out"), *ONE]
    cut_before_merging(monkeypatch, *arguments)
    replaced = [tmp_path / "audio-train" / f"train{i}.flac" for i in (1, 6)]
    for path in replaced:
        info = sf.info(path)
        sf.write(path, np.random.default_rng(9).normal(0, 0.1, info.frames), info.samplerate)
    assert main(["discretize", *arguments]) == 0
    assert encoded == list(map(str, replaced))  # and no other
    err = capsys.readouterr().err
    assert "2 utterances are of audio that was replaced since this run was begun" in err
    assert all(str(path) in err for path in replaced)
    assert run(checkpoint, manifest, tmp_path / "anew", *ONE) == 0
    assert content(out) == content(tmp_path / "anew")


@pytest.mark.parametrize("is_shorter", [False, True])
def test_features_of_replaced_audio_are_not_mixed_with_those_that_were_gathered(
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_shorter: bool,
) -> None:
    """The first shards are in SPLIT.npy already: frames of another number would shift those behind them."""
    from vqw2v_plugin.stores.shards import ShardFolder

    out, real = tmp_path / "out", ShardFolder.drop_rows
    arguments = ["features", "-", str(manifest), str(out), "--layer", "logmel", *ONE]

    def drop_rows(folder: ShardFolder, index: int) -> None:
        real(folder, index)
        if index == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "drop_rows", drop_rows)
        assert main(arguments) == 130
    first = tmp_path / "audio-train" / "train0.flac"
    if is_shorter:
        sf.write(first, np.zeros(1600), 16_000)  # fewer samples than the manifest says: it gives no frames
        assert main(arguments) == 2
        assert "lacks frames that were in it; make it anew with --refresh" in capsys.readouterr().err
        assert main([*arguments, "--refresh"]) == 1
    else:
        sf.write(first, np.random.default_rng(9).normal(0, 0.1, sf.info(first).frames), 16_000)
        assert main(arguments) == 0
    anew = ["features", "-", str(manifest), str(tmp_path / "anew"), "--layer", "logmel", *ONE]
    assert main(anew) == int(is_shorter)
    assert content(out) == content(tmp_path / "anew")


def test_a_run_goes_on_with_the_dictionary_that_it_was_begun_with(
    checkpoint: str,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, other = tmp_path / "given.txt", tmp_path / "other.txt"
    given.write_text("0-0 1\n1-1 1\n")
    other.write_text("1-1 1\n0-0 1\n")
    out = tmp_path / "out"
    cut_before_merging(monkeypatch, checkpoint, manifest, out, *ONE, "--dict", given)
    for wrong in ([], ["--dict", str(other)]):
        assert main(["discretize", checkpoint, str(manifest), str(out), *ONE, *wrong]) == 2
        said = capsys.readouterr().err
        assert "begun with other settings: `dict` was" in said and "say the same as then" in said
    given.write_text("0-0 7\n1-1 7\n")  # the same symbols
    assert main(["discretize", checkpoint, str(manifest), str(out), *ONE, "--dict", str(given)]) == 0
    assert main(["discretize", checkpoint, str(manifest), str(out), *ONE]) == 0  # it is there
    cut_before_merging(monkeypatch, checkpoint, manifest, tmp_path / "none", *ONE)
    given_now = ["--dict", str(given)]
    assert main(["discretize", checkpoint, str(manifest), str(tmp_path / "none"), *ONE, *given_now]) == 2


def test_shards_of_another_length_are_not_gone_on_with(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, out = corpus(tmp_path, files=3), tmp_path / "out"
    cut_before_merging(monkeypatch, checkpoint, manifest, out, *ONE)
    words = ["discretize", checkpoint, str(manifest), str(out), "--workers", "1"]
    assert main([*words, "--shard-minutes", "0.05"]) == 2
    assert "`shard_minutes` was 0.02 and is now 0.05" in capsys.readouterr().err
    assert main([*words, *FEW]) == 0


def test_a_device_in_a_file_s_place_is_refused_before_anything_is_encoded(
    checkpoint: str, manifest: Path, tmp_path: Path, encoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "train.txt")
    assert main(["discretize", checkpoint, str(manifest), str(out), *ONE]) == 2
    assert "train.txt: is a pipe, expected a file to write" in capsys.readouterr().err and not encoded


@pytest.mark.parametrize("command", ["discretize", "features", "labels", "manifest"])
def test_a_folder_that_another_run_writes_is_left_alone(
    checkpoint: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = tmp_path / "out"
    (tmp_path / "texts").write_text("train0\tab\n")
    arguments = {
        "discretize": [checkpoint, str(manifest), str(out)],
        "features": ["-", str(manifest), str(out), "--layer", "logmel"],
        "labels": [str(manifest), str(out), "--text", str(tmp_path / "texts"), "--unit", "letters"],
        "manifest": [str(tmp_path / "audio-train"), str(out)],
    }[command]
    with claimed(out, Rank()):
        assert main([command, *arguments]) == 2
        assert f"{out} is being written by another run; wait for it" in capsys.readouterr().err
        assert not content(out)
    assert main([command, *arguments]) == 0


def test_ranks_put_a_split_together_one_after_the_other(
    checkpoint: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, tries = tmp_path / "out", SplitJob._publish, []

    def publish(job: SplitJob) -> object:
        with open(out / ".lock.merge", "ab") as file, pytest.raises(BlockingIOError):
            tries.append(1)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return real(job)

    monkeypatch.setattr(SplitJob, "_publish", publish)
    assert main(["discretize", checkpoint, str(manifest), str(out)]) == 0 and tries == [1]


def test_codes_that_a_killed_run_was_writing_are_not_among_those_of_the_next(
    checkpoint: str, manifest: Path, tmp_path: Path
) -> None:
    left = tmp_path / "out" / ".train.codes.part"
    left.mkdir(parents=True)
    for name in ("train0.npy", "of another manifest.npy"):
        (left / name).write_bytes(b"half")
    arguments = ["discretize", checkpoint, str(manifest)]
    assert main([*arguments, str(tmp_path / "out"), "--npy"]) == 0
    assert main([*arguments, str(tmp_path / "one"), "--npy"]) == 0
    assert content(tmp_path / "out") == content(tmp_path / "one")


def test_what_killed_runs_left_goes_with_the_next_split_and_that_of_others_stays(
    checkpoint: str, manifest: Path, tmp_path: Path
) -> None:
    out, kept = tmp_path / "out", ".valid.refused.tsv.77.part"
    out.mkdir()
    left = ["train.refused.tsv.77", "tokens.json.77", "dict.txt.77", "train.uint16.bin", "train.uint32.idx"]
    earlier = [
        ".tokens.json.77",
        ".dict.txt.77",
        ".train.refused.tsv.77",
    ]  # as an earlier version called them
    for name in (*(f".{name}.part" for name in left), *earlier, kept):
        (out / name).write_text("half")
    assert main(["discretize", checkpoint, str(manifest), str(out)]) == 0
    hidden = {path.name for path in out.iterdir() if path.name.startswith(".")}
    assert hidden == {".lock", ".lock.merge", kept}


def test_a_split_that_is_made_anew_leaves_the_dictionary_to_those_that_use_it(
    checkpoint: str, manifest: Path, tmp_path: Path
) -> None:
    """It was made of the first split, whose audio is another now."""
    out, valid = tmp_path / "out", corpus(tmp_path, "valid", files=3, seed=1)
    for split in (manifest, valid):
        assert main(["discretize", checkpoint, str(split), str(out), *ONE]) == 0
    kept, before = (out / "dict.txt").read_bytes(), decoded(out, "valid")
    for path in sorted((tmp_path / "audio-train").iterdir())[:6]:
        sf.write(path, np.zeros(sf.info(path).frames), sf.info(path).samplerate)
    assert main(["discretize", checkpoint, str(manifest), str(out), *ONE, "--refresh"]) == 0
    assert (out / "dict.txt").read_bytes() == kept and decoded(out, "valid") == before


def test_a_split_to_be_made_anew_with_other_settings_is_gone_at_once_and_made_by_whoever_goes_on(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its json says is not true of shards with other settings, whenever the run dies."""
    out = tmp_path / "out"
    arguments = ["features", "-", str(manifest), str(out), "--layer", "logmel", *ONE]
    assert main([*arguments, "--bands", "40"]) == 0

    def die(job: SplitJob) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SplitJob, "_publish", die)
        assert main([*arguments, "--bands", "20", "--refresh"]) == 130
    assert "train" not in json.loads((out / "features.json").read_text())["splits"]
    assert not list(out.glob("train.*"))
    assert main([*arguments, "--bands", "20"]) == 0
    assert np.load(out / "train.npy").shape[1] == 20
