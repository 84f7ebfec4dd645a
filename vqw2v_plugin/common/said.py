"""Errors that our code raises with a sentence, told apart from what Python or a library refuses."""

from __future__ import annotations

import dis
import os
from pathlib import Path

from ..stack import StackError

DECLARED = (ValueError, OSError, StackError)  # what the package raises for a caller's mistake
PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_RAISE = dis.opmap["RAISE_VARARGS"]


def is_said(error: BaseException, *places: str) -> bool:
    """Whether the innermost line is a `raise` in the package, or in one of these folders of code."""
    last = error.__traceback__
    if last is None:
        return False
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    return code.co_filename.startswith(places or (PACKAGE,)) and code.co_code[last.tb_lasti] == _RAISE
