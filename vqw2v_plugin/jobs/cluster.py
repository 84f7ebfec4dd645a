"""wav → features ──clusters──▶ tokens for a corpus: what `vqw2v cluster` does.

Frames are drawn from the manifest's audio into shards, and centres are found in passes over these, a batch in
memory at a time. A run that was killed goes on at the shard or the pass where it was, and its centres depend
neither on that nor on the number of workers. Shapes: N frames, D features.
"""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..checkpoints.clusters import KIND, PARTS, ClusterNetwork, ClusterSettings, cluster_network
from ..checkpoints.files import CONFIG_NAME, CheckpointError
from ..checkpoints.format import load_any, write_exported
from ..checkpoints.kinds import Audio, Header, Restored
from ..common.files import write_whole
from ..common.locks import Rank, check_folder, claimed
from ..common.progress import Progress
from ..corpora.manifest import Manifest, Utterance
from ..features.base import FeatureOptions, Features
from ..modules.quantizers.clusters import Clusters, ClustersConfig
from ..modules.quantizers.lloyd import Cells, cells_of, first_centres, total
from .drawn_frames import DrawnFrames, DrawOptions, batches_of
from .split_job import Refused, one_thread
from .work import Work, in_order

_SAMPLE = 20_000  # frames at least that the first centres are drawn from
_A_CODE = 64  # frames of the sample for each code
_ENOUGH = 1e-4  # of the distance: a pass that gains less is the last


@dataclass(frozen=True)
class ClusterOptions(DrawOptions):
    """What may be asked for beside the layer, the manifest and the folder."""

    passes: int = 100  # over the frames at most


@dataclass(frozen=True)
class ClusterOutcome:
    """How a run ended; `found` is what was made, or was there."""

    state: str  # published, or there (since before)
    found: Restored[ClusterNetwork]
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class _Fit:
    """Centres after some passes."""

    entries: Tensor  # [G, V, E]
    passes: int = 0
    distance: float = float("inf")  # of a frame from its centres, squared, the mean; before the last pass
    done: bool = False


class ClusterJob:
    """One set of centres, of one manifest."""

    def __init__(
        self,
        features: Features,
        asked: FeatureOptions,
        config: ClustersConfig,
        manifest: Manifest,
        out: Path,
        options: ClusterOptions,
    ) -> None:
        self.features, self.asked, self.options = features, asked, options
        self.manifest, self.out = manifest, out
        self.clusters = Clusters(features.dim, config)
        self.drawn = DrawnFrames(
            features, self.frames_of, self.clusters.out_dim, manifest, out / ".frames", options
        )
        self.made_from = {
            "manifest": Path(manifest.path).name,
            "manifest_sha256": manifest.digest,
            "features": {k: v for k, v in features.spec.to_json().items() if k != "device"},
            "frames": options.frames,
            "passes": options.passes,
            "seed": options.seed,
        }

    def run(self) -> ClusterOutcome:
        """Makes what is missing."""
        check_folder(self.out)
        if not len(self.manifest):
            raise ValueError(f"{self.manifest.path}: has no utterances, expected at least one; make it anew")
        with claimed(self.out, Rank()):
            if self.options.refresh:
                self.drawn.remove()
            elif (there := self._published()) is not None:
                self.drawn.remove()  # what a killed removal left
                return ClusterOutcome("there", there)
            parts = self._parts()  # what cannot go with the centres says so before they are looked for
            refused = self.drawn.make(
                {**self.made_from, "clusters": dataclasses.asdict(self.clusters.config)}
            )
            found = self._fit(parts)
            write_exported(self.out, found.header, found.weights, force=True)
            self.drawn.remove()
        return ClusterOutcome("published", found, tuple(refused))

    def frames_of(self, utterance: Utterance) -> Tensor:  # [T, D]
        """An utterance's frames, prepared."""
        return self.clusters.prepare(self.features.of(utterance).cpu())

    def _published(self) -> Restored[ClusterNetwork] | None:
        """What lies in the folder, if it was made of the same."""
        if not (self.out / CONFIG_NAME).exists():
            return None
        there: Restored[ClusterNetwork] = load_any(self.out, KIND)
        before = there.header.made_from
        same = all(before.get(name) == value for name, value in self.made_from.items())
        if not same or there.network.settings.clusters != self.clusters.config:
            raise CheckpointError(
                f"{self.out} holds clusters that were made of something else ({KIND.summary(there)}); name "
                f"another folder, or say --refresh to replace them"
            )
        return there

    def _rows(self) -> list[npt.NDArray[np.float32]]:
        """The frames of each shard, mapped."""
        found = self.drawn.rows()
        held, wanted = sum(map(len, found)), self.clusters.num_codes
        if held < wanted:
            raise ValueError(
                f"{self.manifest.path}: {held:,} frames were drawn, expected at least as many as centres "
                f"({wanted:,}); take a larger corpus, a larger `--frames` or fewer `--codes`"
            )
        return found

    def _fit(self, parts: dict[str, Restored[Any]]) -> Restored[ClusterNetwork]:
        rows, clusters = self._rows(), self.clusters
        one_thread()
        if clusters.config.standardize == "corpus":
            clusters.mean, clusters.scale = _moments(rows)
        state, frames = self.drawn.folder / "centres", self.drawn.checksums()
        fit = _read(state, frames) or self._begin(rows)
        with Progress("passes", self.options.passes) as progress:
            progress.advance(fit.passes)
            while not fit.done:
                fit = self._pass(rows, fit)
                write_whole(state, _written(fit, frames))
                progress.advance()
                progress.note = f"distance {fit.distance:.4g}"
        clusters.entries.data.copy_(fit.entries)
        return self._restored(fit, sum(map(len, rows)), parts)

    def _begin(self, rows: list[npt.NDArray[np.float32]]) -> _Fit:
        """Centres of a sample of the frames."""
        config = self.clusters.config
        size = max(_SAMPLE, _A_CODE * config.codes)
        counts = np.cumsum([len(part) for part in rows])
        rng = np.random.default_rng(self.options.seed)
        drawn = np.sort(rng.choice(counts[-1], min(size, int(counts[-1])), replace=False))
        shards = np.searchsorted(counts, drawn, side="right")
        parts = [rows[i][drawn[shards == i] - (counts[i] - len(rows[i]))] for i in np.unique(shards)]
        sample = self.clusters.scaled(torch.from_numpy(np.concatenate(parts)))
        return _Fit(first_centres(sample, config.groups, config.codes, self.options.seed))

    def _pass(self, rows: list[npt.NDArray[np.float32]], fit: _Fit) -> _Fit:
        """Each frame to its nearest centre, each centre to the mean of its frames."""

        def cells(batch: npt.NDArray[np.float32]) -> Cells:
            return cells_of(self.clusters.scaled(torch.from_numpy(np.array(batch))), fit.entries)

        found = total(
            in_order(cells, batches_of(rows), Work(self.drawn.draw, self.options.workers, one_thread))
        )
        distance = float(found.distance.sum()) / sum(map(len, rows))
        enough = distance >= fit.distance * (1 - _ENOUGH)
        passes = fit.passes + 1
        return _Fit(found.centres, passes, distance, enough or passes >= self.options.passes)

    def _parts(self) -> dict[str, Restored[Any]]:
        """The networks whose layer it is, which go with the centres."""
        paths = {name: getattr(self.asked, name) for name in PARTS}
        return {name: load_any(Path(path)) for name, path in paths.items() if path is not None}

    def _restored(self, fit: _Fit, frames: int, parts: dict[str, Restored[Any]]) -> Restored[ClusterNetwork]:
        asked, features = self.asked, self.features
        settings = ClusterSettings(
            str(features.spec.layer),
            self.clusters.dim,
            self.clusters.config,
            asked.bands,
            bool(features.spec.run_length),
        )
        network = cluster_network(settings, self.clusters, parts)
        audio = Audio(features.sample_rate, bool(features.spec.normalize))
        made_from = {
            **self.made_from,
            "frames_drawn": frames,
            "passes_made": fit.passes,
            "distance": fit.distance,
        }
        header = Header(KIND.model, KIND.settings(network), audio, made_from=made_from)
        return Restored(header, network.eval())


def _moments(rows: list[npt.NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature over all frames."""
    count = sum(map(len, rows))
    mean = sum(batch.sum(0, dtype=np.float64) for batch in batches_of(rows)) / count
    squares = sum(np.square(batch - mean).sum(0) for batch in batches_of(rows)) / count
    deviation = np.sqrt(np.maximum(squares, 1e-10))
    return torch.from_numpy(np.float32(mean)), torch.from_numpy(np.float32(deviation))


def _written(fit: _Fit, frames: list[int]) -> bytes:
    """`frames` are the shards' checksums: centres of other frames are not gone on with."""
    held = io.BytesIO()
    rest = np.array([fit.passes, fit.distance, fit.done])
    np.savez(held, entries=fit.entries.numpy(), rest=rest, frames=np.array(frames, dtype=np.int64))
    return held.getvalue()


def _read(path: Path, frames: list[int]) -> _Fit | None:
    """Where a killed run was."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as held:
        if held["frames"].tolist() != frames:
            return None
        passes, distance, done = held["rest"].tolist()
        return _Fit(torch.from_numpy(held["entries"]), int(passes), distance, bool(done))
