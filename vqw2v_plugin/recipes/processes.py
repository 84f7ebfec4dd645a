"""A recipe's commands as processes: their output goes into logs, and none outlives the recipe."""

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
    """Everything was stopped, and nothing may begin any more."""


class Processes:
    """The processes that are running; threads may share one object."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._stopped = False
        self._environ = {**environ, **os.environ, "PYTHONUNBUFFERED": "1"}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, command: Sequence[str], log: Path, see: Callable[[str], None], lock: int) -> int:
        """Runs a command and returns its status; each line of output is added to the log and given to `see`.

        It inherits the file descriptor `lock`: the lock is held as long as it lives, even if we do not.
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
        self.check()  # a process that was told to stop may still end with status 0
        return process.returncode

    def check(self) -> None:
        """Raises StoppedError after a stop."""
        if self._stopped:
            raise StoppedError("all was stopped")

    def stop(self) -> None:
        """Ends all processes and those that they have started, and lets nothing begin."""
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
                start_new_session=True,  # a group of its own, to be ended as a whole
                pass_fds=[lock],
            )
            self._running.add(process)
        return process


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):  # the whole group has ended
        os.killpg(process.pid, number)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turns a kill and a closed terminal into exceptions, as Ctrl-C is, so that no process is left behind."""

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
