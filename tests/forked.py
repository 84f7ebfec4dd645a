"""Something done in a child process that has torch and fairseq already, so that it leaves no trace here."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status (or minus a signal's number), and all that it said."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def in_child(work: Callable[[], object], folder: Path, *, seconds: int = 120, **environ: str) -> Ended:
    """Calls `work` in a child that stands in `folder`; what it returns or exits with is the status."""
    child = begin_child(work, folder, seconds=seconds, **environ)
    return ended(os.waitpid(child, 0)[1], folder)


def ended(status: int, folder: Path) -> Ended:
    """How the child of `folder` ended whose status `os.wait` told."""
    texts = ((folder / name).read_text(encoding="utf-8", errors="replace") for name in (_OUT, _ERR))
    return Ended(os.waitstatus_to_exitcode(status), *texts)


def begin_child(work: Callable[[], object], folder: Path, *, seconds: int = 120, **environ: str) -> int:
    """The same, for whoever does not wait until it has ended: the number of the process."""
    child = os.fork()
    if not child:
        _be_the_child(work, folder, folder / _OUT, folder / _ERR, seconds, environ)
    return child


_OUT, _ERR = ".stdout", ".stderr"


def _be_the_child(
    work: Callable[[], object], folder: Path, out: Path, err: Path, seconds: int, environ: dict[str, str]
) -> None:
    status = 70
    try:
        signal.alarm(seconds)
        os.environ.update(environ, OMP_NUM_THREADS="1")
        os.chdir(folder)
        for number, path in ((1, out), (2, err)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        for name, errors in (("stdout", "strict"), ("stderr", "backslashreplace")):  # as Python's own
            number = (1, 2)[name == "stderr"]
            setattr(sys, name, open(number, "w", buffering=1, encoding="utf-8", errors=errors))
        # As fairseq sets it up when it is imported, which was too early to know this stdout.
        logging.root.handlers[:] = [logging.StreamHandler(sys.stdout)]
        logging.root.setLevel(logging.INFO)
        # This process has not begun what its parent may have.
        forkserver._forkserver.__init__()  # type: ignore[misc]
        resource_tracker._resource_tracker.__init__()  # type: ignore[misc]
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)  # a fork lacks the threads that torch counts on
        status = int(work() or 0)  # type: ignore[call-overload]
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
