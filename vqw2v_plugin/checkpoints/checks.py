"""What every checkpoint must fulfil: settings that are known and of their types, finite weights that fit."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..common.on_off import is_on
from ..common.words import shortened
from .archive import CheckpointError

C = TypeVar("C")
_NAMES = {float: "float, a finite number", bool: "true or false"}
_NOT_PLAIN = "is no plain tensor; expected its numbers one by one"
_NAMED = 3  # how many misfitting weights an error names


class _Misfit(Exception):
    """A value that is not of the type wanted."""


def check_settings(config_class: type[C], settings: Mapping[str, Any], within: str = "") -> C:
    """The dataclass that plain json `settings` describe; ValueError names the first field that is wrong.

    Fields that are not given have their defaults, so files from before a field keep loading.
    """
    fields = {f.name: f for f in dataclasses.fields(config_class) if f.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(config_class)
    checked = {}
    for name, value in settings.items():
        if name not in fields:
            raise ValueError(f"`{within}{name}` is not known; expected only {', '.join(fields)}")
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            checked[name] = check_settings(hints[name], value, f"{within}{name}.")
            continue
        try:
            checked[name] = _fitting(value, hints[name])
        except _Misfit:
            raise ValueError(f"`{within}{name}` is {shown(value)}; expected {_name(hints[name])}") from None
    for name, f in fields.items():
        if name not in checked and f.default is f.default_factory is dataclasses.MISSING:
            raise ValueError(f"`{within}{name}` is missing; expected {_name(hints[name])}")
    return config_class(**checked)


def _fitting(value: Any, kind: Any) -> Any:
    """`value` as a `kind`; earlier files spell some switches as words."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is float and type(value) in (int, float) and _is_finite(value):
        return float(value)
    if kind is bool and type(value) is str:
        try:
            return is_on("", value)
        except ValueError:
            raise _Misfit from None
    if kind is Any or (isinstance(kind, type) and kind is not float and type(value) is kind):
        return value
    if origin in (typing.Union, types.UnionType):
        return _fitting_one_of(value, args)
    if origin is typing.Literal and any(type(value) is type(arg) and value == arg for arg in args):
        return value
    if origin in (list, tuple, Sequence) and isinstance(value, (list, tuple)):
        items = [_fitting(item, args[0]) for item in value]
        return tuple(items) if origin is tuple else items
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return dict(value)
    raise _Misfit


def _fitting_one_of(value: Any, kinds: Sequence[Any]) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            return _fitting(value, kind)
        except _Misfit:
            continue
    raise _Misfit


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float can hold
        return False


def _name(kind: Any) -> str:
    if kind in _NAMES:
        return _NAMES[kind]
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(kind)))}"
    name = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return name.replace("typing.", "").replace("collections.abc.", "")


def shown(value: Any) -> str:
    """A value that a file holds, for a message."""
    text = ""
    try:
        for piece in _pieces(value):
            text += piece
            if shortened(text) != text:
                break
    except (ValueError, RecursionError):  # a number of thousands of digits, or objects in objects without end
        return f"a {type(value).__name__} that is too large to show"
    return shortened(text)


def _pieces(value: Any) -> Iterator[str]:
    """Its `repr` from the beginning on: nobody waits for the end of a million lists."""
    if type(value) is dict:
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield ", " if i else ""
            yield from _pieces(key)
            yield ": "
            yield from _pieces(item)
        yield "}"
    elif type(value) in (list, tuple):
        yield "[" if type(value) is list else "("
        for i, item in enumerate(value):
            yield ", " if i else ""
            yield from _pieces(item)
        yield "]" if type(value) is list else ",)" if len(value) == 1 else ")"
    else:
        yield repr(value)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """All parameters must be there and fit; a buffer that is not there keeps its first value.

    A module may know better what to do without a parameter that earlier files lack: it is asked first.
    """
    buffers = dict(network.named_buffers(remove_duplicate=False))
    expected = {**dict(network.named_parameters(remove_duplicate=False)), **buffers}
    problems = {
        name: problem for name, value in weights.items() if (problem := _problem(value, expected.get(name)))
    }
    fitting = {name: value for name, value in weights.items() if name not in problems}
    try:
        missing, foreign = network.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{where}: its weights do not fit: {reason}") from error
    for name in missing:
        if name not in buffers and name not in problems:
            shape = f", expected {list(expected[name].shape)}" if name in expected else ""
            problems[name] = f"is missing{shape}"
    problems |= dict.fromkeys(foreign, "has no place in the network")
    if problems:
        named = "; ".join(f"`{name}` {problem}" for name, problem in list(problems.items())[:_NAMED])
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise CheckpointError(f"{where}: its weights do not fit: {named}{more}")


def check_finite(weights: Mapping[str, Tensor], where: str) -> None:
    """For weights that are kept, and loaded only later."""
    for name, value in weights.items():
        if problem := _problem(value, None):
            raise CheckpointError(f"{where}: its weights do not fit: `{name}` {problem}")


def check_plain(weights: Mapping[str, Tensor], where: str) -> None:
    """For weights that are rearranged before they are loaded."""
    if strange := next((name for name, value in weights.items() if not _is_plain(value)), None):
        raise CheckpointError(f"{where}: its weights do not fit: `{strange}` {_NOT_PLAIN}")


def is_repeated(value: Tensor) -> bool:
    """Whether a few numbers of memory are said to be many: a file of a kilobyte may claim terabytes so."""
    if value.layout is not torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() > value.untyped_storage().nbytes()


def _is_plain(value: Tensor) -> bool:
    return value.layout is torch.strided and not value.is_quantized and not value.is_meta


def _problem(value: Tensor, own: Tensor | None) -> str:
    """Why a weight cannot be taken in place of the network's own; "" if it can."""
    if not _is_plain(value):
        return _NOT_PLAIN
    if own is not None:
        if value.shape != own.shape:
            return f"has the shape {list(value.shape)}, expected {list(own.shape)}"
        if (value.is_floating_point(), value.is_complex()) != (own.is_floating_point(), own.is_complex()):
            return f"is of type {value.dtype}, expected {own.dtype}"
    if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
        return "holds NaN or infinity: take a checkpoint from before that"
    return ""
