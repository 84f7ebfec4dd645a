"""wav → z → tokens and c, compiled: `torch.compile` where it works, with one warning where it does not."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import nn


def compile_or_warn(module: nn.Module, **options: Any) -> None:
    """Compiles `module.forward` at its first call; where that fails, warns once and goes on uncompiled.

    From the second length of audio on torch compiles for all of them. It cannot for some networks, and then
    compiles for each length by itself. Parameters and their names stay as they are. `options` are its own.
    """
    plain = module.forward
    ways = [torch.compile(plain, **options), torch.compile(plain, **{**options, "dynamic": False})]

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        reason = ""
        while ways:
            try:
                return ways[0](*args, **kwargs)
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                result = plain(*args, **kwargs)  # raises again where compiling is not to blame
                del ways[0]
        if reason:
            warnings.warn(
                f"torch.compile failed on {type(module).__name__} ({reason}); training goes on without it. "
                "On a CPU it needs a C++ compiler, such as g++",
                stacklevel=2,
            )
            return result
        return plain(*args, **kwargs)

    module.forward = forward
