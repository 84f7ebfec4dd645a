"""Segments read without an adversary: clusters for each phone, no silence, and errors of what is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_folders import write_frames

from vqw2v_plugin.analysis import decipherment
from vqw2v_plugin.analysis.decipherment import decipher_folder, measured, summary
from vqw2v_plugin.modules.unpaired.decipher import Effort
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.labels import Labels, write_labels

LITTLE = Effort(restarts=2, passes=1, refined=1, passes_after=1)
PLACES = {"<SIL>": (0.0, 0.0), "a": (5.0, 0.0), "b": (0.0, 9.0)}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Text and segments in which silence is the most frequent, then `a`, then `b`."""
    (tmp_path / "dict.phn.txt").write_text("".join(f"{phone} 1\n" for phone in PLACES))
    for split in ("train", "valid"):
        (tmp_path / f"{split}.phn").write_text("<SIL> a <SIL> a a b <SIL> <SIL>\n\n" * 20)
    spoken = {f"u{i}": "<SIL> a a <SIL> b <SIL>".split() for i in range(8)}
    rows = {utt: np.array([PLACES[phone] for phone in line], np.float32) for utt, line in spoken.items()}
    write_frames(tmp_path, "test", rows, {"layer": "z", "segments": "runs"})
    return tmp_path


def test_there_are_two_clusters_a_phone_unless_it_is_said_otherwise(corpus: Path) -> None:
    assert decipher_folder(corpus, "test", corpus, LITTLE).centres.shape == (1, 6, 2)
    assert decipher_folder(corpus, "test", corpus, LITTLE, 3).centres.shape == (1, 3, 2)


def test_the_guess_goes_by_frequency_merges_what_follows_and_has_no_silence(corpus: Path) -> None:
    found = decipher_folder(corpus, "test", corpus, LITTLE, 3)
    said = found.read(corpus, "test")
    assert said["unigram guess"] == {f"u{i}": ["a", "b"] for i in range(8)}
    assert all("<SIL>" not in phones for phones in said["decipherment"].values())
    assert summary(said["unigram guess"]) == {"utterances": 8, "phones": 16, "different": 2}
    twins = replace(found, guess=torch.full_like(found.guess, found.phones.index("b")))
    assert twins.read(corpus, "test")["unigram guess"]["u0"] == ["b"]  # of several clusters of one phone


def test_errors_are_of_whoever_has_labels_and_without_silence(tmp_path: Path) -> None:
    known = Labels(("u1", "u2", "gone"), (("<SIL>", "a", "b"), ("b", "<SIL>"), ("a",)))
    write_labels(tmp_path, "phones", {"test": known}, [(phone, 1) for phone in PLACES], {})
    errors = measured({"way": {"u1": ["a", "a"], "u2": ["b"], "u3": ["a"]}}, tmp_path, "test")["way"]
    assert (errors.total, errors.length, errors.utterances) == (1, 3, 2)
    both = measured({"short": {"u1": ["b"]}, "long": {"u2": ["a", "b", "a"]}}, tmp_path, "test")
    assert [(e.deletions, e.insertions, e.length) for e in both.values()] == [(1, 0, 2), (0, 2, 1)]
    with pytest.raises(ValueError, match="none of its utterances of test is in the features"):
        measured({"way": {"u9": []}}, tmp_path, "test")


def test_centres_are_found_of_rows_that_the_seed_draws(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, drawn = FeatureStore(corpus, "test"), list[torch.Tensor]()

    def first(sample: torch.Tensor, groups: int, size: int, seed: int) -> torch.Tensor:
        drawn.append(sample)
        return sample[None, :size]

    monkeypatch.setattr(decipherment, "first_centres", first)
    for most, seed in ((48, 1), (47, 1), (47, 1), (9, 2), (9, 3)):
        monkeypatch.setattr(decipherment, "_SAMPLE", most)
        decipherment._centres(store, 2, seed)
    assert [len(sample) for sample in drawn] == [48, 47, 47, 9, 9]
    for row, most in ((0.0, 0.0), 24), ((5.0, 0.0), 16), ((0.0, 9.0), 8):  # none is drawn twice
        assert most - 1 <= int((drawn[1] == torch.tensor(row)).all(1).sum()) <= most
    assert torch.equal(drawn[1], drawn[2]) and not torch.equal(drawn[3], drawn[4])


def test_there_are_at_least_as_many_rows_as_clusters(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decipherment, "_PASSES", 1)
    assert decipher_folder(corpus, "test", corpus, LITTLE, 48).centres.shape == (1, 48, 2)
    with pytest.raises(ValueError, match=r"has 48 rows, expected at least as many as clusters \(49\)"):
        decipher_folder(corpus, "test", corpus, LITTLE, 49)
