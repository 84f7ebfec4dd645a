"""`vqw2v manifest`: lists a corpus' audio (wav) in train.tsv and valid.tsv, and tells what cannot be used."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..corpora.collect import Collected

HELP = "list the audio of a folder or a corpus in manifests, with splits"
_MOST_REASONS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..corpora.sources import SUFFIXES

    parser.add_argument(
        "folders", metavar="DIR", nargs="+", help="folder of audio, a corpus, or a table (csv, tsv, jsonl)"
    )
    parser.add_argument("out", metavar="OUT", help="folder for train.tsv, valid.tsv and refused.tsv")
    _add_what_is_listed(parser)
    _add_splits(parser)
    parser.add_argument("--ext", help=f"suffixes of audio, joined by commas (default: {','.join(SUFFIXES)})")
    parser.add_argument("--min", type=float, default=0.0, metavar="SECONDS", help="refuse what is shorter")
    parser.add_argument(
        "--max", type=float, default=math.inf, metavar="SECONDS", help="refuse what is longer"
    )
    parser.add_argument(
        "--trim",
        type=float,
        metavar="SECONDS",
        help="leave out silence at both ends but so much of it, such as 0.1 (default: none is left out)",
    )
    parser.add_argument(
        "--workers", type=int, help="processes; they change nothing but the time (default: two a core)"
    )
    parser.add_argument("--strict", action="store_true", help="write no manifest if anything is refused")


def _add_what_is_listed(parser: argparse.ArgumentParser) -> None:
    from ..corpora.sources import KINDS
    from ..corpora.sources.columns import NAMES

    parser.add_argument("--kind", choices=KINDS, help="what DIR is (default: seen by what is there)")
    parser.add_argument("--audio", metavar="DIR", help="where the files lie that a table names")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="WHAT=NAME",
        help=f"a table's column by another name, such as `text=said`; WHAT: {', '.join(NAMES)}",
    )
    parser.add_argument("--times", metavar="DIR", help="TextGrids with the times of words and phones")


def _add_splits(parser: argparse.ArgumentParser) -> None:
    from ..corpora.splits import DEFAULT_VALID

    parser.add_argument(
        "--valid",
        type=float,
        metavar="SHARE",
        help=f"share that goes to valid.tsv (default: {DEFAULT_VALID}, or the corpus' own split)",
    )
    parser.add_argument(
        "--test", type=float, metavar="SHARE", default=0.0, help="share that goes to test.tsv (default: none)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, other splits (default: %(default)s)"
    )
    parser.add_argument("--speaker-disjoint", action="store_true", help="no speaker is in two splits")
    parser.add_argument(
        "--speaker-from",
        metavar="REGEX|N",
        help="where the path names the speaker: the first group of a regular expression, or its N-th part",
    )
    parser.add_argument(
        "--split-from",
        metavar="REGEX|N",
        help="where the path names the split (train, dev, test …), in the same way",
    )
    parser.add_argument("--resplit", action="store_true", help="forget the corpus' own splits")


def run(args: argparse.Namespace) -> int:
    from ..common.bounds import check_workers
    from ..corpora.collect import CollectOptions, collect
    from ..corpora.gather import Sources
    from ..corpora.rows import Limits
    from ..corpora.splits import SplitPlan

    check_workers(args.workers)
    collected = collect(
        args.folders,
        args.out,
        CollectOptions(
            Sources(
                kind=args.kind,
                suffixes=None if args.ext is None else _suffixes(args.ext),
                columns=_columns(args.column),
                audio=args.audio,
                times=args.times,
                speaker_from=args.speaker_from,
                split_from=args.split_from,
            ),
            limits=Limits(args.min, args.max),
            plan=SplitPlan(args.valid, args.test, args.seed, args.speaker_disjoint, args.resplit),
            workers=args.workers,
            strict=args.strict,
            trim=args.trim,
        ),
    )
    _report(collected, args.out)
    return 0


def _suffixes(text: str) -> tuple[str, ...]:
    suffixes = tuple(part.strip().lstrip(".").lower() for part in text.split(","))
    if not all(suffixes):
        raise ValueError(f"`--ext` is {text!r}, expected suffixes joined by commas, as in `flac,wav`")
    return suffixes


def _columns(chosen: list[str]) -> dict[str, str]:
    from ..corpora.sources.columns import NAMES

    pairs = {}
    for text in chosen:
        what, _, name = text.partition("=")
        if what not in NAMES or not name:
            raise ValueError(f"`--column` is {text!r}, expected WHAT=NAME with one of {', '.join(NAMES)}")
        pairs[what] = name
    return pairs


def _report(collected: Collected, out: str) -> None:
    from ..common.words import sentence
    from ..corpora.collect import count_reasons

    known = f", {collected.num_known:,} of them known from the last time" if collected.num_known else ""
    looked = f"{collected.num_files:,} files looked at in {collected.header_seconds:.1f} s"
    print(f"{collected.kind}: {looked}{known}")
    for note in collected.notes:
        print(f"  {sentence(note)}")
    for split, rows in collected.splits.items():
        hours = sum(row.samples / row.rate for row in rows) / 3600
        speakers = {row.entry.speaker for row in rows} - {""}
        rates = sorted({row.rate for row in rows})
        print(
            f"  {out}/{split}.tsv: {len(rows):,} utterances, {hours:.2f} h"
            + (f", {len(speakers):,} speaker{'s' * (len(speakers) > 1)}" if speakers else "")
            + (f", {'/'.join(map(str, rates))} Hz" if rates else "; EMPTY: see --valid and --resplit")
            + "".join(
                f", {split}.{timed}.ctm"
                for timed in ("words", "phones")
                if any(getattr(row.entry, timed) for row in rows)
            )
        )
    print(f"  {out}/refused.tsv: {len(collected.refused):,}")
    reasons = count_reasons(collected.refused)
    for group, count, first in reasons[:_MOST_REASONS]:
        print(f"    {count:>7,}  {group}; the first: {sentence(first)}")
    if len(reasons) > _MOST_REASONS:
        print(f"    and {len(reasons) - _MOST_REASONS} further reasons")
    written = {*collected.splits, "refused"}
    for path in sorted(Path(out).glob("*.tsv")):
        if path.stem not in written:
            print(f"  {path}: not of this run, left as it is; its utterances may be in the files above, too")
