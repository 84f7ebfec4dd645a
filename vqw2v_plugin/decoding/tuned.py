"""letters ──decoder──▶ text: the weights that `vqw2v tune` found, for whoever decodes next."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from ..common.inputs import read_json
from .settings import BeamSettings, Weights


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """The best of a file of `vqw2v tune`."""
    wanted = "expected a file that `vqw2v tune` wrote (tuned-SPLIT.json)"
    try:
        held = read_json(path)
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}; {wanted}") from error
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error}); {wanted}") from None
    best = held.get("best") if isinstance(held, Mapping) else None
    first = best[0] if isinstance(best, list) and best else None
    values = [first.get(name) for name in Weights._fields] if isinstance(first, Mapping) else []
    numbers = [float(value) for value in values if value is not None and _is_number(value)]
    if len(numbers) < len(Weights._fields):
        raise ValueError(f"{path}: its `best` begins with {first!r:.80}; {wanted}")
    return Weights(*numbers)


def with_weights(beam: BeamSettings, path: str | os.PathLike[str] | None) -> BeamSettings:
    """The settings with the file's weights in place of their own; without a file as they are."""
    return beam if path is None else replace(beam, **read_weights(path)._asdict())


def _is_number(value: object) -> bool:
    """That a float can hold: JSON's may have any number of digits."""
    most = sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -most <= value <= most
