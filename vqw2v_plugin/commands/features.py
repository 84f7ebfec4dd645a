"""`vqw2v features`: a manifest's audio (wav) as features of any layer, in a memory-mapped store."""

from __future__ import annotations

import argparse
import os

from ..stores.layers import layer_names, spectral_names
from .corpus_arguments import add_run_arguments, device_for, memory_bytes, num_workers, report_end

HELP = "dump z, c, quantized, BERT, log-mel or MFCC features for acoustic models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help=f"checkpoint of fairseq-train, import or export; - for {spectral_names()}",
    )
    parser.add_argument(
        "manifest", metavar="MANIFEST", help="list of the audio, SPLIT.tsv, as `manifest` writes it"
    )
    parser.add_argument("out", metavar="OUT", help="folder for SPLIT.npy, SPLIT.ids and features.json")
    parser.add_argument(
        "--layer",
        required=True,
        help=layer_names(titles=True),
    )
    parser.add_argument("--bert", metavar="BERT.pt", help="for `--layer bert`: a BERT trained on these codes")
    parser.add_argument(
        "--run-length",
        action="store_true",
        help="for a BERT of run-length tokens; states are repeated to frames",
    )
    parser.add_argument(
        "--pieces",
        metavar="FOLDER",
        help="for a BERT of pieces: the tokens that it was trained on; states are repeated to frames",
    )
    parser.add_argument("--store", default="fp16", help="fp16 or fp32 on the disk (default: %(default)s)")
    parser.add_argument(
        "--bands",
        type=int,
        default=80,
        metavar="N",
        help=f"for {spectral_names()}: mel bands (default: %(default)s)",
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        default=16_000,
        metavar="HZ",
        help=f"for {spectral_names()} (default: %(default)s)",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..features.base import FeatureOptions, usable_device
    from ..features.registry import make_features
    from ..jobs.featurize import FeaturizeOptions, featurize
    from ..jobs.split_job import split_name

    rank, manifest = Rank.of(os.environ), Manifest(args.manifest)
    asked = FeatureOptions(
        args.layer,
        None if args.checkpoint == "-" else args.checkpoint,
        args.bert,
        args.pieces,
        args.run_length,
        args.bands,
        args.sample_rate,
        args.dtype,
        memory_bytes(args.memory),
    )
    device = usable_device(device_for(args.device, rank))
    features = make_features(asked).to(device)
    features.take_notes()
    workers = num_workers(args.workers, device.type, rank)
    options = FeaturizeOptions(workers, args.shard_minutes, args.refresh, args.strict, args.store)
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
