"""Whether learning without labels works: made-up languages, of which each training is a rung.

    python examples/wav2vec_u/ladder.py OUT --seeds 8

On each rung several seeds are trained with `toy.yaml`, and the one is chosen whose `weighted_lm_ppl` is the
least: no label is read for it. What it got wrong stands beside it, as for the others. The language `flat`, in
which any phone follows any other, cannot be learnt, and the score says so: text whose order hardly matters
tells nothing, and what is recognised is called text where its score is nearer to the text's own perplexity
than to that of phones one by one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grid import yaml_updates
from language import RUNGS, SIZES, make

from vqw2v_plugin.analysis.grid import Grid, all_trials, run_grid, table, text_model, write_table
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import run_or_say

CONFIG = Path(__file__).resolve().parent / "toy.yaml"
TITLES = {"L0": "symbols at hidden places", "L1": "Gaussians in runs", "flat": "any phone after any other"}
# a symbol is one number, and a phone of L1 is 32: the same rate moves its scores less
SETTINGS = {"L0": ("model.segments=none", "optimization.lr=[0.01]"), "L1": (), "flat": ()}
UPDATES = {"L0": 800}


def grid_of(rung: str, args: argparse.Namespace) -> Grid:
    """Its seeds, all of which go to the end; labels are there for measuring alone."""
    data = (args.out / rung).resolve()
    settings = (f"task.data={data / 'features'}", f"task.text={data / 'text'}")
    settings += (f"task.measure={data / 'labels'}", *SETTINGS[rung], *args.settings)
    trials = all_trials(range(1, args.seeds + 1), {})
    updates = args.updates or UPDATES.get(rung) or yaml_updates(CONFIG)
    return Grid(data, CONFIG, settings, trials, updates, rounds=1, minutes=0.5)


def climb(args: argparse.Namespace) -> None:
    numbers = (args.seeds, args.jobs, args.utterances, 1 if args.updates is None else args.updates)
    if min(numbers) < 1 or args.language < 0:
        raise ValueError(
            "`--seeds`, `--jobs`, `--utterances` and `--updates` are numbers from 1 up, `--language` from 0"
        )
    told = []
    for rung in args.rungs:
        data = args.out / rung
        if not (data / "labels" / "labels.json").is_file():
            make(data, rung, args.language, {**SIZES, "train": args.utterances})
        grid, model = grid_of(rung, args), text_model(data / "text")
        ranked = run_grid(grid, [], args.jobs)
        write_table(grid.run, ranked, model)
        told.append("\n".join([f"{rung}: {TITLES[rung]}", "", *table(ranked, model), ""]))
    print("\n" + "\n".join(told))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=RUNGS, help="default: all")
    parser.add_argument("--seeds", type=int, default=8, help="trainings of a rung (default: %(default)s)")
    parser.add_argument("--updates", type=int, metavar="N", help="default: 800 of L0, else the yaml's")
    parser.add_argument("--language", type=int, default=1, help="its seed (default: %(default)s)")
    parser.add_argument(
        "--utterances", type=int, default=SIZES["train"], help="to learn from (default: %(default)s)"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help="of toy.yaml, for all trainings",
    )
    pipeline.add_jobs(parser)
    args = parser.parse_args()
    return run_or_say("ladder.py", lambda: climb(args))


if __name__ == "__main__":
    sys.exit(main())
