"""What libraries say of their own accord, and no user can act on: VQW2V_LOUD=1 asks for it.

VQW2V_NEXT=0 leaves out what to type next, for scripts that know.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOUD, NEXT = "VQW2V_LOUD", "VQW2V_NEXT"


def is_loud() -> bool:
    return os.environ.get(LOUD, "0") not in ("", "0")


def says_next() -> bool:
    return os.environ.get(NEXT, "1") != "0"


@contextmanager
def without_chatter() -> Iterator[None]:
    """For code in C++ that writes to stderr by itself; what fails in it is raised, not written."""
    if is_loud():
        yield
        return
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
