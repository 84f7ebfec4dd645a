"""`vqw2v discretize`: a manifest's audio (wav) as tokens that fairseq-train reads at once."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

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


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What `features` takes too."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--dtype", default="fp32", help="fp32, or bf16: faster, some codes differ (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads; they change nothing but the time (default: one a core)",
    )
    parser.add_argument(
        "--memory",
        type=float,
        default=1.0,
        metavar="GIB",
        help="for a layer's outputs, each worker: beyond it they are computed twice (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-minutes",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="audio that a killed run may have to do again, each process (default: %(default)s)",
    )
    parser.add_argument("--refresh", action="store_true", help="make this split anew")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="publish nothing if an utterance fails (default: name it, exit with 1)",
    )


def run(args: argparse.Namespace) -> int:
    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..jobs.discretize import DiscretizeOptions, discretize
    from ..tokenizer import Tokenizer

    rank, manifest = Rank.of(os.environ), Manifest(args.manifest)
    tokenizer = Tokenizer.load(args.checkpoint, device_of(args.device, rank), args.dtype)
    options = DiscretizeOptions(
        dtype=args.dtype,
        workers=num_workers(args.workers, tokenizer.device.type, rank),
        memory=args.memory,
        shard_minutes=args.shard_minutes,
        dictionary=args.dict,
        run_length=args.run_length,
        text=args.text,
        npy=args.npy,
        refresh=args.refresh,
        strict=args.strict,
    )
    if rank.number == 0:
        print_agreement(args.checkpoint, tokenizer, manifest)
    outcome = discretize(tokenizer, args.checkpoint, manifest, args.out, options, rank)
    _report(outcome, args.out, manifest)
    return 1 if outcome.refused else 0


def print_agreement(checkpoint: str, tokenizer: Tokenizer, manifest: Manifest) -> None:
    """Where rounding is not that of fp32 on a CPU: how many codes of some utterances it changes."""
    import torch

    from ..jobs.discretize import agreement
    from ..tokenizer import Tokenizer

    if tokenizer.device.type == "cpu" and tokenizer.dtype == torch.float32:
        return
    used, total, same = agreement(Tokenizer.load(checkpoint), tokenizer, manifest)
    if total:
        print(
            f"{same / total:.2%} of the {total:,} codes of {used} utterances are those of fp32 on the CPU",
            flush=True,
        )


def num_workers(asked: int | None, device: str, rank: object) -> int:
    """All cores for a lone process; of several each has its own, and a GPU is fed by some threads."""
    if asked is not None and asked < 1:
        raise ValueError(f"`--workers` is {asked}; expected 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    alone = getattr(rank, "total", 1) == 1
    return asked or ((cores if alone else 1) if device == "cpu" else min(4, cores))


def device_of(asked: str, rank: object) -> str:
    """torchrun's processes on one machine take a GPU each."""
    import torch

    if asked != "cuda" or getattr(rank, "total", 1) == 1 or not torch.cuda.is_available():
        return asked
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def said_by_state(outcome: Outcome, what: str, manifest: Manifest) -> bool:
    """The line for a process that published nothing itself."""
    if outcome.state == "there":
        print(f"{what}: is there already, of this manifest and with these settings")
    elif outcome.state == "waiting":
        print(f"{what}: this process has done its share; the last one to end puts all together")
    for refused in outcome.refused[:10]:
        print(
            f"vqw2v: missing: {refused.utt}: {refused.reason}".encode("utf-8", "replace").decode(),
            file=sys.stderr,
        )
    if outcome.refused:
        print(
            f"vqw2v: {len(outcome.refused)} of {len(manifest)} utterances are missing; {what}.refused.tsv "
            f"names them. Mend them and run this again: it tries those alone",
            file=sys.stderr,
        )
    return outcome.state != "published"


def _report(outcome: Outcome, out: str, manifest: Manifest) -> None:
    from ..jobs.split_job import split_name
    from ..stores.symbols import TOKENS

    split = split_name(manifest)
    if said_by_state(outcome, f"{out}/{split}", manifest):
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
