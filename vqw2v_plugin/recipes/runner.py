"""Whole pipelines: a recipe lists its stages, each the public command that a user would type.

A stage is printed as it runs and logged into its folder. A finished one is skipped; it runs anew, from
nothing, when its commands, its yaml or a stage that it needs have changed. A killed recipe resumes where it
stopped. Stages that do not need each other may run side by side.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..common.files import make_folder
from ..common.locks import LockedError, lock_file
from ..common.words import lines_of
from .folder import LOCK, LOG, StageError, Stamp, begin, finish, hash_of, is_done
from .processes import Processes, ended_by_signals
from .screen import Screen, StageBar, TimeLeft

_LOOK_AGAIN = 1.0  # seconds between two looks at a stage that another run is making
_BAR = re.compile(r": \[[# ]+\] +\d+%")  # a progress bar of our commands, as a log holds it
_UPDATES = re.compile(r"\bnum_updates=(\d+)")
_READY = "begin training epoch"  # what fairseq says once everything is loaded
_NOTES = re.compile(r"\b(loss|accuracy|code_perplexity|uer|wer)=([0-9.]+)")


@dataclass(frozen=True)
class Stage:
    """One command, or a few that belong together; `name` is its folder under the run."""

    name: str
    commands: Sequence[Sequence[str]]
    title: str  # what the user reads before it runs
    minutes: float  # about how long
    needs: Sequence[str] = ()  # the stages whose results it reads
    reads: Sequence[Path] = ()  # the user's own files that it reads, such as a yaml
    shown: str = ""  # a regular expression: the lines of its output that the user sees
    updates: int = 0  # how many there will be, if it is a training
    result: str = ""  # what the user finds in the folder, and what it is good for


def run_recipe(
    run: Path,
    stages: Sequence[Stage],
    after: Callable[[Stage], None] = lambda stage: None,
    *,
    jobs: int = 1,
    threads: int | None = None,
) -> None:
    """Runs all stages, up to `jobs` side by side, each once what it needs is there; a failure ends them all.

    `after` is called with each stage that was run. `threads` is how many a stage computes with, unless the
    user has set OMP_NUM_THREADS.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; expected how many stages may run side by side, from 1 on")
    make_folder(run)
    runner = _StageRunner(run, stages, jobs, threads)
    waiting = list(runner.waiting)
    ready = {stage.name for stage in stages} - {stage.name for stage in waiting}

    def end(stage: Stage, seconds: float | None) -> None:
        runner.say_done(stage, seconds)
        ready.add(stage.name)
        after(stage)

    for stage in stages:
        if stage.name in ready:
            runner.say_done_before(stage)
    with ended_by_signals(), ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[float | None], Stage] = {}
        try:
            while waiting or running:
                for stage in [stage for stage in waiting if ready.issuperset(runner.needs[stage.name])]:
                    if len(running) < jobs:
                        waiting.remove(stage)
                        runner.say_begun(stage)
                        running[pool.submit(runner.work, stage)] = stage
                ended = wait(running, return_when=FIRST_COMPLETED).done
                for future in sorted(ended, key=lambda future: future.exception() is not None):
                    end(running.pop(future), future.result())
        except BaseException:
            runner.stop()
            for future in wait(running).done:  # those that ended well meanwhile
                if future.exception() is None:
                    end(running[future], future.result())
            raise


def run_or_say(script: str, run: Callable[[], None]) -> int:
    """Runs a recipe's script and returns its exit status; an error is told in one line, not a traceback."""
    try:
        run()
    except (StageError, ValueError, OSError, KeyboardInterrupt) as error:
        print(
            f"{script}: {str(error) or 'interrupted'}; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        return 1
    return 0


def all_needs(stages: Sequence[Stage]) -> dict[str, set[str]]:
    """What each stage needs, directly and through other stages."""
    found: dict[str, set[str]] = {}
    for stage in stages:
        found[stage.name] = set(stage.needs).union(*(found[need] for need in stage.needs))
    return found


def stage_stamps(stages: Sequence[Stage]) -> dict[str, Stamp]:
    """What each stage's results depend on: its commands, its files, and the stamps of the stages it needs."""
    stamps: dict[str, Stamp] = {}
    for stage in stages:
        for need in stage.needs:
            if need not in stamps:
                raise ValueError(f"stage {stage.name} needs {need}, which is no stage before it")
        if stage.name in stamps:
            raise ValueError(f"two stages are called {stage.name}; a stage's name is its folder")
        stamps[stage.name] = Stamp(
            tuple(shlex.join(command) for command in stage.commands),
            tuple((need, stamps[need].hash) for need in stage.needs),
            tuple((str(file), hash_of(file.read_bytes())) for file in stage.reads),
        )
    return stamps


def finished(run: Path, stages: Sequence[Stage]) -> set[str]:
    """Names of the stages whose results are there, made by these very commands and files."""
    return {name for name, stamp in stage_stamps(stages).items() if is_done(run / name, stamp)}


class _StageRunner:
    """Runs stages, each in a thread of its own, and tells the user."""

    def __init__(self, run: Path, stages: Sequence[Stage], jobs: int, threads: int | None) -> None:
        self._run, self._stages, self._jobs = run, stages, jobs
        self._stamps, self.needs = stage_stamps(stages), all_needs(stages)
        self.waiting = [s for s in stages if not is_done(run / s.name, self._stamps[s.name])]
        self._processes = Processes({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
        self._screen = Screen(sys.stdout)
        self._time_left = TimeLeft({stage.name: stage.minutes for stage in self.waiting}, self.needs, jobs)
        left = self._time_left.in_words() or "all of them done before"
        self._screen.say(f"{len(stages)} stages, {left}; a second run goes on where this one stops")

    def say_done_before(self, stage: Stage) -> None:
        before = f"    done before: {self._run / stage.name}"
        self._screen.say("", f"{self._numbered(stage)} {stage.title}", before, *self._shown(stage))

    def say_begun(self, stage: Stage) -> None:
        self._time_left.begin(stage.name)
        about = f"    about {stage.minutes:.2g} min; log: {self._run / stage.name / LOG}"
        commands = [f"    $ {shlex.join(command)}" for command in stage.commands]
        self._screen.say("", f"{self._numbered(stage)} {stage.title}", about, *commands)

    def say_done(self, stage: Stage, seconds: float | None) -> None:
        """With those lines of its output that the user is to see."""
        self._time_left.end(stage.name, seconds)
        which = f"{self._numbered(stage)} " if self._jobs > 1 else ""
        how = "done by another run" if seconds is None else f"done in {seconds:.0f} s"
        left = self._time_left.in_words()
        self._screen.say(
            f"    {which}{how}: {stage.result or self._run / stage.name}",
            *self._shown(stage),
            *([f"    {left} left in all"] if left else []),
        )

    def _numbered(self, stage: Stage) -> str:
        return f"[{self._stages.index(stage) + 1}/{len(self._stages)}]"

    def work(self, stage: Stage) -> float | None:
        """Runs its commands in turn; returns the seconds they took, or None if another run has made it."""
        folder, stamp = self._run / stage.name, self._stamps[stage.name]
        with self._lock(stage, folder) as lock:
            if is_done(folder, stamp):
                return None
            begin(folder, stamp)
            began = time.monotonic()
            try:
                for command in stage.commands:
                    see = self._line_watcher(stage)
                    if status := self._processes.run(command, folder / LOG, see, lock):
                        raise self._failure(stage, status, folder / LOG)
            finally:
                self._screen.remove_bar(stage.name)
            finish(folder, stamp)
        return time.monotonic() - began

    def stop(self) -> None:
        """Ends what runs, and lets nothing begin."""
        self._screen.say("    stopping what runs")
        self._processes.stop()

    @contextmanager
    def _lock(self, stage: Stage, folder: Path) -> Iterator[int]:
        """Holds the stage's lock, once no other run holds it."""
        with ExitStack() as stack:
            waited = False
            while True:
                self._processes.check()
                try:
                    lock = stack.enter_context(lock_file(folder, LOCK))
                    break
                except LockedError:
                    if not waited:
                        self._screen.say(f"    {self._numbered(stage)} another run is at it: waiting")
                    waited = True
                    time.sleep(_LOOK_AGAIN)
            yield lock

    def _shown(self, stage: Stage) -> list[str]:
        """The lines of a finished stage's output that the user is to see."""
        if not stage.shown:
            return []
        said = lines_of((self._run / stage.name / LOG).read_text(encoding="utf-8", errors="replace"))
        return [f"    {line}" for line in said if re.search(stage.shown, line)]

    def _line_watcher(self, stage: Stage) -> Callable[[str], None]:
        """A function that reads each line of a command's output and shows bars and updates on the screen."""
        bar = StageBar(stage.name, stage.updates, self._screen) if stage.updates else None
        is_ready = False

        def see(line: str) -> None:
            nonlocal is_ready
            found = _UPDATES.search(line)
            if bar is not None and not is_ready and _READY in line:
                is_ready = True  # short epochs pass before the first updates are logged
                bar.begin()
            elif bar is not None and found and "train_inner" in line:
                bar.note = "  ".join(f"{name} {value}" for name, value in _NOTES.findall(line))
                bar.advance(int(found[1]) - bar.done)
            elif _BAR.search(line):
                self._screen.show_bar(stage.name, f"    {stage.name}: {line.strip()}")

        return see

    def _failure(self, stage: Stage, status: int, log: Path) -> StageError:
        """Shows the user its last lines."""
        tail = lines_of(log.read_text(encoding="utf-8", errors="replace"))[-15:]
        self._screen.say(f"    {stage.name} said last:", *tail)
        return StageError(f"stage {stage.name} failed (status {status}); all it said is in {log}")
