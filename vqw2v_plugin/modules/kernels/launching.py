"""The same sums, quicker: how Triton's kernels are started, where there is Triton."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from . import devices


@lru_cache(maxsize=1)
def have_triton() -> bool:
    return find_spec("triton") is not None


def pays(x: Tensor) -> bool:
    """Where Triton's kernels stand in for torch's."""
    return devices.is_gpu(x) and have_triton()


def name_of(kernel: Any) -> str:
    return getattr(kernel, "__name__", None) or getattr(kernel, "fn", kernel).__name__


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
    """One kernel, on the device of what it is given."""
    kernel[grid](*args, **options)
