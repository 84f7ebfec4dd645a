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

_FRAMES, _SEED = 100_000, 1
_MOST_FRAMES, _MOST_SEED = 1 << 40, 2**63 - 1


def add_principal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pca",
        metavar="D|FILE",
        help="give rows in so many principal components; they are kept in OUT and used for every split that "
        "follows; FILE: those of another folder",
    )
    frames = f"to find components of, at most (default: {_FRAMES})"
    parser.add_argument("--frames", type=int, metavar="N", help=frames)
    parser.add_argument("--seed", type=int, help=f"which frames these are (default: {_SEED})")


def check_principal(args: argparse.Namespace) -> None:
    """Refuses numbers out of range, and those that nothing would go by."""
    for option, given, lowest, highest in (
        ("--frames", args.frames, 1, _MOST_FRAMES),
        ("--seed", args.seed, 0, _MOST_SEED),
    ):
        if given is None:
            continue
        check_between(option, given, lowest, highest)
        if not _is_number(args.pca):
            got = "none is asked for" if args.pca is None else f"those of {args.pca} are taken"
            raise ValueError(f"`{option}` is for finding components, and {got}; give `--pca D`")


def _is_number(pca: str | None) -> bool:
    return pca is not None and pca.isascii() and pca.isdecimal()


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
    if not _is_number(args.pca):
        found = read_principal(Path(args.pca))
        found.check(frames.spec)
        return found
    options = DrawOptions(
        num_workers(args.workers, frames.device.type, rank),
        shard_minutes=args.shard_minutes,
        strict=args.strict,
        frames=_FRAMES if args.frames is None else args.frames,
        seed=_SEED if args.seed is None else args.seed,
    )
    frames.know(ManifestVoices(manifest))
    return find_principal(frames, int(args.pca), manifest, Path(args.out), options, rank)
