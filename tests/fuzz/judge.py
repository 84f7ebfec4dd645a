"""What a reader may do with a stranger's files: give a value, or raise an error of ours of one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from vqw2v_plugin.common.said import DECLARED, PACKAGE, is_said


def judge(read: Callable[[Path], object], folder: Path) -> str:
    """Why that is a finding; "" if it is none. The first line tells findings apart."""
    try:
        read(folder)
    except DECLARED as error:
        return _fault(error, folder)
    except Exception as error:
        return _told(f"{type(error).__name__} at {_where(error.__traceback__)}", error)
    return ""


def _fault(error: Exception, folder: Path) -> str:
    trace = error.__traceback__
    message = str(error)
    what = f"{type(error).__name__} at {_where(trace)}"
    if isinstance(error, OSError) and error.filename is not None:
        return ""  # the system's own sentence, and the file that it is about
    if not is_said(error):
        return _told(f"{what} is not a sentence of ours", error)
    if not message:
        return _told(f"{what} says nothing", error)
    if _lacked_memory(error):
        return _told(f"{what}: memory ran out", error)
    names = {str(folder), *(path.name for path in folder.rglob("*"))}
    if not any(name in message for name in names):
        return _told(f"{what} names no file", error)
    return ""


def _lacked_memory(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _where(trace: TracebackType | None) -> str:
    """The innermost place in the product."""
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename.startswith(PACKAGE)]
    return f"{frames[-1].filename.removeprefix(PACKAGE)}:{frames[-1].lineno}" if frames else "no file of ours"


def _told(first: str, error: Exception) -> str:
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-12:])
    return f"{first}\n{str(error)[:300]}\n{lines[-3000:]}"
