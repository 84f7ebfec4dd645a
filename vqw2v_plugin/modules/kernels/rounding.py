"""wav → z and all that follows, on a GPU: whether fp32's products are exact, or of rounded numbers (TF32)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from threading import Lock

import torch


def exact(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """fp32 means fp32: by default cuDNN rounds convolutions' inputs to 10 bits (TF32), and codes see it."""
    return _EXACT if _can_round(device) else contextlib.nullcontext()


def tf32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Convolutions and products of matrices may round; a processor has no such numbers, and stays exact."""
    return _ROUNDED if _can_round(device) else contextlib.nullcontext()


def _can_round(device: torch.device) -> bool:
    return device.type == "cuda"


class _Switches:
    """They are the process's: the first thread that comes turns them, the last that goes turns them back.

    Where threads differ, or one asks for exact numbers within what rounds, all is exact.
    """

    def __init__(self) -> None:
        self._lock, self._held = Lock(), contextlib.ExitStack()
        self._inside = {"exact": 0, "rounds": 0}
        self._rounds: bool | None = None  # None: as it was before

    def add(self, what: str, count: int) -> None:
        with self._lock:
            self._inside[what] += count
            wanted = not self._inside["exact"] if any(self._inside.values()) else None
            if wanted == self._rounds:
                return
            self._held.close()
            if wanted is not None:
                self._held.enter_context(_flags(wanted))
            self._rounds = wanted


class _Asked:
    """Holds nothing of its own, so that it may be entered again, and by many."""

    def __init__(self, switches: _Switches, what: str) -> None:
        self._switches, self._what = switches, what

    def __enter__(self) -> None:
        self._switches.add(self._what, 1)

    def __exit__(self, *error: object) -> None:
        self._switches.add(self._what, -1)


_SWITCHES = _Switches()
_EXACT, _ROUNDED = _Asked(_SWITCHES, "exact"), _Asked(_SWITCHES, "rounds")


@contextlib.contextmanager
def _flags(rounds: bool) -> Iterator[None]:
    """torch's own, and as they were behind it."""
    matmul = torch.backends.cuda.matmul
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=rounds):
        named = _named()
        whole = getattr(matmul, "fp32_precision", None)  # of newer versions, which mind a mix of both ways
        before = matmul.allow_tf32 if whole is None else whole == "tf32"
        matmul.allow_tf32 = rounds
        try:
            yield
        finally:
            matmul.allow_tf32 = before
            if named == "medium":  # the flag alone would make it `high`
                torch.set_float32_matmul_precision(named)
            if whole is not None:
                matmul.fp32_precision = whole


def _named() -> str | None:
    """None where only the newer way can say it."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
