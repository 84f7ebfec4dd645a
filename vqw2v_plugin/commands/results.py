"""`vqw2v results`: text, judged: the error rates of many decodings as one table."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..analysis.run_results import ErrorRates

HELP = "print all error rates of a folder of runs as one table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", metavar="RUNS", nargs="+", help="folders that hold errors-SPLIT.json files, at any depth"
    )
    parser.add_argument("--split", help="of this split alone")


def run(args: argparse.Namespace) -> int:
    from ..analysis.run_results import find_errors
    from ..common.words import sentence

    troubles: list[str] = []
    found = [each for folder in args.folders for each in find_errors(folder, troubles)]
    for trouble in troubles:
        print(sentence(f"warning: {trouble}"), file=sys.stderr)
    chosen = [each for each in found if args.split in (None, each.split)]
    if not chosen:
        there = ", ".join(sorted({each.split for each in found})) or "none"
        of_split = f" of {args.split}" if args.split else ""
        raise ValueError(
            f"{', '.join(args.folders)}: no error rates{of_split} (the splits there are: {there}); "
            "`fairseq-generate … --scoring vq_error --results-path FOLDER` writes them"
        )
    print(_table(chosen))
    return 0


def _table(rates: list[ErrorRates]) -> str:
    """A row a decoding, by split and unit, the best first."""
    from ..common.words import one_line
    from ..decoding.scoring import UNITS

    rows = [("split", "rate", "%", "sub", "del", "ins", "of", "decoder", "decoded by")]
    for each in sorted(rates, key=lambda each: (each.split, each.unit, each.rate, each.name)):
        counts = (f"{count:,}" for count in (*each.counts.values(), each.length))
        unit = UNITS.get(each.unit, each.unit)
        texts = (one_line(text) for text in (each.decoder or "-", each.name))
        rows.append((one_line(each.split), one_line(unit), f"{each.rate:.2f}", *counts, *texts))  # type: ignore[arg-type]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = range(2, 7)
    return "\n".join(
        "  ".join(
            text.rjust(width) if i in numbers else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
