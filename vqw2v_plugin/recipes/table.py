"""Comparisons: a recipe whose stages end in the rows of one table, which grows as they finish."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Protocol, TypeVar

from .runner import Stage, finished, run_or_say, run_recipe


class Planned(Protocol):
    """Where the run is, and how many stages run side by side."""

    @property
    def run(self) -> Path: ...
    @property
    def jobs(self) -> int: ...


Plan = TypeVar("Plan", bound=Planned)


def finish(
    script: str,
    table: str,
    planned: Callable[[], Plan],
    listed: Callable[[Plan], Iterable[Stage]],
    write: Callable[[Plan, Set[str]], None],
) -> int:
    """Runs the stages, writes the table of finished rows after each, and returns the exit status."""

    def run() -> None:
        plan = planned()
        wanted = list(listed(plan))

        def write_done() -> None:
            write(plan, finished(plan.run, wanted))

        write_done()
        run_recipe(plan.run, wanted, after=lambda _: write_done(), jobs=plan.jobs, threads=1)
        print((plan.run / table).read_text(encoding="utf-8"))

    return run_or_say(script, run)


def spread(rates: Sequence[float]) -> str:
    """Mean, and the standard deviation between seeds."""
    if not rates:
        return ""
    more = f" ± {statistics.stdev(rates):.1f}" if len(rates) > 1 else ""
    return f"{statistics.mean(rates):.1f}{more}"
