"""`vqw2v discretize` that goes on: with what was begun, of the audio that is there, of whole shards."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_runs import FEW, content, corpus, decoded, run, saved

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.common.locks import Rank, claimed
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.jobs.split_job import SplitJob
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.symbols import read_dict
from vqw2v_plugin.stores.tokens import TokenStore

ONE = ["--workers", "1", *FEW]


@pytest.fixture
def checkpoint(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> str:
    return saved(tiny(quantizer="gumbel"), tmp_path)


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


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The audio files that are encoded from now on."""
    found: list[str] = []
    original = Tokenizer.encode_file

    def encode_file(self: Tokenizer, clip: object) -> object:
        found.append(clip.path)  # type: ignore[attr-defined]
        return original(self, clip)  # type: ignore[arg-type]

    monkeypatch.setattr(Tokenizer, "encode_file", encode_file)
    return found


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


def named(folder: Path, utts: list[str]) -> str:
    sf.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 1600), 16_000)
    rows = [{"path": "a.wav", "samples": 1600, "utt": utt} for utt in utts]
    lines = [str(folder), "# path\tsamples\tutt", *(f"{r['path']}\t{r['samples']}\t{r['utt']}" for r in rows)]
    (folder / "named.tsv").write_bytes("\n".join(lines).encode() + b"\n")
    return str(folder / "named.tsv")


@pytest.mark.parametrize(
    ("utts", "options", "says"),
    [
        (["a", ""], [], "row 2 names the utterance ''; expected names that differ"),
        (["a", "b\rc"], [], "row 2 names the utterance 'b\\rc'; expected"),
        (["a/b", "a//b"], ["--npy"], "the codes of 'a/b' and of 'a//b' into one file, a/b.npy; rename one"),
        (["/a/b", "a/b"], ["--npy"], "the codes of '/a/b' and of 'a/b' into one file, a/b.npy"),
        (["a/", "a"], ["--npy"], "into one file, a.npy"),
        (["a", "a.npy/b"], ["--npy"], "a.npy a file for 'a' and a folder for 'a.npy/b'; rename one"),
        (["a", "b" * 252], ["--npy"], "a NUL or more than 251 bytes between slashes; rename it"),
        (["a", "b\0"], ["--npy"], "a NUL or more than 251 bytes"),
        ([".", "%2E"], ["--npy"], "into one file, %2E.npy"),
    ],
)
def test_names_that_cannot_be_written_are_refused_before_anything_is_encoded(
    checkpoint: str,
    tmp_path: Path,
    encoded: list[str],
    capsys: pytest.CaptureFixture[str],
    utts: list[str],
    options: list[str],
    says: str,
) -> None:
    out = tmp_path / "out"
    assert main(["discretize", checkpoint, named(tmp_path, utts), str(out), *options]) == 2
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1
    assert not encoded and not list(out.rglob("*.rows"))


def test_names_of_every_character_come_through(checkpoint: str, tmp_path: Path) -> None:
    utts = [f"a{c}b" for c in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x1f\xa0\ufeff"] + [
        "../up",
        "a/./b",
        "..",
        "A",
        "a",
    ]
    out, manifest = tmp_path / "out", named(tmp_path, utts)
    assert main(["discretize", checkpoint, manifest, str(out), "--npy", "--text"]) == 0
    found = decoded(out, "named")
    assert list(found) == utts and len(set(map(tuple, found.values()))) == 1
    assert len([path for path in (out / "named.codes").rglob("*") if path.is_file()]) == len(utts)
    assert main(["features", "-", manifest, str(tmp_path / "f"), "--layer", "logmel"]) == 0


def test_a_disk_that_does_not_tell_names_apart_is_an_error(tmp_path: Path) -> None:
    from vqw2v_plugin.stores.symbols import TokenError
    from vqw2v_plugin.stores.token_extras import TokenExtras

    extras, codes = (
        TokenExtras(tmp_path, "a", run_length=False, text=False, npy=True),
        np.zeros((2, 1), np.int64),
    )
    extras.add("u", codes, codes, np.ones(2, np.int64))
    with pytest.raises(TokenError, match=r"u\.npy: is another utterance's than 'u' on this disk"):
        extras.add("u", codes, codes, np.ones(2, np.int64))


def test_a_device_in_a_file_s_place_is_refused_before_anything_is_encoded(
    checkpoint: str, manifest: Path, tmp_path: Path, encoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "train.txt")
    assert main(["discretize", checkpoint, str(manifest), str(out), *ONE]) == 2
    assert "train.txt: is a pipe, expected a file to write" in capsys.readouterr().err and not encoded


def damaged_shards(whole: Path, copy: Path) -> Iterator[str]:
    """Every way in which a file of the shards may be wrong, one after the other."""
    names = sorted(path.name for path in whole.iterdir())
    jsons, rows = ([name for name in names if name.endswith(end)] for end in (".json", ".rows"))
    shards = [name for name in jsons if name != "settings.json"]

    def fresh() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)

    for name in (*jsons[:2], "settings.json", rows[1]):
        content = (whole / name).read_bytes()
        changed = content[:9] + bytes([content[9] ^ 4]) + content[10:]
        ends = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
        for what, data in {
            "empty": b"",
            "cut short": content[:-1],
            "longer": content + b"0",
            "changed": changed,
            "changed at its end": ends,
            "zeros": bytes(len(content)),
            "a list": b"[1]",
            "not UTF-8": b"\xff" + content,
        }.items():
            fresh()
            (copy / name).write_bytes(data)
            yield f"{name}: {what}"
    for ours in (shards, rows):
        fresh()
        first, second = (copy / name for name in ours[1:3])
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
        yield f"{ours[1]} and {ours[2]} exchanged"
    for name in (shards[1], rows[1]):
        fresh()
        (copy / name).unlink()
        yield f"{name}: gone"
    fresh()
    text = (copy / shards[1]).read_text().partition(" ")[2]
    (copy / shards[1]).write_text(json.dumps({**json.loads(text), "frames": [3]}))
    yield f"{shards[1]}: other frames, without a checksum"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["discretize", "features"])
def test_damaged_shards_are_made_anew_or_refused_in_a_sentence(
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    manifest = corpus(tmp_path, files=12)
    source = [checkpoint] if command == "discretize" else ["-"]
    layer = [] if command == "discretize" else ["--layer", "logmel"]

    def arguments(out: str) -> list[str]:
        return [command, *source, str(manifest), str(tmp_path / out), *layer, *ONE]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    assert main(arguments("whole")) == 0
    whole = content(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(SplitJob, "_publish", die)
        assert main(arguments("cut")) == 130
    out = tmp_path / "out"
    tries = 0
    for what in damaged_shards(tmp_path / "cut" / ".train.parts", tmp_path / "copy"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        shutil.copytree(tmp_path / "copy", out / ".train.parts")
        capsys.readouterr()
        status, tries = main(arguments("out")), tries + 1
        if status == 2:
            err = capsys.readouterr().err
            assert "out/.train." in err and "\n" not in err.partition("vqw2v: error: ")[2][:-1], what
            again = ["--refresh"] if "--refresh" in err else []
            assert again or "run the same command again" in err, f"{what}: {err}"
            assert main([*arguments("out"), *again]) == 0, what
        assert content(out) == whole, what
    assert tries == 37


def test_utterances_stand_in_the_manifest_s_order_over_all_shards(checkpoint: str, tmp_path: Path) -> None:
    """In what is published and in what was refused, whatever the order of the shards' files."""
    bad, manifest = [3, 12], corpus(tmp_path, files=16)
    for i in bad:
        (tmp_path / "audio-train" / f"train{i}.flac").write_bytes(b"")
    good = [f"train{i}" for i in range(16) if i not in bad]
    layer, shards = ["--layer", "logmel"], ["--shard-minutes", "0.005"]
    assert main(["discretize", checkpoint, str(manifest), str(tmp_path / "t"), *shards, "--text"]) == 1
    assert main(["features", "-", str(manifest), str(tmp_path / "f"), *layer, *shards]) == 1
    assert len(list((tmp_path / "t" / ".train.parts").glob("*.rows"))) > 10
    tokens, features = TokenStore(tmp_path / "t", "train"), FeatureStore(tmp_path / "f", "train")
    assert [utt for utt, _ in tokens.rows] == good == [utt for utt, _ in features.rows]
    rows = [row for row in Manifest(manifest) if row.utt in good]
    names = read_dict(tmp_path / "t" / "dict.txt")
    tokenizer, logmel = Tokenizer.load(checkpoint), load_features("logmel")
    for i, row in enumerate(rows):
        expected = tokenizer.tokens(tokenizer.encode_file(row)).split()
        assert [names[number - 4] for number in tokens[i]] == expected
        assert np.array_equal(features[i], logmel.of(row).numpy().astype(np.float16))
    for out in ("t", "f"):
        lines = (tmp_path / out / "train.refused.tsv").read_text().split("\n")[1:-1]
        assert [line.split("\t")[0] for line in lines] == [f"train{i}" for i in bad]


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
