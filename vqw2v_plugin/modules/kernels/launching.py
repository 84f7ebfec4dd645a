"""The same sums, quicker: how Triton's kernels are started, where there is Triton."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from . import devices


@lru_cache(maxsize=1)
def have_triton() -> bool:
    return find_spec("triton") is not None


def pays(x: Tensor) -> bool:
    """Where Triton's kernels stand in for torch's."""
    return devices.is_gpu(x) and have_triton()


def launch(name: str, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
    """The kernel `file.function` of this room, once: `norm.moments` is in `triton_norm.py`."""
    of = next((x for x in args if isinstance(x, Tensor) and x.is_cuda), None)
    with nullcontext() if of is None else torch.cuda.device(of.device):
        _kernel(name)[grid](*args, **constants)


@lru_cache(maxsize=64)
def _kernel(name: str) -> Any:
    file, _, function = name.partition(".")
    return getattr(import_module(f"{__package__}.triton_{file}"), function)


def power_of_two(size: int) -> int:
    """The least that holds so many: the size of a block."""
    return 1 << max(0, size - 1).bit_length()
