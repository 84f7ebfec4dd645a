"""`vqw2v results`: text or classes, judged: error rates of many decodings as a table, recalls as another."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
    parser.add_argument(
        "--expect",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="in place of tables one sentence: the lowest word error rate beside what was expected, in %%",
    )
    parser.add_argument("--why", metavar="TEXT", help="ends that sentence: where its errors come from")


def _check(args: argparse.Namespace) -> None:
    if args.why and not args.expect:
        raise ValueError("`--why` ends the sentence of `--expect LOW HIGH`; give that as well")
    if args.expect and not 0 <= args.expect[0] <= args.expect[1]:
        low, high = args.expect
        raise ValueError(f"`--expect` is {low:g} {high:g}; expected two rates in %, the lower first")


def run(args: argparse.Namespace) -> int:
    from ..analysis.class_results import find_class_rates
    from ..analysis.run_results import find_errors
    from ..common.words import sentence

    _check(args)
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
    if args.expect:
        print(_beside_expected(chosen, args.expect, args.why))
        return 0
    tables = [_table(chosen)] if chosen else []
    if chosen_heads:
        tables.append(f"Right classes of utterances, in %: the more the better\n{_class_table(chosen_heads)}")
    print("\n\n".join(tables))
    return 0


def _beside_expected(rates: list[ErrorRates], expected: Sequence[float], why: str | None) -> str:
    from ..common.words import one_line

    words = [each for each in rates if each.unit == "words"]
    if not words:
        raise ValueError("`--expect` is about word error rates, and there are none; leave it out")
    best, (low, high) = min(words, key=lambda each: each.rate), expected
    place = "fewer than" if best.rate < low else "more than" if best.rate > high else "within"
    said = (
        f"{one_line(best.split)}: {best.rate:.1f} % word errors, {place} the {low:g} to {high:g} % expected"
    )
    if place == "more than":
        said += (
            "; hear on the report's page whether the texts are what is said, and see what the log warns of"
        )
    return f"{said}; {one_line(why)}" if why else said


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
