"""Numbers that users give, within what makes sense: beyond it memory or time ends before an error is told."""

from __future__ import annotations

import os

MOST_WORKERS = 1_024  # processes or threads
LONGEST = 1 << 40  # samples or tokens of anything: a settings' number that an array still holds


def machine_memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_between(name: str, value: float, least: float, most: float) -> None:
    """ValueError for what lies outside, and for NaN."""
    if not least <= value <= most:
        raise ValueError(f"`{name}` is {_shown(value)}; expected {_shown(least)} to {_shown(most)}")


def check_workers(workers: int | None) -> None:
    """None: the caller's own choice."""
    if workers is not None:
        check_between("--workers", workers, 1, MOST_WORKERS)


def _shown(value: float) -> str:
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if abs(value) < 10**20 else "a number of more than 20 digits"
