"""Recognition without labels, all of it: audio, text and a checkpoint → phones → words.

    python examples/wav2vec_u/recipe.py RUN MANIFESTS TEXT --checkpoint w2v2.pt --layer w2v2:15 \\
        --lexicon cmudict --clusters 128 --pca 512 --seeds 5 --gradient-penalty 1.5 2 --jobs 4

MANIFESTS is a folder with train.tsv and valid.tsv, TEXT one sentence a line. Audio becomes segments and text
phones; trials are trained, and one is chosen by its score; what it says through a model of phones teaches an
acoustic model of frames, which is decoded with lexicon and word LM. A killed recipe goes on where it was. No
label is read but those of `--measure`, by which nothing goes; what they count stands in RUN/errors.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from grid import add_grid_arguments, grid_of, tell
from parts import Inputs, coming_out, errors, going_in, settings

from vqw2v_plugin.analysis.grid import run_grid
from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import run_or_say, run_recipe


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN")
    add("manifests", type=Path, metavar="MANIFESTS")
    add("text", type=Path, metavar="TEXT")
    add("--checkpoint", default="-", metavar="FILE", help="whose layer it is; - for spectra")
    add("--layer", required=True, help="as `vqw2v segment` has it")
    add("--prepare", nargs="*", default=[], metavar="WORD", help="deltas=N standardize=speaker of the frames")
    add("--clusters", type=int, default=128, metavar="N", help="of frames (default: %(default)s)")
    add("--pca", type=int, metavar="D", help="components of a segment (the paper: 512; default: none)")
    add("--silence", metavar="DETECTOR", help="as `vqw2v segment` has it (default: energy)")
    spoken = parser.add_mutually_exclusive_group()
    spoken.add_argument("--lexicon", type=Path, metavar="FILE", help="pronounces the text")
    spoken.add_argument("--espeak", metavar="LANG", help="pronounces the text (neither: it holds phones)")
    add("--fold", default="none", help="as `vqw2v phones` has it (default: none)")
    add("--min-count", type=int, default=1, metavar="N", help="of a phone (default: %(default)s)")
    add("--sil-prob", type=float, default=0.25, metavar="P", help="of silence between words (default: 0.25)")
    add("--taught-updates", type=int, default=1400, metavar="N", help="of the last training (default: 1400)")
    add_grid_arguments(parser)
    return parser.parse_args()


def inputs_of(args: argparse.Namespace) -> Inputs:
    said = ["--min-count", str(args.min_count), "--sil-prob", f"{args.sil_prob:g}", "--fold", args.fold]
    if args.lexicon is not None:
        said += ["--lexicon", str(args.lexicon.resolve())]
    if args.espeak is not None:
        said += ["--espeak", args.espeak]
    prepared = [word for each in args.prepare for word in (f"--{each}".split("=", 1))]
    checkpoint = args.checkpoint if args.checkpoint == "-" else str(Path(args.checkpoint).resolve())
    return Inputs(
        *(args.run.resolve(), args.manifests.resolve(), args.text.resolve(), checkpoint),
        *(("--layer", args.layer), tuple(prepared), tuple(said), args.clusters),
        pca=args.pca,
        silence=args.silence,
        measure=None if args.measure is None else args.measure.resolve(),
    )


def error_table(found: Mapping[str, float]) -> str:
    rows = [f"| {way} | {rate:.1f} |" for way, rate in found.items()]
    return "\n".join(["| phones of | error, % |", "| --- | --- |", *rows, ""])


def run_all(args: argparse.Namespace, inputs: Inputs) -> dict[str, float]:
    """Answers the true errors, where there are labels to measure by."""
    first = going_in(inputs)
    run_recipe(inputs.run, first, jobs=args.jobs, threads=1)
    grid = grid_of(args, inputs.run, settings(inputs))
    ranked = run_grid(grid, first, args.jobs)
    tell(grid, ranked, inputs.phone_text)
    made = grid.stages_of(ranked, [stage.name for stage in first])
    chosen = ranked[0].checkpoint
    trial = str(chosen.parent.relative_to(inputs.run))
    last = coming_out(inputs, chosen, trial, args.taught_updates)
    listed = [*first, *made, *last]
    listed.append(pipeline.report(inputs.run, "report", [stage.name for stage in listed]))
    run_recipe(inputs.run, listed, jobs=args.jobs, threads=1)
    found = errors(inputs)
    if found:
        write_whole(inputs.run / "errors.md", error_table(found))
        print(f"\n{error_table(found)}")
    print(f"The page of everything: {inputs.run}/report/report.html")
    return found


def main() -> int:
    args = arguments()

    def run() -> None:
        run_all(args, inputs_of(args))

    return run_or_say("recipe.py", run)


if __name__ == "__main__":
    sys.exit(main())
