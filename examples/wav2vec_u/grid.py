"""Seeds × weights of wav2vec-U in one command, chosen without labels and ranked in a table.

    python examples/wav2vec_u/grid.py RUN FEATURES TEXT --seeds 5 --gradient-penalty 1.5 2 \\
        --code-penalty 2 4 --smoothness-weight 0.5 0.75 1 --jobs 4

FEATURES is a folder of `vqw2v segment`, TEXT one of `vqw2v phones`. All trials run for a share of the
updates; by their scores the better half goes on, round after round, and the others are cut short. A killed
grid goes on where it was. The table is RUN/grid/grid.md; with `--measure LABELS` true errors stand in it, and
nothing goes by them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vqw2v_plugin.analysis import grid as library
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import run_or_say

HERE = Path(__file__).resolve().parent


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", default="w2vu", metavar="NAME", help="yaml beside this file (default: %(default)s)")
    add(
        "--seeds", type=int, default=8, metavar="N", help="seeds 1 to N of each choice (default: %(default)s)"
    )
    for name in library.WEIGHTS:
        option = f"--{name.replace('_', '-')}"
        add(option, type=float, nargs="+", default=[], metavar="WEIGHT", help="default: the yaml's alone")
    add("--updates", type=int, metavar="N", help="of the trials that go on to the end (default: the yaml's)")
    add("--rounds", type=int, default=3, metavar="N", help="after each but the last half go on (default: 3)")
    add("--settings", nargs="+", default=[], metavar="SECTION.NAME=VALUE", help="of the yaml, for all trials")
    add("--measure", type=Path, metavar="LABELS", help="true phones, which nothing goes by")
    pipeline.add_jobs(parser)


def grid_of(
    args: argparse.Namespace, run: Path, settings: Sequence[str], minutes: float = 5.0
) -> library.Grid:
    """`settings` say what is learnt from, of whatever trial."""
    config = HERE / f"{args.config}.yaml"
    if not config.is_file():
        raise ValueError(f"`--config` is {args.config}, and there is no {config}")
    weights = {name: getattr(args, name) for name in library.WEIGHTS if getattr(args, name)}
    trials = library.all_trials(range(1, args.seeds + 1), weights)
    updates = args.updates or yaml_updates(config)
    return library.Grid(run, config, (*settings, *args.settings), trials, updates, args.rounds, minutes)


def yaml_updates(config: Path) -> int:
    from omegaconf import OmegaConf

    return int(OmegaConf.load(config).optimization.max_update)


def tell(grid: library.Grid, ranked: list[library.Found], text: Path) -> None:
    model = library.text_model(text)
    library.write_table(grid.run, ranked, model)
    print("\n".join(["", *library.table(ranked, model)]))
    print(f"\nchosen: {ranked[0].checkpoint}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("features", type=Path, metavar="FEATURES")
    parser.add_argument("text", type=Path, metavar="TEXT")
    add_grid_arguments(parser)
    args = parser.parse_args()

    def run() -> None:
        settings = [f"task.data={args.features.resolve()}", f"task.text={args.text.resolve()}"]
        settings += [] if args.measure is None else [f"task.measure={args.measure.resolve()}"]
        grid = grid_of(args, args.run.resolve(), settings)
        tell(grid, library.run_grid(grid, [], args.jobs), args.text)

    return run_or_say("grid.py", run)


if __name__ == "__main__":
    sys.exit(main())
