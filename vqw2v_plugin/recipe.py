"""Whole pipelines: a recipe lists its stages, each the public command that a user would type.

A stage is printed as it runs and logged into its folder. A finished one is skipped; it runs anew, from
nothing, when its commands, its yaml or a stage that it needs have changed. A killed recipe goes on where it
stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .data.progress import Progress
from .data.whole import write_whole

LOG, BEGUN, DONE = "log.txt", "begun", "done"
_BAR = re.compile(r": \[[# ]+\] +\d+%")  # of our commands, in a log
_UPDATES = re.compile(r"\bnum_updates=(\d+)")
_NOTES = re.compile(r"\b(loss|accuracy|code_perplexity|uer|wer)=([0-9.]+)")


@dataclass(frozen=True)
class Stage:
    """One command, or a few that belong together; `name` is its folder under the run."""

    name: str
    commands: Sequence[Sequence[str]]
    says: str  # what the user reads before it runs
    minutes: float  # about how long, on 2 cores
    needs: Sequence[str] = ()  # the stages whose results it reads
    reads: Sequence[Path] = ()  # files of the user's that it reads, such as a yaml
    shows: str = ""  # a regular expression: the lines of its output that the user sees
    updates: int = 0  # of a training: how many there will be
    gives: str = ""  # what the user finds in the folder, and what it is good for


class StageError(RuntimeError):
    """A stage that failed; the message names its log."""


def run_recipe(
    run: Path, stages: Sequence[Stage], after: Callable[[Stage], None] = lambda stage: None
) -> None:
    """All stages in order, `after` each of them what the caller wants; stops at the first that fails."""
    run.mkdir(parents=True, exist_ok=True)
    stamps = stage_stamps(stages)
    clock = _Clock(
        [0.0 if _is_done(run / stage.name, stamps[stage.name]) else stage.minutes for stage in stages]
    )
    print(f"{len(stages)} stages, {clock.left()}; a second run goes on where this one stops", flush=True)
    for number, stage in enumerate(stages, 1):
        print(f"\n[{number}/{len(stages)}] {stage.says}", flush=True)
        with clock.stage(number - 1):
            _run_stage(run / stage.name, stage, stamps[stage.name])
        after(stage)


def stage_stamps(stages: Sequence[Stage]) -> dict[str, str]:
    """What each stage's results depend on: its commands, its files, and the stamps of the stages it needs."""
    stamps: dict[str, str] = {}
    for stage in stages:
        lines = [shlex.join(command) for command in stage.commands]
        for need in stage.needs:
            if need not in stamps:
                raise ValueError(f"stage {stage.name} needs {need}, which is no stage before it")
            lines.append(f"after {need} {hashlib.sha256(stamps[need].encode()).hexdigest()[:16]}")
        for file in stage.reads:
            lines.append(f"with {file} {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}")
        if stage.name in stamps:
            raise ValueError(f"two stages are called {stage.name}; a stage's name is its folder")
        stamps[stage.name] = "\n".join(lines) + "\n"
    return stamps


def finished(run: Path, stages: Sequence[Stage]) -> set[str]:
    """Names of the stages whose results are there and of today's commands and files."""
    return {name for name, stamp in stage_stamps(stages).items() if _is_done(run / name, stamp)}


def _run_stage(folder: Path, stage: Stage, stamp: str) -> None:
    if _is_done(folder, stamp):
        print(f"    done before: {folder}")
        for line in (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            if stage.shows and re.search(stage.shows, line):
                print(f"    {line}")
        return
    _make_room(folder, stamp)
    print(f"    about {stage.minutes:g} min; log: {folder / LOG}", flush=True)
    began = time.monotonic()
    for command in stage.commands:
        print(f"    $ {shlex.join(command)}", flush=True)
        status = _logged(command, stage, folder / LOG)
        if status:
            tail = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            print("\n".join(tail), file=sys.stderr)
            raise StageError(f"stage {stage.name} failed (status {status}); all it said is in {folder / LOG}")
    write_whole(folder / DONE, stamp)
    print(f"    done in {time.monotonic() - began:.0f} s: {stage.gives or folder}", flush=True)


def _is_done(folder: Path, stamp: str) -> bool:
    done = folder / DONE
    return done.is_file() and done.read_text(encoding="utf-8") == stamp


def _make_room(folder: Path, stamp: str) -> None:
    """The folder for a stage that is to run: what was begun with other settings goes, and only that."""
    begun = folder / BEGUN
    if begun.is_file() and begun.read_text(encoding="utf-8") != stamp:
        shutil.rmtree(folder)
    elif folder.is_dir() and not begun.is_file() and any(folder.iterdir()):
        raise StageError(f"{folder} is there and no recipe made it; move it away, or name another run")
    write_whole(begun, stamp)


def _logged(command: Sequence[str], stage: Stage, log: Path) -> int:
    """Runs a command with its output behind what the log holds, showing what the stage wants shown."""
    screen = _Screen(stage, sys.stdout)
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                screen.see(line)
        except BaseException:
            process.terminate()
            raise
        finally:
            screen.close()
    return process.returncode


class _Screen:
    """What the user sees of a running stage: chosen lines, and one bar."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        self._stage, self._stream = stage, stream
        self._shows = re.compile(stage.shows) if stage.shows else None
        self._bar = Progress(f"    {stage.name}", stage.updates, stream) if stage.updates else None
        self._passing = False  # a bar of the command itself stands on the terminal's last line

    def see(self, line: str) -> None:
        """One line of output."""
        found = _UPDATES.search(line)
        if self._bar is not None and found and "train_inner" in line:
            self._bar.note = "  ".join(f"{name} {value}" for name, value in _NOTES.findall(line))
            self._bar.advance(int(found[1]) - self._bar.done)
        elif _BAR.search(line):
            self._pass_on(line)
        elif self._shows is not None and self._shows.search(line):
            self.close()
            print(f"    {line.rstrip()}", file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves no bar on the terminal."""
        if self._bar is not None:
            self._bar.wipe()
        if self._passing:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._passing = False

    def _pass_on(self, line: str) -> None:
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns
            print(f"\r{'    ' + line.rstrip():.{width - 1}}\x1b[K", end="", file=self._stream, flush=True)
            self._passing = True
        else:
            print(f"    {line.rstrip()}", file=self._stream, flush=True)


class _Clock:
    """How long the rest takes: the stages' own estimates, corrected by how long the finished ones took."""

    def __init__(self, minutes: Sequence[float]) -> None:
        self._minutes = list(minutes)
        self._guessed = self._taken = 0.0

    def left(self) -> str:
        """In words."""
        # Two minutes' faith in the estimates: a first stage of seconds says little of this machine.
        pace = (self._taken + 2) / (self._guessed + 2)
        minutes = sum(self._minutes) * pace
        return "less than a minute" if minutes < 0.75 else f"about {minutes:.0f} min"

    @contextmanager
    def stage(self, index: int) -> Iterator[None]:
        """Around a stage that runs; says afterwards what is left."""
        began = time.monotonic()
        yield
        guessed, self._minutes[index] = self._minutes[index], 0.0
        if guessed:
            self._guessed += guessed
            self._taken += (time.monotonic() - began) / 60
            if any(self._minutes):
                print(f"    {self.left()} left in all", flush=True)
