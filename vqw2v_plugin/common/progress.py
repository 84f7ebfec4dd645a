"""How far a long command is: a bar on a terminal, a line now and then in a log."""

import os
import sys
import time
from types import TracebackType
from typing import TextIO

_BAR_EVERY, _LINE_EVERY = 0.1, 10.0  # seconds
_WINDOW = 5.0  # seconds over which the speed is taken: what was quick at first says nothing of the rest
_BAR_WIDTH = 24


class Progress:
    """Counts what is done of `total` (None: not known) and says so on stderr."""

    def __init__(self, what: str, total: int | None = None, stream: TextIO | None = None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.note = ""  # stands behind the bar
        self._stream = sys.stderr if stream is None else stream
        self._on_terminal = self._stream.isatty()
        self._shown_at = self._began = time.monotonic()
        self._marks = [(self._began, 0)]

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on_terminal:
            self._write("\r\x1b[K")

    def begin(self) -> None:
        """The time until now was for getting ready, and says nothing of the speed."""
        self._marks = [(time.monotonic(), self.done)]

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._shown_at < (_BAR_EVERY if self._on_terminal else _LINE_EVERY):
            return
        self._shown_at = now
        self.show(self._text(now))

    def show(self, text: str) -> None:
        """Puts the bar where it belongs; another face may put it elsewhere."""
        if self._on_terminal:
            width = self._width()
            self._write(f"\r{text[: width - 1]}\x1b[K")
        else:
            self._write(f"{text}\n")

    def _text(self, now: float) -> str:
        while len(self._marks) > 1 and now - self._marks[1][0] > _WINDOW:
            self._marks.pop(0)
        since, before = self._marks[0]
        speed = (self.done - before) / max(now - since, 1e-9)
        self._marks.append((now, self.done))
        if self.total is None:
            return f"{self.what}: {self.done:,}"
        share = self.done / max(self.total, 1)
        bar = "#" * int(share * _BAR_WIDTH)
        left = _clock((self.total - self.done) / speed) if speed > 0 else "?"
        return (
            f"{self.what}: [{bar:<{_BAR_WIDTH}}] {int(100 * share):3d}% {self.done:,} of {self.total:,}, "
            f"{speed:,.{0 if speed >= 10 else 1}f}/s, {left} left{'  ' if self.note else ''}{self.note}"
        )

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
