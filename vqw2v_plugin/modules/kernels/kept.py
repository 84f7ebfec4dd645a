"""Any arrow: constant tensors, made once, as a copy to a device at every step would be waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
T = TypeVar("T")


def kept(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`lru_cache` for tensors: made in inference mode they would be of no use to a later gradient."""

    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        @lru_cache(maxsize)
        def made(*args: P.args, **kwargs: P.kwargs) -> T:
            with torch.inference_mode(False), torch.no_grad():
                return make(*args, **kwargs)

        return cast("Callable[P, T]", made)

    return decorate
