"""A manifest's `start`: whoever reads a stretch of a file gets what a file of that stretch alone gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_runs import saved
from sounds import noise

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.code_sources import CheckpointSource, encode_each
from vqw2v_plugin.analysis.report_page.clips import read_clip
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.tokenizer import Tokenizer
from vqw2v_plugin.training.datasets.labelled import AudioSource

STRETCHES = {"first": (0, 5_000), "second": (6_400, 4_000), "third": (12_800, 6_000)}


@pytest.fixture
def manifests(tmp_path: Path) -> tuple[Path, Path]:
    """One file's stretches, and the same as files of their own."""
    wav = noise(20_000)
    soundfile.write(tmp_path / "long.wav", wav, 16_000, subtype="FLOAT")
    rows, own = [], []
    for utt, (start, samples) in STRETCHES.items():
        soundfile.write(tmp_path / f"{utt}.wav", wav[start : start + samples], 16_000, subtype="FLOAT")
        rows.append({"path": "long.wav", "samples": samples, "start": start, "utt": utt})
        own.append({"path": f"{utt}.wav", "samples": samples, "utt": utt})
    write_manifest(tmp_path / "m.tsv", tmp_path, rows, ["path", "samples", "start", "utt"])
    write_manifest(tmp_path / "own" / "m.tsv", tmp_path, own, ["path", "samples", "utt"])
    return tmp_path / "m.tsv", tmp_path / "own" / "m.tsv"


def utterances(path: Path) -> list:
    manifest = Manifest(path)
    return [manifest[i] for i in range(len(manifest))]


def test_features_are_of_the_stretch(manifests: tuple[Path, Path], tmp_path: Path) -> None:
    stores = []
    for number, manifest in enumerate(manifests):
        out = tmp_path / f"features{number}"
        arguments = ["--layer", "logmel", "--store", "fp32", "--workers", "1"]
        assert main(["features", "-", str(manifest), str(out), *arguments]) == 0
        stores.append(FeatureStore(out, "m"))
    assert stores[0].rows == stores[1].rows
    np.testing.assert_array_equal(stores[0].frames, stores[1].frames)


def test_an_acoustic_model_hears_the_stretch(manifests: tuple[Path, Path]) -> None:
    sources = [AudioSource(Manifest(path), 16_000) for path in manifests]
    for i in range(len(STRETCHES)):
        np.testing.assert_array_equal(sources[0].read(i), sources[1].read(i))


def test_usage_and_the_page_count_codes_of_the_stretch(
    manifests: tuple[Path, Path],
    tiny: Callable[..., VqWav2Vec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tiny(quantizer="kmeans"), tmp_path)
    printed = []
    for manifest in manifests:
        assert main(["usage", path, str(manifest)]) == 0
        printed.append(capsys.readouterr().out.split("utterances\n")[1])
    assert printed[0] == printed[1] and "frames" in printed[0]
    source = CheckpointSource.of("stage", Path(path))
    stretches, files = (source.codes(utterances(manifest)) for manifest in manifests)
    alone = encode_each(Tokenizer.load(path), utterances(manifests[1]))
    for utt in STRETCHES:
        np.testing.assert_array_equal(stretches[utt], files[utt])
        np.testing.assert_array_equal(stretches[utt], alone[utt])


def test_the_page_s_clip_is_of_the_stretch(manifests: tuple[Path, Path]) -> None:
    for stretch, alone in zip(*map(utterances, manifests), strict=True):
        np.testing.assert_array_equal(read_clip(stretch, 0.2), read_clip(alone, 0.2))
