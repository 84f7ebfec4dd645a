"""`vqw2v features` and `cluster`: which layer of which files, and of which audio."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..stores.layers import layer_names, spectral_names

if TYPE_CHECKING:
    from ..features.base import FeatureOptions


def add_layer_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """`out` is what the help says of OUT."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help=f"checkpoint of fairseq-train, import or export; - for {spectral_names()}",
    )
    parser.add_argument(
        "manifest", metavar="MANIFEST", help="list of the audio, SPLIT.tsv, as `manifest` writes it"
    )
    parser.add_argument("out", metavar="OUT", help=out)
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


def add_deltas(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deltas",
        type=int,
        default=0,
        metavar="N",
        help="put slopes over five frames beside the features, once or twice (default: %(default)s)",
    )


def add_preparation(parser: argparse.ArgumentParser) -> None:
    """What is done with a layer's frames where there is little data."""
    add_deltas(parser)
    parser.add_argument(
        "--standardize",
        default="none",
        help="whose mean and scale are taken away: speaker (up to five minutes of each, by the manifest), "
        "utterance or none (default: %(default)s)",
    )


def feature_options(args: argparse.Namespace, memory: int, pieces: str | None = None) -> FeatureOptions:
    from ..features.base import FeatureOptions

    return FeatureOptions(
        args.layer,
        None if args.checkpoint == "-" else args.checkpoint,
        args.bert,
        pieces,
        args.run_length,
        args.bands,
        args.sample_rate,
        args.dtype,
        memory,
    )
