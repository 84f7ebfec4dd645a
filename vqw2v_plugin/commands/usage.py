"""`vqw2v usage`: how a checkpoint's codes are used over a manifest, and what they say about phones."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .usage_by import add_group_arguments, check_group_arguments, map_groups_of

if TYPE_CHECKING:
    from ..checkpoints.kinds import Restored
    from ..corpora.manifest import Manifest
    from ..tokenizer import Tokenizer

HELP = "show how a checkpoint's codes are used"
_DEAD_AFTER = 50
_CEPSTRA = 13
_MOST_CLIPS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint that fairseq-train wrote")
    parser.add_argument(
        "manifest",
        metavar="MANIFEST",
        nargs="*",
        help="manifest (tsv) of the audio to encode; without it, only what training kept; several with --by",
    )
    parser.add_argument(
        "--phones", metavar="CTM", help="phone times: also print what the codes say about phones"
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="beside them the same network with fresh weights: what its codes say without training",
    )
    parser.add_argument(
        "--mfcc",
        action="store_true",
        help="beside them as many k-means clusters of MFCC and their slopes, found on this same audio",
    )
    parser.add_argument(
        "--robust",
        type=int,
        default=0,
        metavar="N",
        help="also how many tokens of N clips change under noise, reverberation, another pitch and tempo",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="FILE", help="also as json, which `vqw2v report` shows; with --by, FILE.tsv: counts"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of fresh weights, clusters and noise, and of what --by counts (default: %(default)s)",
    )
    add_group_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..analysis.code_report import Asked, PhonesError, report_codes
    from ..analysis.code_sources import encode_each
    from ..checkpoints.format import load_any
    from ..common.bounds import check_between
    from ..common.files import write_whole
    from ..common.targets import check_output
    from ..common.words import sentence
    from ..corpora.ctm import read_ctm
    from ..corpora.manifest import Manifest
    from ..features.base import usable_device
    from ..features.clusters import CODERS, coder_of
    from ..tokenizer import Tokenizer

    check_between("--robust", args.robust, 0, _MOST_CLIPS)
    check_between("--seed", args.seed, 0, 2**63 - 1)
    check_group_arguments(args)
    if args.out:
        check_output(Path(args.out))
    trained = load_any(Path(args.checkpoint), *CODERS)
    device = usable_device(args.device)
    rows = {"trained": Tokenizer(coder_of(trained), device)}
    print(f"{args.checkpoint}: {_health(trained)}")
    if args.by:
        return map_groups_of(args, rows["trained"])
    if not args.manifest:
        return 0
    manifest = Manifest(args.manifest[0])
    if args.untrained:
        rows["untrained"] = Tokenizer(coder_of(_untrained(trained, args.seed)), device)
    if args.mfcc:
        rows["MFCC k-means"] = _mfcc_clusters(rows["trained"], manifest, args.seed)
    print(f"{manifest.path}: {len(manifest)} utterances")
    utterances, found = [manifest[i] for i in range(len(manifest))], []
    asked = Asked(read_ctm(args.phones) if args.phones else None, args.robust, args.seed)
    for name, tokenizer in rows.items():
        codes = encode_each(tokenizer, utterances, lambda reason: print(f"skipped: {sentence(reason)}"))
        if not codes:
            raise ValueError(f"{manifest.path}: none of its {len(manifest)} utterances gave a code")
        try:
            found.append(report_codes(name, tokenizer, codes, utterances, asked))
        except PhonesError as error:
            raise ValueError(f"{args.phones} {error}") from None
        print("\n".join(found[-1].lines()))
    if args.out:
        about = {"checkpoint": Path(args.checkpoint).name, "split": Path(manifest.path).stem}
        rows_of = [{**about, **each.to_json()} for each in found]
        write_whole(Path(args.out), json.dumps(rows_of, indent=1, ensure_ascii=False) + "\n")
    return 0


def _mfcc_clusters(like: Tokenizer, manifest: Manifest, seed: int) -> Tokenizer:
    """As many clusters as there are codes, found on the very audio that they are asked about."""
    import tempfile
    from pathlib import Path

    import torch

    from ..features.base import FeatureOptions
    from ..features.clusters import coder_of
    from ..features.registry import make_features
    from ..jobs.cluster import ClusterJob, ClusterOptions
    from ..modules.quantizers.clusters import ClustersConfig
    from ..tokenizer import Tokenizer

    groups = like.num_groups
    dim = next((n for n in range(_CEPSTRA, 0, -1) if 3 * n % groups == 0), groups)
    asked = FeatureOptions(f"mfcc:{dim}", sample_rate=like.sample_rate)
    config = ClustersConfig(like.num_codes, groups, deltas=2)
    with tempfile.TemporaryDirectory() as folder:
        options = ClusterOptions(seed=seed)
        job = ClusterJob(make_features(asked), asked, config, manifest, Path(folder) / "mfcc", options)
        threads = torch.get_num_threads()
        found = job.run().found
        torch.set_num_threads(threads)  # a job leaves one, which is not meant for what comes after it
        return Tokenizer(coder_of(found))


def _untrained(trained: Restored[Any], seed: int) -> Restored[Any]:
    """The same network with weights that are drawn."""
    import dataclasses

    import torch

    from ..checkpoints.clusters import KIND as CLUSTERS
    from ..checkpoints.kinds import KINDS

    if trained.header.model == CLUSTERS.model:
        raise ValueError(
            "`--untrained` wants a network of codes, and clusters are found without one: leave it out, or "
            "make clusters of an untrained network's layer"
        )
    torch.manual_seed(seed)
    return dataclasses.replace(trained, network=KINDS[trained.header.model].build(trained.header).eval())


def _health(trained: Restored[Any]) -> str:
    """How the training's last updates used the codes, as the checkpoint tells."""
    health = getattr(trained.network, "health", None)
    if health is None:
        return trained.summary
    if not health.window.any():
        return "keeps no counts of how training used its codes"
    num_codes = health.window.size(1)
    perplexity = ", ".join(f"{each:.1f}" for each in health.perplexity().tolist())
    dead = ", ".join(map(str, health.dead(_DEAD_AFTER).tolist()))
    return (
        f"at the end of training, perplexity {perplexity} of {num_codes}; {dead} codes unused for "
        f"{_DEAD_AFTER} updates (group by group)"
    )
