"""The commands of a recipe as processes: what they say goes into logs, and all end when the recipe does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE = 10.0  # seconds between asking a process to end and ending it


class StoppedError(RuntimeError):
    """All was stopped, and nothing begins any more."""


class Processes:
    """Those that run; threads may share it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._stopped = False
        self._environ = {**environ, **os.environ, "PYTHONUNBUFFERED": "1"}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, command: Sequence[str], log: Path, see: Callable[[str], None], lock: int) -> int:
        """Its status; its output goes behind what the log holds, each line to `see` too.

        It inherits the descriptor `lock`: what that locks stays locked while it lives, even if we do not.
        """
        with open(log, "a", encoding="utf-8") as file, self._started(command, lock) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    file.write(line)
                    see(line)
            except BaseException:
                _signal(process, signal.SIGTERM)
                raise
        with self._lock:
            self._running.discard(process)
        self.check()  # it may have ended early, and well
        return process.returncode

    def check(self) -> None:
        """Raises StoppedError after a stop."""
        if self._stopped:
            raise StoppedError("all was stopped")

    def stop(self) -> None:
        """Ends what runs, with the processes that it started, and lets nothing begin."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _signal(process, signal.SIGTERM)
        timer = threading.Timer(_PATIENCE, self._kill)
        timer.daemon = True
        timer.start()

    def _kill(self) -> None:
        with self._lock:
            for process in self._running:
                _signal(process, signal.SIGKILL)

    def _started(self, command: Sequence[str], lock: int) -> subprocess.Popen[str]:
        with self._lock:
            self.check()
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environ,
                text=True,
                errors="replace",
                start_new_session=True,  # a group of its own: its workers end with it
                pass_fds=[lock],
            )
            self._running.add(process)
        return process


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):  # it has ended, and all that it started
        os.killpg(process.pid, number)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A kill and a closed terminal are exceptions, as Ctrl-C is, so that no process is left behind."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    in_main = threading.current_thread() is threading.main_thread()
    numbers = [
        n for n in (signal.SIGTERM, signal.SIGHUP) if in_main and signal.getsignal(n) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
