"""`--pca` of `vqw2v features` and `segment`: rows in principal components, found once for a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.bounds import check_between

if TYPE_CHECKING:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..features.base import Features
    from ..features.principal import FilePrincipal

_MOST_FRAMES, _MOST_SEED = 1 << 40, 2**63 - 1


def add_principal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pca",
        metavar="D|FILE",
        help="give rows in so many principal components; they are kept in OUT and used for every split that "
        "follows; FILE: those of another folder",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=100_000,
        metavar="N",
        help="to find components of, at most (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="which frames these are (default: %(default)s)")


def check_principal(args: argparse.Namespace) -> None:
    """Refuses numbers out of range."""
    check_between("--frames", args.frames, 1, _MOST_FRAMES)
    check_between("--seed", args.seed, 0, _MOST_SEED)


def principal_for(
    args: argparse.Namespace, frames: Features, manifest: Manifest, rank: Rank
) -> FilePrincipal | None:
    """Those that are asked for, of these very features; found now if they are not yet there."""
    from ..features.principal import read_principal
    from ..features.speakers import ManifestVoices
    from ..jobs.drawn_frames import DrawOptions
    from ..jobs.principal import find_principal
    from .corpus_arguments import num_workers

    if args.pca is None:
        return None
    if not (args.pca.isascii() and args.pca.isdecimal()):
        found = read_principal(Path(args.pca))
        found.check(frames.spec)
        return found
    options = DrawOptions(
        num_workers(args.workers, frames.device.type, rank),
        shard_minutes=args.shard_minutes,
        strict=args.strict,
        frames=args.frames,
        seed=args.seed,
    )
    frames.know(ManifestVoices(manifest))
    return find_principal(frames, int(args.pca), manifest, Path(args.out), options, rank)
