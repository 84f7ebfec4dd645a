"""`vqw2v results`: text or classes, judged: error rates of many decodings as a table, recalls as another."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..analysis.class_results import ClassRates
    from ..analysis.run_results import ErrorRates

HELP = "print all error rates and recalls of a folder of runs as tables"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        metavar="RUNS",
        nargs="+",
        help="folders that hold errors-SPLIT.json or classes-SPLIT.json files, at any depth",
    )
    parser.add_argument("--split", help="of this split alone")


def run(args: argparse.Namespace) -> int:
    from ..analysis.class_results import find_class_rates
    from ..analysis.run_results import find_errors
    from ..common.words import sentence

    troubles: list[str] = []
    found = [each for folder in args.folders for each in find_errors(folder, troubles)]
    heads = [each for folder in args.folders for each in find_class_rates(folder, troubles)]
    for trouble in troubles:
        print(sentence(f"warning: {trouble}"), file=sys.stderr)
    chosen = [each for each in found if args.split in (None, each.split)]
    chosen_heads = [each for each in heads if args.split in (None, each.split)]
    if not chosen and not chosen_heads:
        splits = {each.split for each in found} | {each.split for each in heads}
        there = ", ".join(sorted(splits)) or "none"
        of_split = f" of {args.split}" if args.split else ""
        raise ValueError(
            f"{', '.join(args.folders)}: no error rates{of_split} (the splits there are: {there}); "
            "`fairseq-generate … --scoring vq_error --results-path FOLDER` writes them, and of classes "
            "`--task vq_utterance`"
        )
    tables = [_table(chosen)] if chosen else []
    if chosen_heads:
        tables.append(f"Right classes of utterances, in %: the more the better\n{_class_table(chosen_heads)}")
    print("\n\n".join(tables))
    return 0


def _table(rates: list[ErrorRates]) -> str:
    """A row a decoding, by split and unit, the best first."""
    from ..common.words import aligned, one_line
    from ..decoding.scoring import UNITS

    rows = [("split", "rate", "%", "sub", "del", "ins", "of", "decoder", "decoded by")]
    for each in sorted(rates, key=lambda each: (each.split, each.unit, each.rate, each.name)):
        counts = (f"{count:,}" for count in (*each.counts.values(), each.length))
        unit = UNITS.get(each.unit, each.unit)
        texts = (one_line(text) for text in (each.decoder or "-", each.name))
        rows.append((one_line(each.split), one_line(unit), f"{each.rate:.2f}", *counts, *texts))  # type: ignore[arg-type]
    return "\n".join(aligned(rows, range(2, 7)))


def _class_table(rates: list[ClassRates]) -> str:
    """A row a head, by split, the best recall first."""
    from ..common.words import aligned, one_line

    rows = [("split", "recall", "by chance", "accuracy", "one answer", "of", "classes", "answered by")]
    for each in sorted(rates, key=lambda each: (each.split, -each.uar, each.name)):
        percents = (each.uar, 100 / max(1, each.num_classes), each.accuracy, each.majority)
        counts = (f"{each.utterances:,}", f"{each.num_classes:,}")
        shown = (*(f"{percent:.2f}" for percent in percents), *counts)
        rows.append((one_line(each.split), *shown, one_line(each.name)))  # type: ignore[arg-type]
    return "\n".join(aligned(rows, range(1, 7)))
