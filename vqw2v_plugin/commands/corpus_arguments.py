"""`vqw2v discretize` and `features`: the options of a run over a whole corpus, and how it ended."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ..common.bounds import check_between, check_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..common.locks import Rank
    from ..corpora.manifest import Manifest
    from ..jobs.split_job import Outcome, Refused

_MOST_MEMORY = 2.0**20  # GiB
_NAMED = 10  # at most so many of the missing utterances


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The device, workers, memory, and what happens when a run is killed or meets bad audio."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add_dtype(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads, or beside a GPU processes that read ahead for it; they change nothing but the time "
        "(default: one a core, at most 8 of those)",
    )
    parser.add_argument(
        "--memory",
        type=float,
        default=1.0,
        metavar="GIB",
        help="for a layer's outputs, each worker: beyond it they are computed twice; on a GPU of all "
        "utterances that go through it together (default: %(default)s)",
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


def add_dtype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        default="fp32",
        help="fp32, or faster, and some codes differ: bf16, or on a GPU tf32 (default: %(default)s)",
    )


def memory_bytes(gibibytes: float) -> int:
    """`--memory`, of which a part of a byte is none."""
    check_between("--memory", gibibytes, 0, _MOST_MEMORY)
    return int(gibibytes * 2**30)


def num_workers(asked: int | None, device: str, rank: Rank) -> int:
    """As many as are asked for, or as many as are usual."""
    from ..jobs.work import usual_workers

    check_workers(asked)
    return asked or usual_workers(device, rank)


def shared_work(asked: int | None, device: str, rank: Rank) -> dict[str, int]:
    """Options of a job, of those who work at it."""
    from ..jobs.work import usual_work

    check_workers(asked)
    return usual_work(asked, device, rank)


def device_for(asked: str, rank: Rank) -> str:
    """The device for this process: of several that torchrun starts on one machine, each takes a GPU."""
    import torch

    if asked != "cuda" or rank.total == 1 or not torch.cuda.is_available():
        return asked
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def report_end(outcome: Outcome, what: str, manifest: Manifest) -> bool:
    """Tells how this process ended and which utterances are missing; returns whether it has published."""
    if outcome.state == "there":
        print(f"{what}: is there already, of this manifest and with these settings")
    elif outcome.state == "waiting":
        print(f"{what}: this process has done its share; the last one to end puts all together")
    remedy = f"; {what}.refused.tsv names them. Mend them and run this again: it tries those alone"
    name_missing(outcome.refused, manifest, remedy)
    return outcome.state == "published"


def name_missing(refused: Sequence[Refused], manifest: Manifest, remedy: str) -> None:
    """The first of the utterances that gave nothing, and how many they are."""
    from ..common.words import sentence

    for each in refused[:_NAMED]:
        print(sentence(f"vqw2v: missing: {each.utt}: {each.reason}"), file=sys.stderr)
    if refused:
        print(
            f"vqw2v: {len(refused)} of {len(manifest)} utterances are missing{remedy}",
            file=sys.stderr,
        )
