"""What a file of fairseq's trainer holds beside its weights: plain data of a size and shape that is sound.

A pickle names an object as often as it likes, so a few bytes can be a list of a billion entries to whoever
copies it, or one without end.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .checks import is_repeated, shown

_MOST = 5_000_000  # values, what is named twice counted twice
_DEEPEST = 100  # lists in lists
_LARGEST = 1 << 53  # of counters
_SETTINGS = ("cfg", "args")  # a tensor has no truth of its own, and would be asked for it
_REFERENCE = "${"  # how omegaconf names another value, or the environment's


def check_size(state: Mapping[str, Any]) -> None:
    """A ValueError where reading all values would never end."""
    _refuse_attributes(state, "the file")
    for name, value in state.items():
        if _size(value, {}, 0, str(name)) > _MOST:
            raise ValueError(f"`{name}` holds more than {_MOST:,} values; expected what a trainer writes")


def _size(value: Any, known: dict[int, int], depth: int, where: str) -> int:
    if isinstance(value, Tensor):
        if is_repeated(value):
            raise ValueError(
                f"`{where}` holds a tensor that is no plain one; expected its numbers one by one"
            )
        if where in _SETTINGS:
            raise ValueError(f"`{where}` holds a tensor; expected settings, which are numbers and texts")
        return 1
    _refuse_attributes(value, f"`{where}`")
    inner = _inner(value)
    if inner is None:
        return 1
    if depth > _DEEPEST:
        raise ValueError(f"`{where}` holds lists in lists without end; expected what a trainer writes")
    if id(value) not in known:  # and will not be while it is looked at: a list in itself is too deep
        known[id(value)] = 1 + sum(_size(item, known, depth + 1, where) for item in inner)
    return known[id(value)]


def _refuse_attributes(value: Any, where: str) -> None:
    """An OrderedDict may say that its own `items` is a number; torch gives state dicts one attribute."""
    own = vars(value) if isinstance(value, dict) and type(value) is not dict else {}
    if strange := own.keys() - {"_metadata"}:
        raise ValueError(
            f"{where} holds names with an attribute {shown(min(strange, key=str))}; expected none"
        )


def _inner(value: Any) -> Iterable[Any] | None:
    if isinstance(value, Namespace):
        return vars(value).values()
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, (list, tuple, set, frozenset)) else None


def check_trainer_state(state: Mapping[str, Any]) -> None:
    """A ValueError for what fairseq reads beside the weights and its trainer does not write so."""
    if state.get("args") is not None:
        raise ValueError("`args` is not None, and fairseq would believe it rather than `cfg`; expected `cfg`")
    cfg = _mapping(state, "cfg")
    for part in ("model", "task", "criterion"):
        _refuse_references(_mapping(cfg, part, "cfg."), f"cfg.{part}")
    if "generation" in cfg:  # fairseq brings `print_alignment` up to date
        generation = _mapping(cfg, "generation", "cfg.")
        _refuse_references(generation, "cfg.generation")
        if "print_alignment" not in generation:
            raise ValueError("`cfg.generation` lacks `print_alignment`; expected what fairseq writes")
    if state.get("task_state") is not None:
        _mapping(state, "task_state")
    history = state.get("optimizer_history")
    if not isinstance(history, list) or not history or not all(isinstance(h, Mapping) for h in history):
        raise ValueError(f"`optimizer_history` is {shown(history)}; expected a list of what each run said")
    last, where = history[-1], "optimizer_history[-1]."
    _counter(last, "num_updates", where)
    for name in ("criterion_name", "optimizer_name"):
        if not isinstance(last.get(name, ""), str):
            raise ValueError(f"`{where}{name}` is {shown(last[name])}; expected a name")
    if "lr_scheduler_state" not in last or "optimizer" in last:  # fairseq would take it for one of 2018
        raise ValueError(
            f"`optimizer_history[-1]` is {shown(last)}; expected an `lr_scheduler_state` and no `optimizer`"
        )
    if last.get("lr_scheduler_state") is not None:
        _mapping(last, "lr_scheduler_state", where)
    if state.get("last_optimizer_state") is not None:
        _mapping(state, "last_optimizer_state")
    extra = _mapping(state, "extra_state")
    if "train_iterator" in extra:
        iterator = _mapping(extra, "train_iterator", "extra_state.")
        for name in ("epoch", "iterations_in_epoch"):
            _counter(iterator, name, "extra_state.train_iterator.")
    if extra.get("metrics") is not None:
        _check_meters(_mapping(extra, "metrics", "extra_state."))


def _check_meters(metrics: Mapping[str, Any]) -> None:
    """fairseq makes one of whatever a row names: [priority, name, class, state]."""
    for name, rows in metrics.items():
        for row in rows if isinstance(rows, list) else [rows]:
            sound = isinstance(row, (list, tuple)) and len(row) == 4 and isinstance(row[3], Mapping)
            if not sound or not str(row[2]).endswith("Meter"):
                raise ValueError(
                    f"`extra_state.metrics.{name}` holds {shown(row)}; expected fairseq's meters"
                )


def _mapping(holder: Mapping[str, Any], name: str, where: str = "") -> Mapping[str, Any]:
    value = holder.get(name)
    if not isinstance(value, Mapping):
        raise ValueError(f"`{where}{name}` is {shown(value)}; expected names and their values")
    return value


def _counter(holder: Mapping[str, Any], name: str, where: str) -> None:
    value = holder.get(name, 0)
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError(f"`{where}{name}` is {shown(value)}; expected a number of at least 0")


def _refuse_references(value: Any, where: str) -> None:
    """omegaconf would put another value, such as one of the environment, in such a string's place."""
    if isinstance(value, (str, bytes)):
        if _REFERENCE in (value if isinstance(value, str) else value.decode("latin-1")):
            raise ValueError(f"`{where}` is {shown(value)}; expected a value, not a reference to another one")
        return
    for name, item in value.items() if isinstance(value, Mapping) else ():
        _refuse_references(item, f"{where}.{name}")
    for item in value if isinstance(value, (list, tuple)) else ():
        _refuse_references(item, where)
