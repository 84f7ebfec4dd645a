"""wav → z → tokens and c, compiled: `torch.compile` where it works, with one warning where it does not."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import nn


def compile_or_warn(module: nn.Module, **options: Any) -> None:
    """Compiles `module.forward` at its first call; where that fails, warns once and goes on uncompiled.

    Parameters and their names stay as they are. `options` are torch.compile's.
    """
    plain = module.forward
    compiled = torch.compile(plain, **options)
    works = True

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal works
        if not works:
            return plain(*args, **kwargs)
        try:
            return compiled(*args, **kwargs)
        except Exception as error:
            result = plain(*args, **kwargs)  # raises again where compiling is not to blame
            works = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"torch.compile failed on {type(module).__name__} ({reason}); training goes on without it. "
                "On a CPU it needs a C++ compiler, such as g++",
                stacklevel=2,
            )
            return result

    module.forward = forward
