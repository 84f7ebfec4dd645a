"""Which lines of the product a call has reached for the first time: what is worth mutating further."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


class Reached:
    """`new(call)` answers how many lines of files under `package` it reached that none did before."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.lines: set[tuple[CodeType, int]] = set()
        self._watched: dict[CodeType, bool] = {}
        self._monitoring: Any = getattr(sys, "monitoring", None)  # Python 3.12: costs next to nothing
        if self._monitoring is not None:
            self._monitoring.use_tool_id(self._monitoring.COVERAGE_ID, "fuzz")
            event = self._monitoring.events.LINE
            self._monitoring.register_callback(self._monitoring.COVERAGE_ID, event, self._line)

    def new(self, call: Callable[[], object]) -> int:
        before = len(self.lines)
        self._watch(True)
        try:
            call()
        finally:
            self._watch(False)
        return len(self.lines) - before

    def _watch(self, on: bool) -> None:
        if self._monitoring is None:
            sys.settrace(self._called if on else None)
        else:
            event = self._monitoring.events.LINE if on else 0
            self._monitoring.set_events(self._monitoring.COVERAGE_ID, event)

    def _line(self, code: CodeType, line: int) -> Any:
        if code.co_filename.startswith(self.package):
            self.lines.add((code, line))
        return self._monitoring.DISABLE

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            watched = self._watched[code] = code.co_filename.startswith(self.package)
        return self._traced if watched else None

    def _traced(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self._traced
