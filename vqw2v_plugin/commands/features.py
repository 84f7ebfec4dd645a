"""`vqw2v features`: a manifest's audio (wav) as features of any layer, in a memory-mapped store."""

from __future__ import annotations

import argparse
import dataclasses
import os

from .corpus_arguments import add_run_arguments, device_for, memory_bytes, report_end, shared_work
from .layer_arguments import add_layer_arguments, add_preparation, feature_options
from .principal_arguments import add_principal, check_principal, principal_for

HELP = "dump z, c, quantized, BERT, log-mel or MFCC features for acoustic models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_layer_arguments(parser, "folder for SPLIT.npy, SPLIT.ids and features.json")
    parser.add_argument(
        "--pieces",
        metavar="FOLDER",
        help="for a BERT of pieces: the tokens that it was trained on; states are repeated to frames",
    )
    add_preparation(parser)
    add_principal(parser)
    parser.add_argument("--store", default="fp16", help="fp16 or fp32 on the disk (default: %(default)s)")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..features.principal import PrincipalFeatures
    from ..features.registry import features_on
    from ..jobs.featurize import FeaturizeOptions, featurize
    from ..jobs.split_job import split_name

    check_principal(args)
    rank, manifest = Rank.of(os.environ), Manifest(args.manifest)
    asked = feature_options(args, memory_bytes(args.memory), args.pieces)
    asked = dataclasses.replace(asked, deltas=args.deltas, standardize=args.standardize)
    features = features_on(device_for(args.device, rank), asked)
    principal = principal_for(args, features, manifest, rank)
    if principal is not None:
        features = PrincipalFeatures(features, principal).to(features.device)
    features.take_notes()
    options = FeaturizeOptions(
        shard_minutes=args.shard_minutes,
        refresh=args.refresh,
        strict=args.strict,
        store=args.store,
        **shared_work(args.workers, features.device.type, rank),
    )
    outcome = featurize(features, manifest, args.out, options, rank)
    what = f"{args.out}/{split_name(manifest)}"
    if report_end(outcome, what, manifest):
        _report(args.out, split_name(manifest))
    for note in features.notes():
        print(f"  {note}")
    return 1 if outcome.refused else 0


def _report(out: str, split: str) -> None:
    from ..stores.features import FEATURES

    about = FEATURES.read_about(out)
    row = about["splits"][split]
    print(
        f"{out}/{split}: {row['utterances']:,} utterances, {row['frames']:,} frames of {about['dim']} "
        f"in {about['store']}, {about['sample_rate'] / about['stride']:g} a second"
    )
