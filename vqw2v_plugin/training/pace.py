"""How models learn, and how long it still takes: a line now and then, at the ends of epochs."""

import time
from typing import List, Optional, Tuple

from ..common.words import rough_time

_EVERY = 30.0  # seconds at least between two lines
_WINDOW = 600.0  # seconds over which the speed is taken, where epochs are shorter


class Pace:
    """Told of updates at the ends of epochs; the first of them is where counting begins."""

    def __init__(self) -> None:
        self._marks: List[Tuple[float, int]] = []  # times and updates
        self._said = 0.0

    def line(self, updates: int, last: int, now: Optional[float] = None) -> Optional[str]:
        """Of `last` updates, if it is time for one."""
        now = time.monotonic() if now is None else now
        self._marks.append((now, updates))
        while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW:
            self._marks.pop(0)
        since, before = self._marks[0]
        if now - max(self._said, since) < _EVERY or not before < updates < last:
            return None
        self._said = now
        left = (last - updates) * (now - since) / (updates - before)
        return f"{updates:,} of {last:,} updates, about {rough_time(left)} left"
