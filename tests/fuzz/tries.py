"""One try in a process of its own, which may crash, hang or swell: then the system ends it, and says why."""

from __future__ import annotations

import faulthandler
import logging
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cases import Files, write_files
from judge import judge

CPU_SECONDS, WALL_SECONDS = 10, 120  # of one execution; beyond them it hangs
MEMORY = 1 << 30  # bytes that one may take
_RSS = 1 if sys.platform == "darwin" else 1024  # bytes of a unit of ru_maxrss


def guarded(work: Callable[[], None]) -> str:
    """Runs it in a process of its own; why that died, or "". Before each try it calls `rearm`."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            _silence()
            bound_memory()
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        return "" if os.WEXITSTATUS(status) == 0 else f"exit status {os.WEXITSTATUS(status)}"
    died = os.WTERMSIG(status)
    if died == signal.SIGPROF:
        return f"hangs: more than {CPU_SECONDS} seconds of CPU"
    return f"hangs: waits for {WALL_SECONDS} s" if died == signal.SIGALRM else signal.Signals(died).name


def rearm() -> None:
    """The clocks by which the system ends a process that hangs, in C too."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)


def _silence() -> None:
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    logging.disable(logging.CRITICAL)
    for sign in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(sign, signal.SIG_DFL)


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is printed in this block."""
    kept, nothing = [os.dup(descriptor) for descriptor in (1, 2)], os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, 1), os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)


def bound_memory() -> None:
    """What a try may take beyond what its process has already."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux: what was taken is looked at afterwards alone
        return
    most = pages * mmap.PAGESIZE + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def tried(read: Callable[[Path], object], files: Files, folder: Path) -> str:
    """What one execution did wrong, in a process of its own."""
    write_files(files, folder)
    said = folder.with_name("said")
    said.write_text("")

    def work() -> None:
        rearm()
        before = peak()
        why = judge(read, folder)
        said.write_text(why or swollen(before))

    return guarded(work) or said.read_text()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS


def swollen(before: int) -> str:
    taken = peak() - before
    return f"takes {taken >> 20} MiB" if taken > MEMORY // 2 else ""
