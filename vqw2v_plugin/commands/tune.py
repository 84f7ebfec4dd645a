"""`vqw2v tune`: LM weight, word score and silence score for fairseq-generate, from saved emissions."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.bounds import check_workers
from ..decoding.settings import DECODERS, Effort, Range, Space, Weights
from .decoder_arguments import SEARCH, WEIGHTS, add_decoder_arguments, beam_settings, decoder_settings, option

if TYPE_CHECKING:
    from ..decoding.scoring import ErrorScore, Judge
    from ..decoding.trials import DevSet
    from ..text.units import Units

    Best = Sequence[tuple[Weights, ErrorScore]]

HELP = "find the decoder's weights with the fewest errors on a dev set's emissions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "emissions", metavar="EMISSIONS", help="folder that `fairseq-generate … --emissions` wrote"
    )
    parser.add_argument("--split", default="dev", help="of the emissions and labels (default: %(default)s)")
    parser.add_argument("--labels", required=True, metavar="LABELS", help="label folder with the transcripts")
    add_decoder_arguments(parser, tuple(name for name in DECODERS if name != "greedy"), "lexicon")
    space, effort = Space(), Effort()
    for name, what in (
        ("lm_weight", "weight of the LM's log10"),
        ("word_score", "added for every word (of a lexicon)"),
        ("sil_score", "added for every frame of silence"),
    ):
        low, high = getattr(space, name).low, getattr(space, name).high
        what = f"{what}: a number, or the range LOW HIGH (default: {low:g} {high:g})"
        parser.add_argument(option(name), type=float, nargs="+", metavar="X", help=what)
    for name, what in (
        ("points", "points spread first"),
        ("rounds", "rounds of steps from the best"),
        ("keep", "points shown"),
        ("seed", "of the points"),
    ):
        number = getattr(effort, name)
        parser.add_argument(
            f"--{name}", type=int, default=number, metavar="N", help=f"{what} (default: {number})"
        )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--error-unit", metavar="UNIT", help="words, characters or phones (default: words)")
    parser.add_argument("--error-fold", default="none", metavar="FOLD", help="of phones: 48, 39 or stress")
    parser.add_argument("--out", metavar="FILE", help="json to write (default: EMISSIONS/tuned-SPLIT.json)")


def run(args: argparse.Namespace) -> int:
    from ..common.targets import beside_output, check_output
    from ..decoding.decoder import make_decoder
    from ..decoding.greedy import GreedyDecoder
    from ..decoding.trials import Trials, join, units_of
    from ..decoding.tuning import tune
    from ..stores.emissions import read_emissions

    check_workers(args.workers)
    began, effort = time.monotonic(), Effort(args.points, args.rounds, args.keep, args.seed)
    saved = read_emissions(args.emissions, args.split)
    out = Path(args.out or Path(args.emissions) / f"tuned-{args.split}.json")
    check_output(out)
    units = units_of(saved)
    _fill_in(args, units)
    judge, space, settings = _judge(args, units), _space(args, units), decoder_settings(args)
    dev_set = join(saved, args.labels, args.split, units, judge)
    decoder: Any = make_decoder(settings, units, saved.transitions)
    start = space.start(settings.beam)
    with Trials(decoder, dev_set, judge, args.workers, effort.keep, effort.seed) as trials:
        best = tune(trials, space, start, effort, lambda *found: _say(judge, *found))
    others = {"at the start": trials.scores[start]}
    others["greedy"] = _greedy(GreedyDecoder(units, saved.transitions), dev_set, judge)
    lost, seconds = len(trials.given_up), time.monotonic() - began
    points = f"{len(trials.scores) + lost} points, {lost} of them given up early"
    options = _options(args, best[0][0])
    with redirect_stdout(beside_output(out)):
        print(f"{args.split}: {len(dev_set):,} utterances under {points}, in {seconds:.1f} s")
        _print_table(judge, best, others)
        print(f"best: {best[0][1].errors.describe(judge.unit)}\noptions: {shlex.join(options)}")
        _write(out, args, best, others, options)
        print(f"{out}: written; `--weights {out}` decodes with its best weights")
    return 0


def _fill_in(args: argparse.Namespace, units: Units) -> None:
    """Fills in what follows from the model: its lexicon in the label folder, and the unit of errors."""
    from ..stores.labels import lexicon_name

    there = Path(args.labels) / lexicon_name(units.kind)
    if args.decoder == "lexicon" and not args.lexicon and there.is_file():
        args.lexicon = str(there)
        print(f"{there}: taken as the lexicon")
    if args.error_unit is None:
        args.error_unit = "phones" if units.kind == "phones" and args.decoder == "free" else "words"
    if args.workers is None:
        args.workers = len(os.sched_getaffinity(0))


def _judge(args: argparse.Namespace, units: Units) -> Judge:
    from ..decoding.scoring import Judge

    if args.error_unit == "phones" and units.kind != "phones":
        raise ValueError(f"`--error-unit phones`: the model says {units.kind}; take words or characters")
    return Judge(args.error_unit, args.error_fold)


def _space(args: argparse.Namespace, units: Units) -> Space:
    """The ranges that were asked for; a weight that has no effect is fixed."""
    asked = {}
    for name in WEIGHTS:
        values = getattr(args, name) or []
        if len(values) > 2:
            raise ValueError(f"`{option(name)}` has {len(values)} numbers; expected one, or LOW HIGH")
        if values:
            asked[name] = Range(values[0], values[-1])
    heard = {
        "lm_weight": args.lm is not None,
        "word_score": args.decoder == "lexicon",
        "sil_score": units.silence >= 0,
    }
    deaf = [name for name in WEIGHTS if not heard[name]]
    for name in asked:
        if name in deaf:
            lm = "" if args.lm else " without an LM"
            raise ValueError(
                f"`{option(name)}` is of no use to the decoder {args.decoder!r}{lm}; leave it out"
            )
    space = Space(**asked).without(*deaf)
    if not space.free:
        raise ValueError("nothing is left to tune: give a weight a range LOW HIGH, or an `--lm`")
    return space


def _greedy(decoder: Any, dev_set: DevSet, judge: Judge) -> ErrorScore:
    from ..decoding.scoring import ErrorScore

    total = ErrorScore()
    for number, reference in enumerate(dev_set.references):
        total += judge(reference, decoder.decode(dev_set.emissions(number))[0])
    return total


def _say(judge: Judge, what: str, weights: Weights, score: ErrorScore) -> None:
    from ..decoding.scoring import UNITS

    said = ", ".join(f"{option(name)} {value:g}" for name, value in weights._asdict().items())
    print(f"{what}: {UNITS[judge.unit]} {score.errors.rate:.2f} % at {said}", file=sys.stderr, flush=True)


def _print_table(judge: Judge, best: Best, others: Mapping[str, ErrorScore]) -> None:
    from ..decoding.scoring import UNITS

    units = [judge.unit, "characters"] if judge.unit == "words" else [judge.unit]
    print("".join(f"{UNITS[unit] + ' %':>8}" for unit in units) + "".join(f"{n:>12}" for n in WEIGHTS))
    rows = [(score, "".join(f"{value:>12g}" for value in weights)) for weights, score in best]
    rows += [(score, f"  ({name})") for name, score in others.items()]
    for score, text in rows:
        rates = [score.errors.rate, score.finer.rate][: len(units)]
        print("".join(f"{rate:>8.2f}" for rate in rates) + text)
    if len({score.order for _, score in best}) == 1 < len(best):
        print("the best are alike: which of them is first, and where in its range, is chance")


def _options(args: argparse.Namespace, weights: Weights) -> list[str]:
    """The options for fairseq-generate and `vqw2v transcribe`."""
    options = ["--decoder", args.decoder]
    search = beam_settings(args)
    named = {name: getattr(args, name) for name in ("lexicon", "lm")}
    for name, value in {**named, **{name: getattr(search, name) for name in SEARCH}}.items():
        if value is not None:
            options += [option(name), f"{value:g}" if isinstance(value, float) else str(value)]
    for name, value in weights._asdict().items():
        options += [option(name), f"{value:g}"]
    return [*options, "--log-add"] if args.log_add else options


def _write(
    out: Path, args: argparse.Namespace, best: Best, others: Mapping[str, ErrorScore], options: list[str]
) -> None:
    from ..common.files import write_whole

    asked = ("split", "emissions", "labels", "error_unit", "error_fold", "seed", "points", "rounds")
    found = {
        **{name: getattr(args, name) for name in asked},
        "options": options,
        "utterances": best[0][1].errors.utterances,
        "best": [
            {**weights._asdict(), "rate": s.errors.rate, "errors": s.errors.total} for weights, s in best
        ],
        "others": {name: score.errors.rate for name, score in others.items()},
    }
    write_whole(out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
