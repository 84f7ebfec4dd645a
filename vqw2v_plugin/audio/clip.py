"""The wav of the picture, by name: which stretch of which file, and which crop of that."""

from __future__ import annotations

from dataclasses import dataclass

# Hz; beyond these a header is wrong, and resampling would make hours of seconds.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000


@dataclass(frozen=True)
class Clip:
    """A stretch of a file: `samples` samples (None: up to its end) from `start`, in the file's own rate.

    `rate` is what the file's rate is said to be; a file with another one is refused.
    """

    path: str
    samples: int | None = None
    start: int = 0
    rate: int | None = None


@dataclass(frozen=True)
class Crop:
    """At most `length` samples at the target rate; `position` in [0, 1) says how far along."""

    length: int
    position: float

    def bounds(self, size: int) -> tuple[int, int]:
        """The crop's first sample and the one after its last, of `size` samples."""
        begin = int(self.position * (max(size - self.length, 0) + 1))
        return begin, min(begin + self.length, size)
