"""The ladder's upper rungs, on synthetic speech: segments that are right, segments of our own, self-training.

    python examples/wav2vec_u/rungs.py RUN --seeds 8

L2 gives the generator the true span of each phone, L3 runs of clusters; L4 is what learns from the phones of
either.
The text is other sentences of the same grammar. Trials are chosen by their score, and true errors stand
beside; so do the guess by frequencies and decipherment. The table is RUN/rungs.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grid import add_grid_arguments
from parts import Inputs
from recipe import run_all

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage, run_or_say, run_recipe

HERE = Path(__file__).resolve().parent
LAYER = ("--layer", "mfcc:13")
PREPARED = ("--deltas", "1", "--standardize", "speaker")


def made(run: Path, args: argparse.Namespace) -> list[Stage]:
    """The corpus, and a text that nobody speaks."""
    data, halves = run / "corpus" / "data", run / "halves" / "data"
    asked = ["--minutes", f"{args.minutes:g}", "--speakers", "2", "--languages", args.language]
    speak = [*pipeline.VQW2V, "toy", str(data), *asked]
    part = [sys.executable, str(HERE / "spoken.py"), str(halves), str(data), "--language", args.language]
    return [
        Stage("corpus", [speak], f"Making {args.minutes:g} minutes of speech", 1, result=str(data)),
        Stage("halves", [part], "Audio here, text there", 0.2, ["corpus"], result=str(halves)),
    ]


def inputs_of(run: Path, rung: str) -> Inputs:
    data, halves = run / "corpus" / "data", run / "halves" / "data"
    lexicon = ("--lexicon", str(data / "lexicon.txt"), "--sil-prob", "0", "--valid", "0.05")
    return Inputs(
        *(run / rung, data, halves / "text.txt", "-", LAYER, PREPARED, lexicon),
        clusters=64,
        clustered=("--deltas", "1", "--standardize", "utterance"),
        spans=str(halves / "{split}.ctm") if rung == "L2" else None,
        measure=halves / "labels",
    )


def climb(args: argparse.Namespace) -> None:
    run = args.run.resolve()
    run_recipe(run, made(run, args), jobs=args.jobs, threads=1)
    rows = []
    for rung in args.rungs:
        inputs = inputs_of(run, rung)
        args.measure = inputs.measure
        for way, rate in run_all(args, inputs).items():
            rows.append(f"| {rung}{'→L4' if way.startswith('self') else ''} | {way} | {rate:.1f} |")
    table = "\n".join(["| rung | phones of | error, % |", "| --- | --- | --- |", *rows, ""])
    write_whole(run / "rungs.md", table)
    print(f"\n{table}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument(
        "--rungs", nargs="+", choices=("L2", "L3"), default=("L2", "L3"), help="default: both"
    )
    parser.add_argument("--minutes", type=float, default=60, help="of speech (default: %(default)s)")
    parser.add_argument("--language", default="es", help="as `vqw2v toy` has it (default: %(default)s)")
    parser.add_argument("--taught-updates", type=int, default=800, metavar="N", help="of L4 (default: 800)")
    add_grid_arguments(parser)
    parser.set_defaults(config="spoken")
    args = parser.parse_args()
    return run_or_say("rungs.py", lambda: climb(args))


if __name__ == "__main__":
    sys.exit(main())
