"""What a user sees of a running recipe: lines of text, a bar for each running stage, the time left."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TextIO

from ..common.progress import Progress


class Screen:
    """Lines that stay and, on a terminal, bars of what is running below them; threads may share it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._on_terminal = stream.isatty()
        self._bars: dict[str, str] = {}
        self._drawn = 0  # lines of bars on the terminal
        self._lock = threading.Lock()

    def say(self, *lines: str) -> None:
        with self._lock:
            self._redraw(lines)

    def show_bar(self, name: str, text: str) -> None:
        """Draws the bar of this name anew; in a log, which cannot be redrawn, it is one more line."""
        with self._lock:
            if self._on_terminal:
                self._bars[name] = text
            self._redraw(() if self._on_terminal else (text,))

    def remove_bar(self, name: str) -> None:
        """Removes a bar."""
        with self._lock:
            if self._bars.pop(name, None) is not None:
                self._redraw(())

    def _redraw(self, lines: Sequence[str]) -> None:
        wiped = "\r\x1b[K" + "\x1b[1A\x1b[K" * (self._drawn - 1) if self._drawn else ""
        width = shutil.get_terminal_size().columns - 1
        bars = [text[:width] for text in self._bars.values()]
        self._drawn = len(bars)
        self.stream.write(wiped + "".join(f"{line}\n" for line in lines) + "\n".join(bars))
        self.stream.flush()


class StageBar(Progress):
    """A bar of updates on a screen."""

    def __init__(self, name: str, updates: int, screen: Screen) -> None:
        super().__init__(f"    {name}", updates, screen.stream)
        self._name, self._screen = name, screen

    def show(self, text: str) -> None:
        self._screen.show_bar(self._name, text)


class TimeLeft:
    """How long the rest takes: the stages' own estimates, corrected by how long the finished ones took."""

    def __init__(self, minutes: Mapping[str, float], needs: Mapping[str, Collection[str]], jobs: int) -> None:
        """`minutes` has the stages that are still to run, in their order."""
        self._minutes, self._needs, self._jobs = minutes, needs, jobs
        self._waiting = list(minutes)
        self._began: dict[str, float] = {}  # the running stages
        self._guessed = self._taken = 0.0

    def begin(self, name: str) -> None:
        self._waiting.remove(name)
        self._began[name] = time.monotonic()

    def end(self, name: str, seconds: float | None) -> None:
        """`seconds` is None if another run has made it, which tells nothing about the pace of this one."""
        del self._began[name]
        if seconds is not None and self._minutes[name]:
            self._guessed += self._minutes[name]
            self._taken += seconds / 60

    def in_words(self) -> str:
        """As the user reads it; empty when nothing is left."""
        if not (self._waiting or self._began):
            return ""
        # The estimates count as two minutes of evidence: a short first stage says little about the machine.
        pace = (self._taken + 2) / (self._guessed + 2)
        now = time.monotonic()
        ends = {
            name: max(self._minutes[name] * pace - (now - began) / 60, 0.0)
            for name, began in self._began.items()
        }
        unfinished = {*self._waiting, *self._began}
        needs = {name: unfinished.intersection(self._needs[name]) for name in self._waiting}
        rest = {name: self._minutes[name] * pace for name in self._waiting}
        minutes = _last_end(ends, rest, needs, self._jobs)
        return "less than a minute" if minutes < 0.75 else f"about {minutes:.0f} min"


def _last_end(
    ends: Mapping[str, float], minutes: Mapping[str, float], needs: Mapping[str, Collection[str]], jobs: int
) -> float:
    """Minutes until everything is finished, if whatever can begin first takes the next free place."""
    ended = dict(ends)
    free = [*ended.values(), *[0.0] * (jobs - len(ended))]
    waiting = list(minutes)
    while waiting:
        begins = {
            name: max([min(free), *(ended[need] for need in needs[name])])
            for name in waiting
            if all(need in ended for need in needs[name])
        }
        name = min(begins, key=begins.__getitem__)
        waiting.remove(name)
        free.remove(min(free))
        ended[name] = begins[name] + minutes[name]
        free.append(ended[name])
    return max(ended.values(), default=0.0)
