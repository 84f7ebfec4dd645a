"""Any arrow: what settings of a network must fulfil before it is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any


def check_switches(config: Any) -> None:
    """Any word is true, "false" too."""
    for setting in fields(config):
        value = getattr(config, setting.name)
        if type(setting.default) is bool and type(value) is not bool:
            raise ValueError(f"`{setting.name}` is {value!r}; expected true or false")


def check_choices(config: Any, choices: Mapping[str, Collection[str]]) -> None:
    for name, allowed in choices.items():
        if (value := getattr(config, name)) not in allowed:
            raise ValueError(f"`{name}` is {value!r}; expected {' or '.join(allowed)}")


def check_probabilities(config: Any, names: Collection[str]) -> None:
    """Of dropping something: to drop everything is none."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < 1:
            raise ValueError(f"`{name}` is {value}; expected a probability in [0, 1)")


def check_counts(config: Any, least: Mapping[str, int]) -> None:
    for name, bound in least.items():
        if (value := getattr(config, name)) < bound:
            raise ValueError(f"`{name}` is {value}; expected at least {bound}")
