"""z ──quantizer──▶ tokens: all that an author of one needs; the registered ones by name.

A quantizer of your own, in a `--user-dir` that imports `vqw2v_plugin`:

    from vqw2v_plugin.quantizers import CodebookConfig, CodeStats, Quantized, Quantizer, register_quantizer

    @register_quantizer("mine")
    class MyQuantizer(Quantizer):
        Config = MyConfig          # a dataclass; fields named as model options get those options' values
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .common.inputs import parse_json
from .modules.layers.norm import GroupNorm32, make_activation
from .modules.layers.ranks import num_ranks, rank, sum_over_ranks
from .modules.quantizers.base import (
    CodebookConfig,
    CodeStats,
    FullPrecision,
    ProductCodebook,
    Quantized,
    Quantizer,
    SplitEncode,
    check_codes,
    check_divides,
    code_counts,
    count_perplexity,
    nearest_entries,
    perplexity,
    straight_through,
)
from .modules.quantizers.fsq import FsqConfig, FsqQuantizer
from .modules.quantizers.gumbel import GumbelConfig, GumbelQuantizer
from .modules.quantizers.kmeans import KmeansConfig, KmeansQuantizer
from .modules.quantizers.none import NoQuantizer
from .modules.quantizers.seeding import draw_entries, draw_rows, gather_frames, scale_outputs

__all__ = [
    "CodeStats",
    "CodebookConfig",
    "FsqConfig",
    "FsqQuantizer",
    "FullPrecision",
    "GroupNorm32",
    "GumbelConfig",
    "GumbelQuantizer",
    "KmeansConfig",
    "KmeansQuantizer",
    "NoQuantizer",
    "ProductCodebook",
    "Quantized",
    "Quantizer",
    "SplitEncode",
    "build_quantizer",
    "check_codes",
    "check_divides",
    "code_counts",
    "count_perplexity",
    "draw_entries",
    "draw_rows",
    "gather_frames",
    "make_activation",
    "nearest_entries",
    "num_ranks",
    "perplexity",
    "quantizer_names",
    "rank",
    "register_quantizer",
    "scale_outputs",
    "straight_through",
    "sum_over_ranks",
]

Q = TypeVar("Q", bound=type[Quantizer])


def _open_registry() -> tuple[Callable[[str], Callable[[Q], Q]], dict[str, type[Quantizer]]]:
    """fairseq's function and its table, or where fairseq does not run a table with the same two promises."""
    if "fairseq" in sys.modules:
        from fairseq.registry import REGISTRIES, setup_registry

        _, register, table, _ = setup_registry("--quantizer", base_class=Quantizer)
        # left in REGISTRIES it would become a hydra override that FairseqConfig has no field for
        del REGISTRIES["quantizer"]
        return register, table
    table = {}

    def register_here(name: str) -> Callable[[Q], Q]:
        def add(cls: Q) -> Q:
            if name in table:
                raise ValueError(f"Cannot register duplicate quantizer ({name})")
            if not issubclass(cls, Quantizer):
                raise ValueError(f"{cls.__name__} must extend Quantizer")
            table[name] = cls
            return cls

        return add

    return register_here, table


register_quantizer, _TABLE = _open_registry()

register_quantizer("none")(NoQuantizer)
register_quantizer("gumbel")(GumbelQuantizer)
register_quantizer("kmeans")(KmeansQuantizer)
register_quantizer("fsq")(FsqQuantizer)


OWN = tuple(_TABLE)


def quantizer_names() -> list[str]:
    return list(_TABLE)


def build_quantizer(name: str, dim: int, options: Mapping[str, Any], args: str = "{}") -> Quantizer:
    """The quantizer `name` over z of size `dim`; its fields come from model `options` or its own `args`."""
    own = _parse_args(args)
    if name not in _TABLE:
        raise ValueError(
            f"`quantizer` is {name!r}; expected one of {', '.join(quantizer_names())}{_near(name, _TABLE)}"
        )
    cls = _TABLE[name]
    return cls(dim, _config(cls, name, options, own))


def _parse_args(args: str) -> dict[str, Any]:
    try:
        own = parse_json(args)
    except ValueError as error:
        raise ValueError(f"`quantizer_args` ({args[:120]!r}) is no JSON: {error}") from None
    if not isinstance(own, dict):
        raise ValueError(f"`quantizer_args` is {args!r}; expected a JSON object such as {{}}")
    return own


def _config(cls: type[Quantizer], name: str, options: Mapping[str, Any], own: dict[str, Any]) -> Any:
    types = typing.get_type_hints(cls.Config)
    names = [f.name for f in dataclasses.fields(cls.Config) if f.init]
    only_here = [n for n in names if n not in options]
    for key, value in own.items():
        if key in options:
            raise ValueError(
                f"`quantizer_args` holds {key!r}, which is an option of the model; give `{key}` itself"
            )
        if key not in names:
            known = f"knows {', '.join(only_here)}" if only_here else "takes none"
            raise ValueError(f"`quantizer_args` holds {key!r}; {name!r} {known}{_near(key, only_here)}")
        own[key] = _checked(f"quantizer_args.{key}", value, types[key])
    shared = {n: options[n] for n in names if n in options}
    return cls.Config(**shared, **own)


def _checked(where: str, value: Any, kind: Any) -> Any:
    """`value` as a `kind`; only the plain JSON types are checked, the dataclass answers for the rest."""
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float, bool, str) and type(value) is not kind:
        raise ValueError(f"`{where}` is {json.dumps(value)}; expected {kind.__name__}")
    return value


def _near(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
