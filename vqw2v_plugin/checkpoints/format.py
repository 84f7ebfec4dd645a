"""Any model on disk: a header in plain json and weights, in a file of fairseq's trainer or in a folder.

Both are written and read here, and nothing in them is run. What the header means is in `kinds.py`.
"""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from .checks import shown
from .files import CheckpointError, read_folder, read_pickle, write_folder, write_pickle
from .kinds import AUDIO, KINDS, Audio, Header, Kind, Restored, State, Weights

FORMAT, FORMAT_VERSION = "vqw2v_plugin", 1
_PREFIX = "network."  # of the weights in a trainer's file: the registered model's submodule
N = TypeVar("N", bound=nn.Module)


def load(path: Path, wanted: Kind[N]) -> Restored[N]:
    """A trained network of the kind that is wanted, from any container."""
    header, weights = read_checkpoint(path, wanted)
    return wanted.restore(header, weights, str(path))


def load_any(path: Path, *wanted: Kind[Any]) -> Restored[Any]:
    """A trained network of any kind, or of one of those that are wanted."""
    header, weights = read_checkpoint(path, *wanted)
    return KINDS[header.model].restore(header, weights, str(path))


def is_exported(path: Path) -> bool:
    """A folder that `vqw2v export` wrote, or the safetensors file in it."""
    return path.is_dir() or path.suffix == ".safetensors"


def read_checkpoint(path: Path, *wanted: Kind[Any]) -> tuple[Header, Weights]:
    """Header and weights of one of our models, of any kind or of those that are wanted."""
    return _read_folder(path, wanted) if is_exported(path) else read_state(read_pickle(path), path, *wanted)


def read_state(state: State, path: Path, *wanted: Kind[Any]) -> tuple[Header, Weights]:
    """`read_checkpoint` for a trainer's file whose content has been read."""
    name, held = model_name(state), state["model"]
    kind = next((kind for kind in KINDS.values() if kind.is_of(name, held)), None)
    kind = _as_wanted(kind, name, held, path, wanted)
    try:
        header = kind.header(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    made_from, updates = mapping(state.get("made_from")), num_updates(state)
    header = dataclasses.replace(header, made_from=made_from, num_updates=updates)
    weights: Weights = {}
    for full, value in held.items():
        if full.startswith((_PREFIX, *kind.extra_weights)):
            weights[full.removeprefix(_PREFIX)] = value
        elif not full.startswith(kind.no_weights):
            raise CheckpointError(f"{path}: its weights do not fit: `{full}` has no place in the network")
    return header, weights


def _read_folder(path: Path, wanted: Sequence[Kind[Any]]) -> tuple[Header, Weights]:
    config, weights, where = read_folder(path)
    name, version = config.get("model", config.get("model_type")), config.get("format_version")
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{where} is of the format {shown(config.get('format'))} and holds the model {shown(name)}; "
            f"expected the format {FORMAT!r}, as `vqw2v export` writes it"
        )
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{where}: `format_version` is {shown(version)}; expected {FORMAT_VERSION}, or a newer "
            f"vqw2v_plugin"
        )
    kind = _as_wanted(KINDS.get(name) if isinstance(name, str) else None, name, weights, path, wanted)
    for field in ("settings", *(AUDIO if kind.hears_audio else ())):
        if field not in config:
            raise CheckpointError(f"{where} lacks `{field}`; expected it as `vqw2v export` writes it")
    for field in ("settings", "extra"):
        if not isinstance(config.get(field, {}), dict):
            raise CheckpointError(
                f"{where}: `{field}` is no JSON object; expected what `vqw2v export` writes"
            )
    try:
        audio = Audio.of(config) if kind.hears_audio else None
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error
    made_from, updates = mapping(config.get("made_from")), whole(config.get("num_updates"))
    header = Header(kind.model, config["settings"], audio, config.get("extra", {}), made_from, updates)
    return header, weights


def _as_wanted(
    kind: Kind[Any] | None,
    name: Any,
    weights: Mapping[str, Tensor],
    path: Path,
    wanted: Sequence[Kind[Any]],
) -> Kind[Any]:
    """The kind of a file's model, if it is known and one that is wanted; all are where none is named."""
    if kind is not None and (not wanted or kind in wanted):
        return kind
    holds = "no model that is known" if name is None else f"the model {shown(name)}"
    holds = f"the model {kind.model!r}" if kind is not None else holds
    names = [each.expected for each in wanted]
    expected = " or ".join(names) if names else f"one of {', '.join(map(repr, KINDS))}"
    remedy = f"; this one {kind.destination}" if kind is not None else ""
    said = name if isinstance(name, str) else None
    if kind is None and any(known.is_stock(said, weights) for known in KINDS.values()):
        remedy = f"; make it one of ours first: `vqw2v import {path} OUT.pt`"
    raise CheckpointError(f"{path} holds {holds}; expected {expected}{remedy}")


def write_checkpoint(path: Path, header: Header, weights: Mapping[str, Tensor], force: bool = False) -> None:
    """Plain data in the layout of fairseq's trainer: we, fairseq and weights_only all read it."""
    kind = KINDS[header.model]
    said = kind.state(header)
    prefix = {name: "" if name.startswith(kind.extra_weights) else _PREFIX for name in weights}
    own = {f"{prefix[name]}{name}": value for name, value in weights.items()}
    state = {
        "args": None,
        "task_state": {},
        "criterion": None,
        **said,
        "model": {**own, **said.get("model", {})},
        # enough for fairseq to load the model, or to fine-tune from it; there is no optimizer to go on with
        "optimizer_history": [
            {
                "criterion_name": said["cfg"]["criterion"]["_name"],
                "optimizer_name": "none",
                "lr_scheduler_state": {},
                "num_updates": header.num_updates,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": None},
        "last_optimizer_state": None,
        "made_from": dict(header.made_from),
    }
    write_pickle(path, state, force)


def write_exported(
    out: Path,
    header: Header,
    weights: Mapping[str, Tensor],
    force: bool = False,
    pages: Mapping[str, str] | None = None,
) -> None:
    """The folder that `read_checkpoint` reads, and any program that knows safetensors and json.

    `pages`: texts about it, by name.
    """
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": header.model,
        **(dataclasses.asdict(header.audio) if header.audio else {}),
        "settings": dict(header.settings),
        **({"extra": dict(header.extra)} if header.extra else {}),
        "num_updates": header.num_updates,
        "made_from": dict(header.made_from),
    }
    write_folder(out, config, weights, force, pages)


def model_name(state: State) -> str | None:
    """What a trainer's file calls its model, today's `cfg` or 2019's `args`."""
    options = model_options(state)
    name = options.get("_name") or options.get("arch")
    return name if isinstance(name, str) else None


def model_options(state: State) -> dict[str, Any]:
    """The model's options; `args` mixes in all others."""
    model = mapping(state.get("cfg")).get("model") or state.get("args")
    options = vars(model) if isinstance(model, Namespace) else mapping(model)
    return {name: value for name, value in options.items() if isinstance(name, str)}


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def num_updates(state: State) -> int:
    history = state.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else None
    return whole(mapping(last).get("num_updates"))
