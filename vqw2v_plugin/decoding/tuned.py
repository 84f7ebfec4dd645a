"""letters ──decoder──▶ text: the weights that `vqw2v tune` found, for whoever decodes next."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..common.inputs import read_json
from ..common.words import shortened
from .settings import BeamSettings, DecoderSettings, Weights

_WANTED = "expected a file that `vqw2v tune` wrote (tuned-SPLIT.json)"
_SEARCHED = {"beam": int, "beam_threshold": float, "beam_tokens": int}  # how widely, beside the weights
_FILES = ("--decoder", "--lexicon", "--lm")


def with_tuned(
    settings: DecoderSettings, path: str | os.PathLike[str] | None, given: Collection[str] = ()
) -> DecoderSettings:
    """The settings with the file's weights, and its beam but for what the user has `given`.

    Files that it names are not taken: whoever sent it may have named any.
    """
    if path is None:
        return settings
    held = _held(path)
    weights = _weights(held, path)
    options = _options(held)
    if settings.decoder == "greedy":
        named = [word for name in _FILES if name in options for word in (name, options[name])]
        by = shlex.join(named) or "--decoder lexicon --lexicon LEXICON --lm LM"
        raise ValueError(
            f"`weights` is {path}, of no use to the decoder 'greedy'; say what they were tuned for as well: "
            f"`{shortened(by, 400)}`"
        )
    searched = {name: value for name, value in _search(options, path).items() if name not in given}
    try:
        return replace(settings, beam=replace(settings.beam, **searched, **weights._asdict()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_WANTED}") from None


def unlike_defaults(beam: BeamSettings) -> set[str]:
    """What a user must have given, where that is not known otherwise."""
    usual = BeamSettings()
    return {name for name in (*_SEARCHED, "log_add") if getattr(beam, name) != getattr(usual, name)}


def _held(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        held = read_json(path)
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}; {_WANTED}") from error
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error}); {_WANTED}") from None
    return held if isinstance(held, Mapping) else {}


def _weights(held: Mapping[str, Any], path: str | os.PathLike[str]) -> Weights:
    best = held.get("best")
    first = best[0] if isinstance(best, list) and best else None
    values = [first.get(name) for name in Weights._fields] if isinstance(first, Mapping) else []
    numbers = [float(value) for value in values if value is not None and _is_number(value)]
    if len(numbers) < len(Weights._fields):
        raise ValueError(f"{path}: its `best` begins with {first!r:.80}; {_WANTED}")
    return Weights(*numbers)


def _options(held: Mapping[str, Any]) -> dict[str, str]:
    """Each option that it was found under, with the word behind it."""
    words = held.get("options")
    named = [str(word) for word in words] if isinstance(words, list) else []
    return {one: other for one, other in pairwise([*named, ""]) if one.startswith("--")}


def _search(options: Mapping[str, str], path: str | os.PathLike[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in _SEARCHED.items():
        text = options.get("--" + name.replace("_", "-"))
        if text is not None:
            try:
                found[name] = kind(text[:20])
            except ValueError:
                raise ValueError(f"{path}: its `{name}` is {text!r:.40}; {_WANTED}") from None
    return {**found, "log_add": True} if "--log-add" in options else found


def _is_number(value: object) -> bool:
    """That a float can hold: JSON's may have any number of digits."""
    most = sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -most <= value <= most
