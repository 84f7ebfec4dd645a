"""`vqw2v segment`: a manifest's audio (wav) as segments of any layer, for recognition without labels."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .corpus_arguments import add_run_arguments, device_for, memory_bytes, report_end, shared_work
from .layer_arguments import add_layer_arguments, add_preparation, feature_options
from .principal_arguments import add_principal, check_principal, principal_for

if TYPE_CHECKING:
    from ..common.locks import Rank
    from ..corpora.ctm import Segments
    from ..corpora.manifest import Manifest
    from ..features.base import FeatureOptions
    from ..features.segments import SpokenFeatures
    from ..jobs.segment import SpanFile

HELP = "turn a manifest's audio into segments, for recognition without labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_layer_arguments(parser, "folder for SPLIT.npy, SPLIT.ids and features.json")
    add = parser.add_argument
    add(
        "--silence",
        help="what finds the silence that is left out: energy, silero (the network of silero-vad), or keep "
        "(default: energy; with --spans: keep)",
    )
    add(
        "--clusters",
        metavar="FOLDER",
        help="clusters of this layer, as `cluster` writes them: each run of frames of one becomes its mean",
    )
    add("--no-pairs", action="store_true", help="else each two neighbouring runs become their mean, too")
    add("--spans", metavar="CTM", help="a row for each of these spans (phone times) in place of --clusters")
    add_principal(parser)
    add(
        "--targets",
        metavar="CLUSTERS",
        help="also write these clusters of the same audio, one beside each frame, as tokens in OUT/targets "
        "(wav2vec-U 2.0)",
    )
    add_preparation(parser)
    add("--store", default="fp16", help="fp16 or fp32 on the disk (default: %(default)s)")
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..features.prepared import PreparedFeatures
    from ..features.registry import features_on
    from ..features.segments import SegmentFeatures, SpokenFeatures
    from ..jobs.featurize import FeaturizeOptions
    from ..jobs.segment import segment
    from ..jobs.split_job import split_name

    _check(args)
    rank, manifest = Rank.of(os.environ), Manifest(args.manifest)
    spans, span_file = _spans(args.spans)
    silence = args.silence or ("keep" if spans is not None else "energy")
    asked = feature_options(args, memory_bytes(args.memory))
    layer = features_on(device_for(args.device, rank), asked)
    spoken = SpokenFeatures(layer, silence)
    frames: SpokenFeatures | PreparedFeatures = spoken
    if args.deltas or args.standardize != "none":
        frames = PreparedFeatures(spoken, args.deltas, args.standardize)
    wanted = (args.clusters, not args.no_pairs, spans)
    SegmentFeatures(frames, *wanted)  # refuses what does not fit, before components are found
    principal = principal_for(args, frames, manifest, rank)
    features = SegmentFeatures(frames, *wanted, principal).to(layer.device)
    features.take_notes()
    shared = shared_work(args.workers, layer.device.type, rank)
    work = {"shard_minutes": args.shard_minutes, "refresh": args.refresh, "strict": args.strict, **shared}
    failed = False
    if args.targets is not None:
        failed = _targets(args, spoken, asked, manifest, work, rank)
    outcome = segment(
        features, manifest, args.out, FeaturizeOptions(store=args.store, **work), rank, span_file
    )
    what = f"{args.out}/{split_name(manifest)}"
    if report_end(outcome, what, manifest):
        _report(args.out, split_name(manifest), manifest)
    for note in features.notes():
        print(f"  {note}")
    return 1 if outcome.refused or failed else 0


def _check(args: argparse.Namespace) -> None:
    check_principal(args)
    if args.no_pairs and args.clusters is None:
        raise ValueError("`--no-pairs` is said of runs; give `--clusters`, or leave it out")
    if args.targets is not None and (args.clusters is not None or args.spans is not None):
        raise ValueError("`--targets` stand beside frames; leave out `--clusters` and `--spans`")


def _spans(path: str | None) -> tuple[dict[str, Segments] | None, SpanFile | None]:
    from ..checkpoints.files import sha256
    from ..corpora.ctm import read_ctm
    from ..jobs.segment import SpanFile

    if path is None:
        return None, None
    found = read_ctm(path)
    return found, SpanFile(Path(path).name, sha256(Path(path)))


def _targets(
    args: argparse.Namespace,
    features: SpokenFeatures,
    asked: FeatureOptions,
    manifest: Manifest,
    work: dict[str, Any],
    rank: Rank,
) -> bool:
    """Whether an utterance has none."""
    from ..features.clusters import load_coder
    from ..jobs.discretize import DiscretizeOptions
    from ..jobs.segment import TargetsJob
    from ..jobs.split_job import split_name
    from ..tokenizer import Tokenizer

    coder = load_coder(args.targets, asked.dtype, asked.memory, "targets")
    tokenizer = Tokenizer(coder, features.device)
    options = DiscretizeOptions(dtype=asked.dtype, memory=asked.memory, **work)
    outcome = TargetsJob(features, tokenizer, args.targets, manifest, Path(args.out), options).run(rank)
    report_end(outcome, f"{args.out}/targets/{split_name(manifest)}", manifest)
    return bool(outcome.refused)


def _report(out: str, split: str, manifest: Manifest) -> None:
    from ..corpora.sizes import sizes_at
    from ..stores.features import FEATURES

    about = FEATURES.read_about(out)
    row = about["splits"][split]
    seconds = float(sizes_at(manifest, about["sample_rate"]).sum()) / about["sample_rate"]
    what = "segments" if "segments" in about else "frames"
    print(
        f"{out}/{split}: {row['utterances']:,} utterances, {row['frames']:,} {what} of {about['dim']} "
        f"in {about['store']}, {row['frames'] / max(seconds, 1e-9):.1f} a second of audio"
    )
