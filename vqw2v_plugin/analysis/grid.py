"""features ──generator──▶ phones, from many beginnings: seeds × weights in rounds, chosen without a label.

A trial is a training. After each round the better half of the trials goes on from where it was, by the least
`weighted_lm_ppl` that a trial has had; the others are cut short. True errors stand beside the scores where a
training has measured them, and nothing goes by them.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..common.files import write_whole
from ..recipes.folder import LOG, read_text
from ..recipes.runner import Stage, run_recipe
from ..recipes.stages import train
from ..stores.phone_text import SPLITS, read_phone_lines
from ..text.ngram_score import TextModel, model_of_text
from ..text.units import UNSPOKEN
from .curves import Curves, Point, parse_log

SCORE = "weighted_lm_ppl"
WEIGHTS = {  # options of the model that a grid goes over, by what they are called in a trial's name
    "gradient_penalty": "gp",
    "code_penalty": "cp",
    "smoothness_weight": "sm",
    "skipgram_weight": "sk",
}
FOLDER = "grid"


@dataclass(frozen=True)
class Trial:
    """One beginning: a seed, and what it sets."""

    seed: int
    weights: tuple[tuple[str, float], ...]  # options of the model

    @property
    def name(self) -> str:
        said = [f"{WEIGHTS[name]}{value:g}" for name, value in self.weights]
        return "_".join([*said, f"seed{self.seed}"])

    @property
    def settings(self) -> list[str]:
        return [f"common.seed={self.seed}", *(f"model.{name}={value:g}" for name, value in self.weights)]


@dataclass(frozen=True)
class Found:
    """A trial's best validation so far."""

    trial: Trial
    score: float
    updates: int  # at that validation
    trained: int  # updates in all
    used: float  # share of the phones
    error: float | None  # %, where it was measured
    checkpoint: Path


@dataclass(frozen=True)
class Grid:
    """What is trained, on what."""

    run: Path
    config: Path
    settings: tuple[str, ...]  # of all trials: task.data, task.text and what was asked for besides
    trials: tuple[Trial, ...]
    updates: int
    rounds: int
    minutes: float = 5.0  # about, of a trial

    def __post_init__(self) -> None:
        if not self.trials:
            raise ValueError("the grid has no trials; expected a seed and a value of each weight at least")
        if not 1 <= self.rounds <= 10 or self.updates < 2**self.rounds:
            raise ValueError(
                f"`--rounds` is {self.rounds} and `--updates` {self.updates}; expected 1 to 10 rounds, and "
                f"updates enough to halve them so often"
            )

    def updates_after(self, number: int) -> int:
        """Of the rounds 1, 2, …: each doubles what there was."""
        return self.updates >> (self.rounds - number)

    def stage_name(self, trial: Trial, number: int) -> str:
        return f"{FOLDER}/{trial.name}/{self.updates_after(number)}"

    def stages(self, trial: Trial, last: int, needs: Sequence[str]) -> list[Stage]:
        """A trial's rounds up to the last one that it is in."""
        found: list[Stage] = []
        for number in range(1, last + 1):
            more = [*self.settings, *trial.settings, f"optimization.max_update={self.updates_after(number)}"]
            before = [self.stage_name(trial, number - 1)] if number > 1 else []
            if before:
                more.append(f"checkpoint.restore_file={self.run / before[0] / 'checkpoint_last.pt'}")
            share = self.updates_after(number) / self.updates
            found.append(
                train(
                    *(self.run, self.stage_name(trial, number), self.config, more),
                    title=f"Generator against adversary: {trial.name}, {self.updates_after(number)} updates",
                    minutes=self.minutes * (share if number == 1 else share / 2),
                    needs=[*needs, *before],
                )
            )
        return found

    def stages_of(self, ranked: Sequence[Found], needs: Sequence[str]) -> list[Stage]:
        """Those that all trials came through."""
        after = {self.updates_after(number): number for number in range(1, self.rounds + 1)}
        return [stage for each in ranked for stage in self.stages(each.trial, after[each.trained], needs)]

    def found(self, trial: Trial, last: int) -> Found:
        """Over its rounds the validation of the least score; the error is looked at behind that."""
        best: Found | None = None
        for number in range(1, last + 1):
            folder = self.run / self.stage_name(trial, number)
            point = least_scored(parse_log(read_text(folder / LOG)))
            if point is not None and (best is None or score_of(point) < best.score):
                used = point.values.get("vocab_seen_pct", math.nan)
                best = Found(
                    *(trial, score_of(point), point.updates, self.updates_after(last), used),
                    point.values.get("uer"),
                    folder / "checkpoint_best.pt",
                )
        if best is None:
            raise ValueError(f"{trial.name}: was never validated; see {self.run / FOLDER / trial.name}")
        return best


def least_scored(curves: Curves) -> Point | None:
    """The validation of the least score; None: there was none yet."""
    return min(curves.points.get("valid", ()), key=score_of, default=None)


def score_of(point: Point) -> float:
    return point.values.get(SCORE, math.inf)


def all_trials(seeds: Sequence[int], weights: Mapping[str, Sequence[float]]) -> tuple[Trial, ...]:
    """Every seed with every choice of weights."""
    choices = itertools.product(*([(name, value) for value in values] for name, values in weights.items()))
    return tuple(Trial(seed, weights) for weights in choices for seed in seeds)


def run_grid(
    grid: Grid, before: Sequence[Stage], jobs: int, say: Callable[[str], None] = print
) -> list[Found]:
    """All trials, the best first; `before` are stages that they need, which are done or will be."""
    last = dict.fromkeys(grid.trials, 1)
    going = list(grid.trials)
    for number in range(1, grid.rounds + 1):
        last |= dict.fromkeys(going, number)
        needs = [stage.name for stage in before]
        stages = [stage for trial in grid.trials for stage in grid.stages(trial, last[trial], needs)]
        run_recipe(grid.run, [*before, *stages], jobs=jobs, threads=1)
        ranked = ranked_of(grid.found(trial, last[trial]) for trial in going)
        going = [each.trial for each in ranked[: max(1, math.ceil(len(ranked) / 2))]]
        if number < grid.rounds:
            say(f"round {number}: {len(going)} of {len(ranked)} go on; the best score: {ranked[0].score:.2f}")
    return ranked_of(grid.found(trial, last[trial]) for trial in grid.trials)


def ranked_of(found: Iterable[Found]) -> list[Found]:
    """By the score alone."""
    return sorted(found, key=lambda each: (each.score, each.trial.name))


def text_model(text: Path, lm: str | None = None) -> TextModel:
    """By which a score is judged."""
    spoken = (
        [[phone for phone in line if phone not in UNSPOKEN] for line in read_phone_lines(text, split)]
        for split in SPLITS
    )
    learnt, unseen = ([line for line in part if line] for part in spoken)
    return model_of_text(learnt, unseen, lm)


def table(ranked: Sequence[Found], text: TextModel) -> list[str]:
    """In markdown; errors have a column where any was measured."""
    measured = any(each.error is not None for each in ranked)
    head = ["trial", "score", "updates", "of", "phones used", *(["error, %"] if measured else [])]
    rows = [head, ["---"] * len(head)]
    for each in ranked:
        row = [
            each.trial.name,
            f"{each.score:.2f}",
            f"{each.updates:,}",
            f"{each.trained:,}",
            f"{each.used:.0%}",
        ]
        rows.append([*row, *([_error(each)] if measured else [])])
    verdict = "is text by its score" if text.is_text(ranked[0].score) else "is NOT text by its score"
    said = (
        f"Perplexity of text that the model of phones has not seen: {text.of_text:.2f}; of phones one by "
        f"one: {text.of_phones:.2f}. Chosen without a label: {ranked[0].trial.name}, which {verdict}."
    )
    return [*(f"| {' | '.join(row)} |" for row in rows), "", said]


def _error(found: Found) -> str:
    return "" if found.error is None else f"{found.error:.1f}"


def write_table(run: Path, ranked: Sequence[Found], text: TextModel) -> None:
    """RUN/grid/grid.md and grid.json."""
    rows = [{**asdict(each), "trial": each.trial.name, "checkpoint": str(each.checkpoint)} for each in ranked]
    about = {
        "text": {"of_text": text.of_text, "of_phones": text.of_phones},
        "trials": rows,
        "chosen": rows[0]["trial"],
        "is_text": text.is_text(ranked[0].score),
    }
    write_whole(run / FOLDER / "grid.json", json.dumps(about, indent=1) + "\n")
    write_whole(run / FOLDER / "grid.md", "\n".join(table(ranked, text)) + "\n")
