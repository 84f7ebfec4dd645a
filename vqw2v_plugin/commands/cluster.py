"""`vqw2v cluster`: a manifest's audio (wav) → k-means centres of any layer, a tokenizer like any other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..common.bounds import check_between
from .corpus_arguments import add_run_arguments, memory_bytes, name_missing, num_workers
from .layer_arguments import add_deltas, add_layer_arguments, feature_options

if TYPE_CHECKING:
    from ..corpora.manifest import Manifest
    from ..jobs.cluster import ClusterOutcome

HELP = "find k-means clusters of any layer's frames: a tokenizer like any other"
_MOST_FRAMES, _MOST_PASSES, _MOST_SEED = 1 << 40, 100_000, 2**63 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_layer_arguments(parser, "folder for the clusters, which goes wherever a checkpoint with codes does")
    parser.add_argument("--codes", type=int, default=100, metavar="N", help="centres (default: %(default)s)")
    parser.add_argument(
        "--groups",
        type=int,
        default=1,
        metavar="N",
        help="equal parts of the features, each with centres of its own (default: %(default)s)",
    )
    add_deltas(parser)
    parser.add_argument(
        "--standardize",
        default="corpus",
        help="whose mean and scale are taken away: corpus, utterance (which needs whole clips) or none "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=500_000,
        metavar="N",
        help="frames to draw from the audio at most; they are kept on the disk (default: %(default)s)",
    )
    parser.add_argument(
        "--passes", type=int, default=100, metavar="N", help="over these at most (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default: %(default)s)")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..features.registry import features_on
    from ..jobs.cluster import ClusterJob, ClusterOptions
    from ..modules.quantizers.clusters import ClustersConfig

    check_between("--frames", args.frames, 1, _MOST_FRAMES)
    check_between("--passes", args.passes, 1, _MOST_PASSES)
    check_between("--seed", args.seed, 0, _MOST_SEED)
    if args.standardize == "speaker":
        raise ValueError(
            "`--standardize` is 'speaker', and nobody says who speaks what a tokenizer hears; expected "
            "corpus, utterance or none"
        )
    if args.standardize not in ("corpus", "utterance", "none"):
        raise ValueError(f"`--standardize` is {args.standardize!r}; expected corpus, utterance or none")
    manifest = Manifest(args.manifest)
    config = ClustersConfig(args.codes, args.groups, args.deltas, args.standardize)
    asked = feature_options(args, memory_bytes(args.memory))
    features = features_on(args.device, asked)
    options = ClusterOptions(
        num_workers(args.workers, features.device.type, Rank()),
        shard_minutes=args.shard_minutes,
        refresh=args.refresh,
        strict=args.strict,
        frames=args.frames,
        passes=args.passes,
        seed=args.seed,
    )
    outcome = ClusterJob(features, asked, config, manifest, Path(args.out), options).run()
    _report(outcome, args.out, manifest)
    return 1 if outcome.refused else 0


def _report(outcome: ClusterOutcome, out: str, manifest: Manifest) -> None:
    made = outcome.found.header.made_from
    if outcome.state == "there":
        print(f"{out}: is there already, of this manifest and with these settings")
    name_missing(outcome.refused, manifest, ": these clusters are of the others")
    print(f"{out}: {outcome.found.summary}")
    print(
        f"  {made['frames_drawn']:,} frames, {made['passes_made']} passes; squared, a frame lies "
        f"{made['distance']:.4g} from its centres"
    )
