"""wav → features for whole manifests: what `vqw2v features` does, with the guarantees of `discretize`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.reading import AudioError
from ..common.files import write_whole
from ..common.locks import Rank
from ..corpora.manifest import Manifest, Utterance
from ..features.base import Features
from ..stores.feature_spec import ADDED
from ..stores.features import ABOUT, FeatureError, feature_splits, gather_features, read_features_about
from ..stores.shards import Rows, ShardFolder, check_same, plan
from .discretize import one_thread, shard_samples
from .shard_run import Work
from .split_run import Outcome, SplitRun, run_split, shard_folder, split_name

STORES: dict[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True)
class Wishes:
    """What may be asked for beside the source of the features, the manifest and the folder."""

    store: str = "fp16"
    workers: int = 1
    shard_minutes: float = 10.0
    refresh: bool = False
    strict: bool = False


def featurize(
    features: Features,
    manifest: Manifest,
    out: str,
    wishes: Wishes,
    rank: Rank,
) -> Outcome:
    """Makes OUT/SPLIT.npy, .ends.npy and .ids and features.json, which says what they are."""
    if wishes.store not in STORES:
        raise ValueError(f"`--store` is {wishes.store!r}; expected {' or '.join(STORES)}")
    folder, kind = Path(out), STORES[wishes.store]
    shards = ShardFolder(shard_folder(folder, manifest), kind, features.dim)
    device = features.device.type
    model = dataclasses.replace(features.spec, device=device, store=wishes.store).to_json()
    merger = _Merger(folder, split_name(manifest), model, {"manifest_sha256": manifest.digest})
    run = SplitRun(
        out=folder,
        manifest=manifest,
        shards=shards,
        spans=plan(manifest.sizes, shard_samples(manifest, wishes.shard_minutes, features.sample_rate)),
        settings={**merger.known_before, "shard_minutes": wishes.shard_minutes},
        work=Work(_rows(features, kind), wishes.workers, one_thread if device == "cpu" else lambda: None),
        published=merger.published,
        merge=lambda: merger.merge(run),
        clear=merger.clear,
    )
    merger.check_others()
    return run_split(run, rank, wishes.refresh, wishes.strict)


def _rows(features: Features, kind: type[np.floating[Any]]) -> Callable[[Utterance], Rows]:
    def encode(utterance: Utterance) -> Rows:  # [T, D]
        with np.errstate(over="ignore"):
            rows = features.of(utterance).cpu().numpy().astype(kind)
        if not np.isfinite(rows.sum(dtype=np.float64)):
            raise AudioError(f"{utterance.path}: gives features beyond the range of fp16; say `--store fp32`")
        return rows

    return encode


class _Merger:
    """Shards of features → the split's files."""

    def __init__(self, out: Path, split: str, model: dict[str, Any], of_split: dict[str, Any]) -> None:
        self.out, self.split, self.model, self.of_split = out, split, model, of_split
        self.settings = {**model, **of_split}
        self.known_before = {k: value for k, value in self.settings.items() if k not in ADDED}

    def check_others(self) -> None:
        """All splits of a folder are of one model."""
        about = read_features_about(self.out)
        if set(about.get("splits", {})) - {self.split}:
            check_same(self._held(about, self.model), self.model, f"{self.out} (its {ABOUT})", False)
        if self.split not in about.get("splits", {}) and (self.out / f"{self.split}.npy").exists():
            raise FeatureError(
                f"{self.out / self.split}.npy is there, and {ABOUT} does not say that this command made it; "
                f"name another folder, or move it away"
            )

    def published(self) -> bool:
        about = read_features_about(self.out)
        row = about.get("splits", {}).get(self.split)
        if row is None or self.split not in feature_splits(self.out):
            return False
        held = self._held({**about, **row}, self.settings)
        check_same(held, self.settings, f"{self.out}/{self.split}")
        return True

    def _held(self, about: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """What was so then; fields that files did not have then are as they are now."""
        return {k: about.get(k, value if k in ADDED else None) for k, value in now.items()}

    def clear(self) -> None:
        about = read_features_about(self.out)
        for name in ("ends.npy", "npy", "ids", "refused.tsv"):
            (self.out / f"{self.split}.{name}").unlink(missing_ok=True)
        (self.out / f".{self.split}.npy.part").unlink(missing_ok=True)
        if about.get("splits", {}).pop(self.split, None) is not None:
            self._write(about)

    def merge(self, run: SplitRun) -> None:
        about = read_features_about(self.out)
        frames = [n for span in run.spans for n in _frames(run, span.index)]
        names = (run.name(i) for i, n in enumerate(frames) if n)
        num_kept = sum(n > 0 for n in frames)
        row = {**self.of_split, "manifest": Path(run.manifest.path).name, "frames": sum(frames)}
        row |= {"utterances": num_kept, "refused": len(frames) - num_kept}
        self._write({**self.model, "splits": {**about.get("splits", {}), self.split: row}})
        gather_features(self.out, self.split, run.shards, run.spans, names)

    def _write(self, about: dict[str, Any]) -> None:
        write_whole(self.out / ABOUT, json.dumps(about, indent=1, sort_keys=True) + "\n")


def _frames(run: SplitRun, index: int) -> list[int]:
    shard = run.shards.read(index)
    return [] if shard is None else shard.frames
