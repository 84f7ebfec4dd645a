"""Frames drawn of a corpus: as many as were asked for, of many utterances, and most audio is left alone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin import load_features
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.jobs.drawn_frames import DrawnFrames, DrawOptions

UTTERANCES = 1000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A thousand utterances that are one file: 24 frames each."""
    folder = tmp_path_factory.mktemp("corpus")
    soundfile.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 4_000), 16_000)
    rows = [{"path": "a.wav", "samples": 4_000, "utt": f"u{i}"} for i in range(UTTERANCES)]
    write_manifest(folder / "train.tsv", folder, rows, ("path", "samples", "utt"))
    return Manifest(folder / "train.tsv")


def drawn(
    manifest: Manifest, out: Path, frames: int, seed: int = 1, workers: int = 1
) -> tuple[np.ndarray, list[str]]:
    """The frames, and which utterances were heard for them."""
    features, heard = load_features("mfcc:4"), list[str]()
    of_file = features.of(manifest[0])

    def frames_of(utterance: Utterance) -> torch.Tensor:
        heard.append(utterance.utt)
        return of_file + float(utterance.utt[1:])  # so that each frame tells whose it is

    options = DrawOptions(workers, frames=frames, seed=seed, shard_minutes=0.5)
    found = DrawnFrames(features, frames_of, 4, manifest, out, options)
    assert found.make({}) == []
    rows = np.concatenate(found.rows())
    found.remove()
    return rows, heard


def test_few_frames_of_much_audio_are_of_few_utterances_that_are_all_that_is_heard(
    manifest: Manifest, tmp_path: Path
) -> None:
    all_, heard = drawn(manifest, tmp_path / "all", 10**6)
    assert sorted(heard) == sorted(f"u{i}" for i in range(UTTERANCES)) and len(all_) % UTTERANCES == 0
    for part, least, most in ((0.25, 450, 550), (0.02, 160, 240)):  # twice the share, and two hundred
        wanted = round(part * len(all_))
        rows, heard = drawn(manifest, tmp_path / f"{part}", wanted)
        assert 0.8 * wanted < len(rows) < 1.2 * wanted and least < len(heard) < most
        assert len(set(heard)) == len(heard)


def test_who_draws_changes_nothing_and_a_seed_does(manifest: Manifest, tmp_path: Path) -> None:
    rows, heard = drawn(manifest, tmp_path / "one", 3_000)
    again, by_two = drawn(manifest, tmp_path / "two", 3_000, workers=2)
    assert np.array_equal(rows, again) and sorted(heard) == sorted(by_two)
    others, other = drawn(manifest, tmp_path / "other", 3_000, seed=2)
    assert len(set(other) & set(heard)) < 0.5 * len(heard) and not np.array_equal(rows, others)
