"""Whether learning without labels works: made-up languages, of which each training is a rung.

    python examples/wav2vec_u/ladder.py OUT --seeds 8

On each rung several seeds are trained with `toy.yaml`, and the one is chosen whose `weighted_lm_ppl` is the
least: no label is read for it. What it got wrong stands beside it, as for the others. The language `flat`, in
which any phone follows any other, cannot be learnt, and the score says so: text whose order hardly matters
tells nothing, and what is recognised is called text where its score is nearer to the text's own perplexity
than to that of phones one by one.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from language import RUNGS, SIZES, make

from vqw2v_plugin.analysis.curves import Curves, parse_log
from vqw2v_plugin.analysis.grid import least_scored, score_of, text_model
from vqw2v_plugin.text.ngram_score import TextModel

HERE = Path(__file__).resolve().parent
PLUGIN = HERE.parents[1] / "vqw2v_plugin"
LOG = "screen.log"
TITLES = {"L0": "symbols at hidden places", "L1": "Gaussians in runs", "flat": "any phone after any other"}
# a symbol is one number, and a phone of L1 is 32: the same rate moves its scores less
SETTINGS = {
    "L0": ["model.segments=none", "optimization.lr=[0.01]", "optimization.max_update=800"],
    "L1": [],
    "flat": [],
}


@dataclass(frozen=True)
class Run:
    """One seed: its least score, what was in use and wrong at that moment, and how long it took."""

    seed: int
    score: float
    updates: int
    used: float
    error: float
    seconds: float


def command(data: Path, out: Path, seed: int, more: Sequence[str]) -> list[str]:
    settings = {
        "common.user_dir": PLUGIN,
        "common.seed": seed,
        "task.data": data / "features",
        "task.text": data / "text",
        "task.measure": data / "labels",
        "checkpoint.save_dir": out,
        "hydra.run.dir": out,
    }
    said = [f"{name}={value}" for name, value in settings.items()]
    return ["fairseq-hydra-train", "--config-dir", str(HERE), "--config-name", "toy", *said, *more]


def train(data: Path, seeds: Sequence[int], jobs: int, more: Sequence[str]) -> list[Run]:
    """So many at a time; one that is there already is not trained anew."""
    running: dict[int, tuple[BaseProcess, float]] = {}  # by what tells that it has ended
    folders = {seed: data / f"seed{seed}" for seed in seeds}

    def end_one() -> None:
        for ended in wait(list(running)):
            child, begin = running.pop(ended)  # type: ignore[call-overload]
            child.join()
            out = Path(child.name)
            if child.exitcode:
                raise ValueError(f"{out / LOG}: the training failed; what it said stands there")
            (out / "done").write_text(f"{time.perf_counter() - begin:.1f}\n")

    for seed, out in folders.items():
        if (out / "done").is_file():
            continue
        if len(running) == jobs:
            end_one()
        out.mkdir(parents=True, exist_ok=True)
        words = command(data.resolve(), out.resolve(), seed, more)
        child = get_context("fork").Process(target=_be_fairseq, args=(out / LOG, words), name=str(out))
        child.start()
        running[child.sentinel] = child, time.perf_counter()
    while running:
        end_one()
    return [
        chosen(parse_log((out / LOG).read_text(encoding="utf-8")), seed, float((out / "done").read_text()))
        for seed, out in folders.items()
    ]


def _be_fairseq(log: Path, words: Sequence[str]) -> None:
    """In a child that has everything imported: fairseq's program, whose words go into a log."""
    import torch
    from fairseq_cli import hydra_train

    with open(log, "w", encoding="utf-8") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    torch.set_num_threads(1)
    sys.argv[:] = words
    hydra_train.cli_main()
    sys.stdout.flush()
    os._exit(0)  # what its parent has open is not ended here


def chosen(curves: Curves, seed: int, seconds: float) -> Run:
    """The validation of the least score; `uer` is looked at behind that."""
    best = least_scored(curves)
    if best is None:
        raise ValueError(f"seed {seed}: was never validated; train for longer")
    used, error = best.values["vocab_seen_pct"], best.values.get("uer", math.nan)
    return Run(seed, score_of(best), best.updates, used, error, seconds)


def table(rung: str, runs: Sequence[Run], text: TextModel) -> list[str]:
    best = min(runs, key=lambda run: run.score)
    found = "the score says that it is text" if text.is_text(best.score) else "the score says: NOT learnt"
    rows = [
        f"{rung}: {TITLES[rung]}; the text's perplexity is {text.of_text:.2f}, that of phones one by one "
        f"{text.of_phones:.2f}",
        "   seed    score  updates  phones used   error %  seconds",
    ]
    for run in sorted(runs, key=lambda run: run.score):
        rows.append(
            f"{'→' if run is best else ' '}{run.seed:>6}{run.score:>9.2f}{run.updates:>9}{run.used:>13.0%}"
            f"{run.error:>10.1f}{run.seconds:>9.0f}"
        )
    return [*rows, f"   chosen by its score: seed {best.seed}, error {best.error:.1f} %; {found}", ""]


def climb(args: argparse.Namespace, say: Callable[[str], None] = print) -> dict[str, list[Run]]:
    import_module("fairseq_cli.hydra_train")  # once, for all children
    import_module("vqw2v_plugin").register()
    found = {}
    for rung in args.rungs:
        data = args.out / rung
        if not (data / "labels" / "labels.json").is_file():
            make(data, rung, args.language, {**SIZES, "train": args.utterances})
        more = [*SETTINGS[rung], *args.settings]
        found[rung] = train(data, range(1, args.seeds + 1), args.jobs, more)
        say("\n".join(table(rung, found[rung], text_model(data / "text"))))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=RUNGS, help="default: all")
    parser.add_argument("--seeds", type=int, default=8, help="trainings of a rung (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (default: %(default)s)")
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
    args = parser.parse_args()
    if min(args.seeds, args.jobs, args.utterances) < 1 or args.language < 0:
        print(
            "ladder.py: error: `--seeds`, `--jobs` and `--utterances` are numbers from 1 up", file=sys.stderr
        )
        return 2
    try:
        climb(args)
    except (ValueError, OSError) as error:
        print(f"ladder.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
