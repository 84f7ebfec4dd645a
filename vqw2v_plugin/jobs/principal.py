"""wav → features → principal components of a sample of them, kept in their folder for all its splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..common.locks import Rank, check_folder, claimed
from ..corpora.manifest import Manifest
from ..features.base import Features
from ..features.principal import NAME, FilePrincipal, PrincipalError, read_principal, write_principal
from ..modules.layers.principal import principal_of
from .drawn_frames import DrawnFrames, DrawOptions, batches_of
from .split_job import one_thread


def find_principal(
    features: Features, dim: int, manifest: Manifest, out: Path, options: DrawOptions, rank: Rank
) -> FilePrincipal:
    """Those in the folder, or those of frames drawn from this manifest, which the next split will use too."""
    path = out / NAME
    check_folder(out)
    if not path.exists():
        if rank.total > 1:
            raise ValueError(
                f"{path} is not there, and it is one process that finds components: run this once "
                "without torchrun"
            )
        with claimed(out, rank):
            _find(features, dim, manifest, path, options)
    found = read_principal(path)
    found.check(features.spec)
    if len(found.network.axes) != dim:
        raise PrincipalError(
            f"{path}: has {len(found.network.axes)} components, `--pca` is {dim}; say the same, or name "
            "another folder"
        )
    return found


def _find(features: Features, dim: int, manifest: Manifest, path: Path, options: DrawOptions) -> None:
    if not 1 <= dim <= features.dim:
        raise ValueError(f"`--pca` is {dim}; expected 1 to {features.dim:,}, the size of a frame, or a file")
    drawn = DrawnFrames(features, features.of, features.dim, manifest, path.parent / ".pca", options)
    about = {
        "manifest": Path(manifest.path).name,
        "manifest_sha256": manifest.digest,
        "frames": options.frames,
        "seed": options.seed,
    }
    drawn.make({**about, "features": features.spec.to_json()})
    rows = drawn.rows()
    held = sum(map(len, rows))
    if held <= dim:
        raise ValueError(
            f"{manifest.path}: {held:,} frames were drawn, expected more than components ({dim:,}); take a "
            f"larger corpus, a larger `--frames` or a smaller `--pca`"
        )
    one_thread()
    network = principal_of(lambda: (torch.from_numpy(np.array(batch)) for batch in batches_of(rows)), dim)
    write_principal(path, network, features.spec, {**about, "frames_drawn": held})
    drawn.remove()
