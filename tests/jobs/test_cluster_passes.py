"""What a run of `vqw2v cluster` counts: the frames it draws, what it begins with, its passes over them."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from corpus_runs import FEW, corpus

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.clusters import load_clusters
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.commands.cluster import add_arguments
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features.base import FeatureOptions, Features
from vqw2v_plugin.features.registry import make_features
from vqw2v_plugin.jobs import cluster as job
from vqw2v_plugin.modules.quantizers.clusters import ClustersConfig
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

MFCC = ["--layer", "mfcc:4", "--codes", "5", *FEW]


def cluster(*arguments: object) -> int:
    return main(["cluster", *map(str, arguments)])


def job_of(folder: Path, codes: int = 5, standardize: str = "none", **options: int) -> job.ClusterJob:
    """Of twins: two files of the same audio."""
    wav = np.random.default_rng(0).normal(0, 0.1, 32_000)
    for name in ("a", "b"):
        sf.write(folder / f"{name}.wav", wav, 16_000)
    write_manifest(
        folder / "twins.tsv", folder, [{"path": f"{n}.wav", "samples": 32_000} for n in ("a", "b")]
    )
    asked = FeatureOptions("mfcc:4")
    config = ClustersConfig(codes, standardize=standardize)  # type: ignore[arg-type]
    manifest = Manifest(folder / "twins.tsv")
    asked_for = job.ClusterOptions(workers=1, **options)
    return job.ClusterJob(make_features(asked), asked, config, manifest, folder / "out", asked_for)


def shards(*sizes: int) -> list[np.ndarray]:
    """Frames of four features, row i of which begins with i."""
    rows = np.random.default_rng(1).normal(0, 1, (sum(sizes), 4)).astype(np.float32)
    rows[:, 0] = np.arange(len(rows))
    return np.split(rows, np.cumsum(sizes)[:-1])


def test_mean_and_deviation_of_many_frames_are_exact() -> None:
    """Far from zero, or all as far from their mean: summed in 32 bit these go wrong in the fourth digit."""
    far = np.random.default_rng(0).normal(3_000, 1, 80_000)
    rows = np.stack([far, np.tile([-0.1, 0.1], 40_000)], 1).astype(np.float32)
    mean, scale = job._moments(np.split(rows, [50_001]))
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(scale, exact.std(0), rtol=2e-7)
    assert mean.dtype == scale.dtype == torch.float32


def test_twins_draw_different_frames_and_another_seed_others(tmp_path: Path) -> None:
    one = job_of(tmp_path, frames=200)
    rows = [one.manifest[i] for i in range(2)]
    draw = one.drawn.draw
    a, b = (draw(row) for row in rows)
    other = job_of(tmp_path, frames=200, seed=2).drawn.draw(rows[0])
    assert 70 < len(a) < 130 and 70 < len(b) < 130  # half of 198
    assert not np.array_equal(a, b) and not np.array_equal(a, other) and np.array_equal(a, draw(rows[0]))
    whole = one.features.of(rows[0]).numpy()
    assert {row.tobytes() for row in a} < {row.tobytes() for row in whole}


def test_it_begins_with_different_frames_of_all_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of them, in their order, where there are no more than are wanted."""
    seen: list[tuple[torch.Tensor, int, int, int]] = []

    def note(sample: torch.Tensor, *settings: int) -> torch.Tensor:
        seen.append((sample, *settings))  # type: ignore[arg-type]
        return torch.zeros(1)

    monkeypatch.setattr(job, "first_centres", note)
    rows = shards(3, 40, 1, 30)
    for seed in (1, 2):
        job_of(tmp_path, seed=seed)._begin(rows)
    assert torch.equal(seen[0][0], torch.from_numpy(np.concatenate(rows)))
    assert [settings for _, *settings in seen] == [[1, 5, 1], [1, 5, 2]]
    seen.clear()
    monkeypatch.setattr(job, "_SAMPLE", 20)
    monkeypatch.setattr(job, "_A_CODE", 8)
    for codes, seed in ((5, 1), (5, 2), (1, 1)):
        one = job_of(tmp_path, codes, seed=seed)
        one.clusters.mean, one.clusters.scale = torch.tensor([1.0, 0, 0, 0]), torch.tensor([2.0, 1, 1, 1])
        one._begin(rows)
    firsts = [2 * sample[:, 0] + 1 for sample, *_ in seen]
    assert [len(numbers.unique()) for numbers in firsts] == [40, 40, 20]  # eight a code, 20 at least
    assert all(bool((numbers.diff() > 0).all()) for numbers in firsts)
    assert not torch.equal(firsts[0], firsts[1])


def test_a_pass_that_gains_little_is_the_last_and_so_is_the_last_that_is_allowed(tmp_path: Path) -> None:
    one, rows = job_of(tmp_path, passes=9), shards(50, 30)
    entries = torch.from_numpy(np.concatenate(rows)[None, ::16])
    first = one._pass(rows, job._Fit(entries))
    apart = np.concatenate(rows).astype(np.float64)[:, None] - entries[0].numpy()
    distance = np.square(apart).sum(-1).min(1).mean()  # a frame's, squared
    assert (first.passes, first.done) == (1, False) and first.distance == pytest.approx(distance, rel=1e-6)
    for gain, enough in ((5e-5, True), (2e-4, False)):
        again = one._pass(rows, job._Fit(entries, 4, first.distance * (1 + gain)))
        assert (again.passes, again.done) == (5, enough)
    assert one._pass(rows, job._Fit(entries, 8, 1e9)).done


@pytest.mark.parametrize("codes", [80, 81])
def test_there_are_no_more_centres_than_frames(
    codes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, rows = job_of(tmp_path, codes), shards(50, 30)
    monkeypatch.setattr(one.drawn, "rows", lambda: rows)
    if codes == 80:
        assert one._rows() is rows
        return
    with pytest.raises(
        ValueError, match=r"80 frames were drawn, expected at least as many as centres \(81\)"
    ):
        one._rows()


def test_so_many_passes_are_made_as_are_told(tmp_path: Path) -> None:
    manifest = corpus(tmp_path, files=6)
    assert cluster("-", manifest, tmp_path / "out", *MFCC, "--passes", 2, "--frames", 1_000) == 0
    made = json.loads((tmp_path / "out" / "config.json").read_text())["made_from"]
    assert (made["passes_made"], made["passes"], made["frames"], made["seed"]) == (2, 2, 1_000, 1)


def test_who_says_nothing_gets_the_same_of_the_command_and_in_python() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["-", "train.tsv", "out", "--layer", "mfcc"])
    options, config = job.ClusterOptions(workers=1), ClustersConfig()
    assert (args.frames, args.passes, args.seed) == (options.frames, options.passes, options.seed)
    assert (args.codes, args.groups, args.deltas, args.standardize) == (
        *(config.codes, config.groups, config.deltas, config.standardize),
    )
    assert (options.frames, options.passes, options.seed, config.codes) == (500_000, 100, 1, 100)


@pytest.mark.parametrize(
    "other", [["--passes", "7"], ["--deltas", "1"], ["--standardize", "none"], ["--bands", "20"], []]
)
def test_clusters_that_were_made_otherwise_are_not_taken_for_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    """Or of another corpus under the same name."""
    manifest = corpus(tmp_path, files=5)
    assert cluster("-", manifest, tmp_path / "out", *MFCC) == 0
    if not other:
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(lines[:-1]))
    assert cluster("-", manifest, tmp_path / "out", *MFCC, *other) == 2
    assert "were made of something else" in capsys.readouterr().err


def test_frames_that_a_killed_run_prepared_otherwise_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "first_centres", killed)
        with pytest.raises(KeyboardInterrupt):
            job_of(tmp_path).run()
    with pytest.raises(ValueError, match=r"`clusters` was .*'standardize': 'none'.* and is now"):
        job_of(tmp_path, standardize="utterance").run()
    assert job_of(tmp_path).run().state == "published"


def test_what_the_layer_does_to_audio_goes_with_its_clusters(
    tiny: Callable[..., VqWav2Vec], tmp_path: Path
) -> None:
    manifest = corpus(tmp_path, files=5)
    for normalize in (True, False):
        path = tmp_path / f"{normalize}.pt"
        save_checkpoint(Imported(Loaded(tiny().eval(), 8_000, normalize), False, 0, []), path)
        assert cluster(path, manifest, tmp_path / f"{normalize}", "--layer", "z", "--codes", "3", *FEW) == 0
        audio = load_clusters(tmp_path / f"{normalize}").header.audio
        assert audio is not None and (audio.sample_rate, audio.normalize) == (8_000, normalize)
        features = Tokenizer.load(tmp_path / f"{normalize}").coder.features  # type: ignore[attr-defined]
        assert (features.sample_rate, features.clips.normalize) == (8_000, normalize)


def test_refresh_begins_with_the_audio_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another run has not come to its end, too; without it what that has drawn is gone on with."""
    manifest, heard = corpus(tmp_path, files=6), []
    original = Features.of

    def noted(self: Features, source: Any) -> torch.Tensor:
        heard.append(source.utt)
        return original(self, source)

    def fails(*_: object, **__: object) -> None:
        raise ValueError("the disk is full")

    monkeypatch.setattr(Features, "of", noted)
    counts = []
    for name, options in (("on", []), ("anew", ["--refresh"])):
        with monkeypatch.context() as patch:
            patch.setattr(job, "write_exported", fails)
            assert cluster("-", manifest, tmp_path / name, *MFCC, "--workers", 1) == 2
        heard.clear()
        assert cluster("-", manifest, tmp_path / name, *MFCC, "--workers", 1, *options) == 0
        counts.append(len(heard))
    assert counts == [0, 6]


def test_the_layer_is_made_on_the_device_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noted(features: Features, *_: object) -> None:
        seen.append(features.device.type)
        raise ValueError("that is all")

    monkeypatch.setattr(job, "ClusterJob", noted)
    for device in ("meta", "cpu"):
        assert cluster("-", corpus(tmp_path, device, 1), tmp_path / "out", *MFCC, "--device", device) == 2
    assert seen == ["meta", "cpu"]


def test_a_stranger_s_centres_run_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    with (tmp_path / "centres").open("wb") as file:
        np.savez(file, frames=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        job._read(tmp_path / "centres", [1])
    assert not (tmp_path / "ran").exists()
