"""`vqw2v cluster`: centres that depend on the audio and the seed alone, whatever is killed or shared out."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from corpus_runs import FEW, content, corpus, saved

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.checkpoints.clusters import load_clusters
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.features.base import Features
from vqw2v_plugin.jobs import cluster as job
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore

Tiny = Callable[..., VqWav2Vec]
MFCC = ["--layer", "mfcc:4", "--codes", "5", *FEW]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path, files=9)


def cluster(*arguments: object) -> int:
    return main(["cluster", *map(str, arguments)])


def killed(*arguments: object) -> None:
    """In a process of its own that ends by SIGKILL."""
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            cluster(*arguments)
        finally:
            os._exit(70)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def slow_corpus(folder: Path) -> Path:
    """Eight seconds at 8 kHz."""
    rng, rows = np.random.default_rng(0), []
    for i in range(8):
        sf.write(folder / f"{i}.flac", rng.normal(0, 0.1, 8_000), 8_000)
        rows.append({"path": f"{i}.flac", "samples": 8_000})
    write_manifest(folder / "train.tsv", folder, rows)
    return folder / "train.tsv"


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_centres_are_means_of_the_frames_that_are_nearest(manifest: Path, tmp_path: Path) -> None:
    """All frames are there: 500,000 are asked for."""
    assert cluster("-", manifest, tmp_path / "out", *MFCC, "--standardize", "none") == 0
    assert main(["features", "-", str(manifest), str(tmp_path / "f"), *MFCC[:2], "--store", "fp32"]) == 0
    store = FeatureStore(tmp_path / "f", "train")
    frames = np.concatenate([store[i] for i in range(len(store))])
    restored = load_clusters(tmp_path / "out")
    centres = restored.network.clusters.entries[0].numpy()
    nearest = ((frames[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert np.bincount(nearest, minlength=5).all()
    for code in range(5):
        np.testing.assert_allclose(frames[nearest == code].mean(0), centres[code], rtol=0.02, atol=0.02)
    assert restored.header.made_from["frames_drawn"] == len(frames)


def test_a_corpus_s_mean_and_deviation_are_those_of_its_frames(manifest: Path, tmp_path: Path) -> None:
    assert cluster("-", manifest, tmp_path / "out", *MFCC) == 0
    assert main(["features", "-", str(manifest), str(tmp_path / "f"), *MFCC[:2], "--store", "fp32"]) == 0
    store = FeatureStore(tmp_path / "f", "train")
    frames = np.concatenate([store[i] for i in range(len(store))])
    clusters = load_clusters(tmp_path / "out").network.clusters
    np.testing.assert_allclose(clusters.mean, frames.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(clusters.scale, frames.std(0), rtol=1e-4)


@pytest.mark.parametrize("kept", ["none", "corpus", "utterance"])
def test_workers_and_kills_change_no_byte(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    options = [*MFCC, "--standardize", kept, "--passes", "4"]
    assert cluster("-", manifest, tmp_path / "whole", *options, "--workers", "1") == 0
    expected = content(tmp_path / "whole")
    original = job._written

    def after_two_passes(fit: job._Fit, frames: list[int]) -> bytes:
        return original(fit, frames) if fit.passes < 2 else die()  # type: ignore[func-returns-value]

    for name, value in [("first_centres", die), ("_written", after_two_passes), ("write_exported", die)]:
        with monkeypatch.context() as patch:
            patch.setattr(job, name, value)
            killed("-", manifest, tmp_path / "out", *options, "--workers", "2")
        assert not (tmp_path / "out" / "config.json").exists()
    assert cluster("-", manifest, tmp_path / "out", *options, "--workers", "3") == 0
    assert content(tmp_path / "out") == expected
    assert not (tmp_path / "out" / ".frames").exists()


def test_passes_go_on_where_a_kill_left_them(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job, "write_exported", die)
        killed("-", manifest, tmp_path / "out", *MFCC, "--passes", "3")
    monkeypatch.setattr(job, "first_centres", die)
    monkeypatch.setattr(job, "cells_of", die)
    assert cluster("-", manifest, tmp_path / "out", *MFCC, "--passes", "3") == 0


def test_centres_of_audio_that_was_replaced_are_found_anew(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job, "write_exported", die)
        killed("-", manifest, tmp_path / "out", *MFCC)
    path = tmp_path / "audio-train" / "train3.flac"
    sf.write(path, np.random.default_rng(9).normal(0, 0.3, sf.info(path).frames), sf.info(path).samplerate)
    for out in ("out", "anew"):
        assert cluster("-", manifest, tmp_path / out, *MFCC) == 0
    assert content(tmp_path / "out") == content(tmp_path / "anew")


def test_only_so_many_frames_are_drawn_and_a_seed_says_which(manifest: Path, tmp_path: Path) -> None:
    found = {}
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        assert cluster("-", manifest, tmp_path / name, *MFCC, "--frames", "150", "--seed", seed) == 0
        found[name] = load_clusters(tmp_path / name)
    drawn = {name: restored.header.made_from["frames_drawn"] for name, restored in found.items()}
    assert 100 < drawn["a"] < 200 and drawn["a"] == drawn["b"]
    entries = {name: restored.network.clusters.entries for name, restored in found.items()}
    assert torch.equal(entries["a"], entries["b"]) and not torch.equal(entries["a"], entries["c"])


def test_what_is_there_is_left_and_something_else_is_not_replaced(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cluster("-", manifest, out, *MFCC) == 0
    before = content(out)
    (out / ".frames").mkdir()  # as a kill in the middle of its removal leaves it
    with monkeypatch.context() as patch:
        patch.setattr(Features, "of", die)
        assert cluster("-", manifest, out, *MFCC) == 0
    assert "is there already" in capsys.readouterr().out and not (out / ".frames").exists()
    for other in (["--codes", "6"], ["--seed", "2"], ["--layer", "mfcc:5"], ["--frames", "99"]):
        assert cluster("-", manifest, out, *MFCC, *other) == 2
        assert "clusters of layer mfcc:4, 1 × 5 codes, 16000 Hz" in capsys.readouterr().err
    assert content(out) == before
    assert cluster("-", manifest, out, *MFCC, "--codes", "6", "--refresh") == 0
    assert Tokenizer.load(out).num_codes == 6


def test_audio_that_cannot_be_read_is_named_and_left_out(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audio-train" / "train4.flac").write_bytes(b"no audio")
    assert cluster("-", manifest, tmp_path / "strict", *MFCC, "--strict") == 2
    assert "train4.flac" in capsys.readouterr().err and not (tmp_path / "strict" / "config.json").exists()
    assert cluster("-", manifest, tmp_path / "out", *MFCC) == 1
    assert "missing: train4" in capsys.readouterr().err
    assert Tokenizer.load(tmp_path / "out").num_codes == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codes", "100000"], "frames were drawn, expected at least as many as centres (100,000)"),
        (["--codes", "0"], "`codes` is 0"),
        (["--groups", "3"], "must be divisible by `groups` (3)"),
        (
            ["--standardize", "speaker"],
            "who speaks what a tokenizer hears; expected corpus, utterance or none",
        ),
        (["--standardize", "voice"], "`--standardize` is 'voice'; expected corpus, utterance or none"),
        (["--frames", "0"], "`--frames` is 0; expected 1 to"),
        (["--passes", "0"], "`--passes` is 0; expected 1 to"),
        (["--seed", "-1"], "`--seed` is -1; expected 0 to"),
        (["--layer", "q"], "`CHECKPOINT` is '-' and `--layer` is 'q'"),
    ],
)
def test_what_cannot_be_clustered_is_said(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert cluster("-", manifest, tmp_path / "out", *MFCC, *options) == 2
    assert message in capsys.readouterr().err


def some_bert(folder: Path, symbols: tuple[str, ...]) -> str:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
    save_bert(folder / "bert.pt", build_bert({**sizes, "encoder_attention_heads": 2}, Symbols(symbols)))
    return str(folder / "bert.pt")


@pytest.mark.parametrize(
    ("layer", "run_length"),
    [("z", False), ("c", False), ("q", False), ("bert:1", False), ("bert:1", True), ("logmel", False)],
)
def test_codes_of_any_layer_are_the_nearest_centres_without_its_files(
    tiny: Tiny, manifest: Path, tmp_path: Path, layer: str, run_length: bool
) -> None:
    files = {} if layer == "logmel" else {"checkpoint": saved(tiny(quantizer="gumbel"), tmp_path)}
    if layer == "bert:1":
        files["bert"] = some_bert(tmp_path, tuple(f"{i}-{j}" for i in range(8) for j in range(8)))
    given = ["--bert", files["bert"]] if "bert" in files else []
    given += ["--run-length"] if run_length else []
    out = tmp_path / "out"
    assert cluster(files.get("checkpoint", "-"), manifest, out, "--layer", layer, "--codes", 6, *given) == 0
    features = load_features(layer, **files, run_length=run_length)
    for path in files.values():
        Path(path).unlink()
    tokenizer, clusters = Tokenizer.load(out), load_clusters(out).network.clusters
    clip = tmp_path / "audio-train" / "train0.flac"
    codes = tokenizer.encode_file(clip)
    scaled = (features.of(clip) - clusters.mean) / clusters.scale
    assert torch.equal(codes, torch.cdist(scaled, clusters.entries[0]).argmin(1, keepdim=True))
    assert len(codes.unique()) > 1
    assert torch.equal(tokenizer.decode(codes), clusters.entries[0][codes[:, 0]])


def test_clusters_go_wherever_a_checkpoint_with_codes_goes(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also to a BERT over their codes, and to clusters of its layer."""
    first = str(tmp_path / "first")
    assert cluster("-", manifest, first, *MFCC) == 0
    assert main(["discretize", first, str(manifest), str(tmp_path / "tokens")]) == 0
    assert json.loads((tmp_path / "tokens" / "tokens.json").read_text())["num_codes"] == 5
    assert main(["usage", first, str(manifest)]) == 0
    assert "1 groups of 5 codes" in capsys.readouterr().out
    assert main(["encode", first, str(tmp_path / "audio-train" / "train0.flac")]) == 0
    assert main(["export", first, str(tmp_path / "exported")]) == 0
    assert main(["import", first, str(tmp_path / "again.pt")]) == 0
    clip = tmp_path / "audio-train" / "train1.flac"
    codes = [Tokenizer.load(tmp_path / name).encode_file(clip) for name in ("first", "exported", "again.pt")]
    assert torch.equal(codes[0], codes[1]) and torch.equal(codes[0], codes[2])
    assert main(["features", first, str(manifest), str(tmp_path / "q"), "--layer", "q"]) == 0
    bert = some_bert(tmp_path, tuple(map(str, range(5))))
    second = tmp_path / "second"
    assert cluster(first, manifest, second, "--layer", "bert", "--bert", bert, "--codes", 4) == 0
    assert Tokenizer.load(second).encode_file(clip).max() < 4
    capsys.readouterr()
    assert main(["features", first, str(manifest), str(tmp_path / "z"), "--layer", "z"]) == 2
    assert "holds the model 'vq_clusters'; expected 'vq_wav2vec'" in capsys.readouterr().err
    assert main(["usage", first, str(manifest), "--untrained"]) == 2
    assert "clusters are found without one" in capsys.readouterr().err


def test_a_spectrum_has_the_bands_that_its_clusters_were_found_with(manifest: Path, tmp_path: Path) -> None:
    assert cluster("-", manifest, tmp_path / "out", "--layer", "logmel", "--bands", "20", "--codes", "5") == 0
    clip = tmp_path / "audio-train" / "train0.flac"
    clusters = load_clusters(tmp_path / "out").network.clusters
    scaled = (load_features("logmel", bands=20).of(clip) - clusters.mean) / clusters.scale
    expected = torch.cdist(scaled, clusters.entries[0]).argmin(1, keepdim=True)
    assert torch.equal(Tokenizer.load(tmp_path / "out").encode_file(clip), expected)


def test_audio_of_another_rate_gives_as_many_frames_as_are_asked_for(tmp_path: Path) -> None:
    """The manifest does not say the rate, and a second has half the samples."""
    manifest = slow_corpus(tmp_path)
    assert cluster("-", manifest, tmp_path / "out", *MFCC, "--frames", "400") == 0
    drawn = load_clusters(tmp_path / "out").header.made_from["frames_drawn"]
    assert drawn == pytest.approx(400, rel=0.15)
