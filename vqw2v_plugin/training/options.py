"""How models learn: plain configs as fairseq's options, and back from what fairseq has read."""

# no `from __future__ import annotations`: fairseq and omegaconf read the fields' types as objects

import argparse
import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any, Dict, List, Optional, Tuple

from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass import utils as dataclass_utils
from omegaconf import OmegaConf

from ..common.on_off import is_on
from ..common.words import shortened


def options_of(
    config: type,
    helps: Mapping[str, str],
    left_to_arch: Collection[str] = (),
    only: Optional[Collection[str]] = None,
) -> Any:
    """The base of a dataclass that fairseq registers: an option for each field of the plain `config`.

    `left_to_arch` names those that have no default: where none is given, that of the arch holds.
    `only`: for these fields alone.
    """
    kinds, plain = typing.get_type_hints(config), config()
    options: List[Tuple[str, Any, Any]] = []
    for setting in dataclasses.fields(config):
        name = setting.name
        if only is not None and name not in only:
            continue
        kind, default, text = kinds[name], getattr(plain, name), helps[name].replace("%", "%%")
        options.append((name, *_option(kind, None if name in left_to_arch else default, text)))
    return dataclasses.make_dataclass(f"{config.__name__}Options", options, bases=(FairseqDataclass,))


def _option(kind: Any, default: Any, text: str) -> Tuple[Any, Any]:
    """A field's type and default as fairseq's parser and omegaconf know them."""
    metadata = {"help": text}
    if kind is bool and default:
        # a word, since fairseq's flag of a bool that is on would turn it off; bare, it means true
        metadata = {"help": f"{text}: true or false", "argparse_const": "true"}
        return str, dataclasses.field(default="true", metadata=metadata)
    if default is None and typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        return Optional[List[inner]], dataclasses.field(default=None, metadata=metadata)  # type: ignore[valid-type]
    if default is None:
        inner = next((part for part in typing.get_args(kind) if part is not type(None)), kind)
        return Optional[inner], dataclasses.field(default=None, metadata=metadata)
    if isinstance(default, list):
        (inner,) = typing.get_args(kind)
        return List[inner], dataclasses.field(default_factory=lambda: list(default), metadata=metadata)  # type: ignore[valid-type]
    return kind, dataclasses.field(default=default, metadata=metadata)


def plain_settings(config: type, cfg: Any) -> Dict[str, Any]:
    """What fairseq's `cfg` says for the fields of the plain `config`; it may hold more, which is left out."""
    given = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    given = given if isinstance(given, Mapping) else vars(given)
    kinds = typing.get_type_hints(config)
    found = {}
    for name in (setting.name for setting in dataclasses.fields(config)):
        if name in given:
            value = given[name]
            found[name] = is_on(name, value) if kinds[name] is bool and value is not None else value
    return found


def name_broken_lists() -> None:
    """From here on an option whose list cannot be read is named, without a traceback; safe to call twice."""
    original = dataclass_utils.eval_str_list
    if getattr(original, "names_broken_lists", False):
        return

    def eval_str_list(text: Any, kind: type = float) -> Any:
        try:
            return original(text, kind)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError):
            raise argparse.ArgumentTypeError(
                f"is {shortened(repr(text))}; expected {kind.__name__}s such as '(2,1)'"
            ) from None

    eval_str_list.names_broken_lists = True  # type: ignore[attr-defined]
    dataclass_utils.eval_str_list = eval_str_list
