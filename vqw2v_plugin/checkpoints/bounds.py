"""How large a network may become: hardly larger than the weights of the file that describes it, or as memory.

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

from ..common.bounds import machine_memory

_MORE = 1 << 20  # numbers beside those that a file holds: what earlier files lack, tables that are computed
_MODULES_A_WEIGHT, _MORE_MODULES = 20, 1000  # activations and dropouts have no weights
_BYTES_TRAINED = 16  # a number, its gradient and what Adam keeps of it
_MOST_MODULES = 50_000
# as torch says it
_NO_NUMBER = ("Overflow when unpacking",)
_NO_ROOM = ("allocate memory", "out of memory", "overflow", "Overflow", "too large", "too big")


class TooLargeError(ValueError):
    """Settings that ask for more than the file, or the machine, holds."""


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
    held = bytes_held(weights)
    numbers, modules = held + _MORE, _MODULES_A_WEIGHT * len(weights) + _MORE_MODULES
    said = (
        f"the file has {len(weights):,} weights of {held:,} bytes; expected settings that go with its weights"
    )
    with _bounded(numbers, modules, said):
        yield


@contextmanager
def fits_memory() -> Iterator[None]:
    """Within it, a model too large to be trained here raises TooLargeError before it has the memory."""
    memory = machine_memory()
    said = (
        f"this machine has {memory / 2**30:,.0f} GiB, and training takes {_BYTES_TRAINED} bytes a number; "
        "make the model smaller"
    )
    try:
        with _bounded(memory // _BYTES_TRAINED, _MOST_MODULES, said):
            yield
    except (RuntimeError, OverflowError, MemoryError, TypeError, ValueError) as error:
        told = _NO_ROOM if isinstance(error, (RuntimeError, OverflowError)) else _NO_NUMBER
        if not any(words in str(error) for words in told) and not isinstance(error, MemoryError):
            raise
        raise TooLargeError(
            f"the model's settings ask for more than can be counted or held: {said}"
        ) from None


@contextmanager
def _bounded(numbers: int, modules: int, said: str) -> Iterator[None]:
    thread = threading.get_ident()
    most = {"numbers": numbers, "modules": modules}
    size = dict.fromkeys(most, 0)

    def add(what: str, number: int) -> None:
        if threading.get_ident() != thread:
            return
        size[what] += number
        if size[what] > most[what]:
            raise TooLargeError(f"the model's settings ask for more than {most[what]:,} {what}: {said}")

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
