"""Tokens by `fairseq-generate`: what it must be told, what is missing in the end, and what it counts."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from omegaconf import OmegaConf

from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.training.discretizing import Discretizer, WholeSplit


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = [{"path": f"{i}.wav", "samples": 9} for i in range(12)]
    write_manifest(tmp_path / "dev.tsv", tmp_path, rows)
    return Manifest(tmp_path / "dev.tsv")


def made(manifest: Manifest, path: str | None, out: str | None, outcome: Any = None) -> Discretizer:
    cfg = OmegaConf.create({"task": {"x": 1}, "common_eval": {"path": path, "results_path": out}})
    return Discretizer(cfg.task, manifest, lambda *_: outcome)


def test_a_checkpoint_and_a_folder_are_asked_for(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "a.pt").touch()
    for path, out, says in (
        (None, "out", "`--path` is not given; expected `--path CHECKPOINT --results-path TOKENS`"),
        (str(tmp_path / "a.pt"), None, "`--results-path` is not given"),
        (f"{tmp_path}/a.pt:{tmp_path}/a.pt", "out", "expected one checkpoint"),
        (str(tmp_path / "gone.pt"), "out", "gone.pt'; expected one checkpoint"),
    ):
        with pytest.raises(ValueError, match=says):
            made(manifest, path, out)


@pytest.mark.parametrize(
    ("state", "said", "refused"),
    [
        ("published", "made", 0),
        ("there", "is there already", 8),
        ("waiting", "waits for the other ranks", 9),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_printed(
    state: str, said: str, refused: int, manifest: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.pt").touch()
    missing = [SimpleNamespace(utt=f"u{i}", reason="is empty") for i in range(refused)]
    outcome = SimpleNamespace(state=state, refused=missing)
    with caplog.at_level(logging.INFO):
        discretizer = made(manifest, str(tmp_path / "a.pt"), "out", outcome)
        (answer,) = discretizer.generate([torch.nn.Linear(1, 1)], None)
    *lines, last = [record.message for record in caplog.records]
    assert last == f"out/dev: {said}; next: vqw2v usage, or BERT on out"
    assert lines[:8] == [f"missing: u{i}: is empty" for i in range(min(refused, 8))]
    assert [line.startswith("missing in all: u0, ") for line in lines[8:]] == [True] * (refused > 8)
    assert len(answer[0]["tokens"]) == 12 and answer[:5] == []


def test_a_split_is_one_sample_whatever_a_batch_is_to_hold(manifest: Manifest) -> None:
    whole = WholeSplit(manifest)
    batches = whole.batch_by_size(np.arange(1), None, None, 8)
    assert [batch.tolist() for batch in batches] == [[0]] and len(whole) == 1
    assert whole.collater([whole[0]])["nsentences"] == 1
