"""`vqw2v discretize`: a manifest's audio (wav) as tokens that fairseq-train reads at once."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from .corpus_arguments import add_run_arguments, device_for, memory_bytes, report_end, shared_work

if TYPE_CHECKING:
    from ..corpora.manifest import Manifest
    from ..jobs.split_job import Outcome
    from ..tokenizer import Tokenizer

HELP = "turn a manifest's audio into tokens that fairseq-train reads"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="checkpoint of fairseq-train, import or export"
    )
    parser.add_argument(
        "manifest", metavar="MANIFEST", help="list of the audio, SPLIT.tsv, as `manifest` writes it"
    )
    parser.add_argument(
        "out", metavar="OUT", help="folder for SPLIT.bin, .idx and .ids, dict.txt and tokens.json"
    )
    parser.add_argument(
        "--dict",
        metavar="FILE",
        help="dictionary to use (default: OUT/dict.txt; if there is none it is made)",
    )
    parser.add_argument(
        "--run-length",
        action="store_true",
        help="a run of equal codes is one token; SPLIT.durations.npy has its frames",
    )
    parser.add_argument("--text", action="store_true", help="also SPLIT.txt: the tokens, a line an utterance")
    parser.add_argument(
        "--npy", action="store_true", help="also SPLIT.codes/UTT.npy: the codes [frames, groups]"
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..jobs.discretize import DiscretizeOptions, discretize
    from ..tokenizer import Tokenizer

    rank, manifest = Rank.of(os.environ), Manifest(args.manifest)
    tokenizer = Tokenizer.load(args.checkpoint, device_for(args.device, rank), args.dtype)
    options = DiscretizeOptions(
        dtype=args.dtype,
        memory=memory_bytes(args.memory),
        shard_minutes=args.shard_minutes,
        dictionary=args.dict,
        run_length=args.run_length,
        text=args.text,
        npy=args.npy,
        refresh=args.refresh,
        strict=args.strict,
        **shared_work(args.workers, tokenizer.device.type, rank),
    )
    if rank.number == 0:
        print_agreement(args.checkpoint, tokenizer, manifest)
    outcome = discretize(tokenizer, args.checkpoint, manifest, args.out, options, rank)
    _report(outcome, args.out, manifest)
    return 1 if outcome.refused else 0


def print_agreement(checkpoint: str, tokenizer: Tokenizer, manifest: Manifest) -> None:
    """Where rounding differs from fp32 on a CPU: tells how many codes of some utterances that changes."""
    from ..jobs.discretize import agreement
    from ..tokenizer import Tokenizer

    if tokenizer.device.type == "cpu" and tokenizer.numbers == "fp32":
        return
    used, total, same = agreement(Tokenizer.load(checkpoint), tokenizer, manifest)
    if total:
        print(
            f"{same / total:.2%} of the {total:,} codes of {used} utterances are those of fp32 on the CPU",
            flush=True,
        )


def _report(outcome: Outcome, out: str, manifest: Manifest) -> None:
    from ..jobs.split_job import split_name
    from ..stores.symbols import TOKENS

    split = split_name(manifest)
    if not report_end(outcome, f"{out}/{split}", manifest):
        return
    about = TOKENS.read_about(out)
    row, dictionary = about["splits"][split], about["dictionary"]
    print(
        f"{out}/{split}: {row['utterances']:,} utterances, {row['frames']:,} frames, {row['tokens']:,} tokens"
    )
    made = f"made from {dictionary['made_by']}" if dictionary["made_by"] else "given"
    print(f"{out}/dict.txt: {dictionary['symbols']:,} symbols, {made}")
    if row["unknown"]:
        names = ", ".join(list(row["unknown_symbols"])[:5])
        print(
            f"  {row['unknown']:,} tokens ({row['unknown'] / row['tokens']:.2%}) are not in the dictionary "
            f"and became <unk>: {names} …"
        )
