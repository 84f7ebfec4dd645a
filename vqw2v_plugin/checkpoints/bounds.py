"""How large a network may become that a file describes: hardly larger than the weights that the file holds.

Settings are a few bytes and may ask for any size; building ends as soon as it is too large.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

_MORE = 1 << 20  # numbers beside those that a file holds: what earlier files lack, tables that are computed
_MODULES_A_WEIGHT, _MORE_MODULES = 20, 1000  # activations and dropouts have no weights


class TooLargeError(ValueError):
    """Settings that ask for more than the file holds."""


def bytes_held(weights: Iterable[Tensor]) -> int:
    """Memory of the tensors, what several share counted once."""
    held = {}
    for weight in weights:
        if weight.layout is torch.strided and not weight.is_meta:
            storage = weight.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
    return sum(held.values())


class WithoutMemory(TorchFunctionMode):
    """Tensors have sizes and nothing else; to fill them would load seconds of torch's own code."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, given = getattr(func, "__name__", ""), kwargs or {}
        filled = args[0] if args else given.get("tensor")  # as torch.nn.init names it
        if name.endswith("_") and not name.endswith("__") and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return func(*args, **given)


@contextmanager
def no_larger_than(weights: Collection[Tensor]) -> Iterator[None]:
    """Within it, modules that this thread builds raise TooLargeError once they outgrow these weights."""
    held, thread = bytes_held(weights), threading.get_ident()
    most = {"numbers": held + _MORE, "modules": _MODULES_A_WEIGHT * len(weights) + _MORE_MODULES}
    size = dict.fromkeys(most, 0)

    def add(what: str, number: int) -> None:
        if threading.get_ident() != thread:
            return
        size[what] += number
        if size[what] > most[what]:
            raise TooLargeError(
                f"they ask for more than {most[what]:,} {what}, and the file has {len(weights):,} weights of "
                f"{held:,} bytes; expected settings that go with its weights"
            )

    def add_tensor(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        add("numbers", 0 if tensor is None else tensor.numel())

    def add_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        add("modules", 1)

    hooks: list[Any] = [
        registration.register_module_parameter_registration_hook(add_tensor),
        registration.register_module_buffer_registration_hook(add_tensor),
        registration.register_module_module_registration_hook(add_module),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
