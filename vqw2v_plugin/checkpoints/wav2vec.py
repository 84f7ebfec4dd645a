"""wav → z → tokens and c, on disk: settings and weights ↔ the torch network, ours and stock fairseq's."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.on_off import is_on
from ..modules.wav2vec.config import VqWav2VecConfig
from ..modules.wav2vec.network import VqWav2Vec
from ..quantizers import build_quantizer
from .files import WEIGHTS_NAME, CheckpointError, read_folder, read_pickle, sha256, write_folder, write_pickle
from .stock import ARCHITECTURES, read_stock, stock_settings, stock_weights, unknown_options

__all__ = [
    "CheckpointError",
    "Imported",
    "Loaded",
    "build_network",
    "export_folder",
    "import_stock",
    "load_network",
    "save_checkpoint",
    "stock_settings",
    "stock_weights",
]

MODEL, FORMAT, FORMAT_VERSION = "vq_wav2vec", "vqw2v_plugin", 1
_PREFIX = "network."  # of the weights in a file of fairseq's: the model's one submodule


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained network in eval mode, and the audio that it expects."""

    network: VqWav2Vec
    sample_rate: int  # Hz
    normalize: bool  # each clip at zero mean and unit variance
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # where the file says so


def load_network(path: str | Path) -> Loaded:
    """What fairseq's trainer wrote for `vq_wav2vec`, or `vqw2v import`, or `vqw2v export` (the folder)."""
    path = Path(path)
    if path.is_dir() or path.suffix == ".safetensors":
        return _load_folder(path)
    state = read_pickle(path)
    cfg = _mapping(state.get("cfg"))
    model, task = _mapping(cfg.get("model")), _mapping(cfg.get("task"))
    name = model.get("_name")
    if name != MODEL:
        remedy = f"; make it one of ours first: `vqw2v import {path} OUT.pt`" if name in ARCHITECTURES else ""
        raise CheckpointError(f"{path} holds the model {name!r}; expected {MODEL!r}{remedy}")
    settings = {
        key: value for key, value in model.items() if key in SETTINGS
    }  # fairseq adds names of its own
    network = build_checked(settings, str(path))
    own = {k.removeprefix(_PREFIX): v for k, v in state["model"].items() if k.startswith(_PREFIX)}
    beside = {k: v for k, v in state["model"].items() if not k.startswith(_PREFIX)}
    load_weights(network, {**own, **beside}, str(path))
    audio = {"sample_rate": 16_000, "normalize": False, **task}
    return _loaded(network, audio, _mapping(state.get("made_from")), str(path))


def _load_folder(path: Path) -> Loaded:
    config, weights, where = read_folder(path)
    if config.get("format") != FORMAT or config.get("model") != MODEL:
        got = config.get("model", config.get("model_type"))
        raise CheckpointError(
            f"{where} is of the format {config.get('format')!r} and the model {got!r}; "
            f"expected {FORMAT!r} and {MODEL!r}, as `vqw2v export` writes them"
        )
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{where}: `format_version` is {version!r}; expected {FORMAT_VERSION}, or a newer vqw2v_plugin"
        )
    for name in ("settings", "sample_rate", "normalize"):
        if name not in config:
            raise CheckpointError(f"{where} lacks `{name}`; expected it as `vqw2v export` writes it")
    if not isinstance(config["settings"], dict):
        raise CheckpointError(f"{where}: `settings` is no JSON object; expected the model's options")
    network = build_checked(config["settings"], str(where))
    load_weights(network, weights, str(where.parent))
    return _loaded(network, config, _mapping(config.get("made_from")), str(where))


def _loaded(network: VqWav2Vec, audio: Mapping[str, Any], made_from: Mapping[str, Any], where: str) -> Loaded:
    rate, normalize = audio["sample_rate"], audio["normalize"]
    if type(rate) is not int or rate < 1:
        raise CheckpointError(f"{where}: `sample_rate` is {rate!r}; expected a number of Hz")
    if type(normalize) is not bool:
        raise CheckpointError(f"{where}: `normalize` is {normalize!r}; expected true or false")
    return Loaded(network.eval(), rate, normalize, made_from)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@dataclasses.dataclass(frozen=True)
class Imported:
    """A stock checkpoint's network, and what fairseq wants to know beside it."""

    loaded: Loaded
    infonce: bool
    num_updates: int
    ignored: list[str]  # options of the file that neither stock nor ours knows


def import_stock(path: str | Path) -> Imported:
    """Stock fairseq's wav2vec or vq-wav2vec, today's file or one of 2019."""
    path = Path(path)
    stock = read_stock(path)
    try:
        settings = {k: v for k, v in stock_settings(stock.options).items() if k in SETTINGS}
        settings.update(quantizer_args="{}", quantizer_position="encoder", max_update=stock.max_update)
        network = build_checked(settings, "stock's model")
        load_weights(network, stock_weights(stock.weights, network), "stock's model")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    audio: dict[str, Any] = {"sample_rate": 16_000, "normalize": False}
    audio |= {name: stock.task[name] for name in audio if stock.task.get(name) is not None}
    made_from = {"file": path.name, "sha256": sha256(path), "kind": stock.kind}
    return Imported(
        _loaded(network, audio, made_from, str(path)),
        bool(stock.options.get("infonce") or False),
        stock.num_updates,
        unknown_options(stock, SETTINGS),
    )


def save_checkpoint(imported: Imported, out: str | Path, force: bool = False) -> None:
    """Plain data in the layout of fairseq's trainer: `load_network`, fairseq and weights_only all read it."""
    loaded = imported.loaded
    state = {
        "args": None,
        "cfg": {
            "_name": None,
            "model": {"_name": MODEL, **dataclasses.asdict(loaded.network.config)},
            "task": {
                "_name": "vq_audio_pretraining",
                "data": ".",
                "sample_rate": loaded.sample_rate,
                "normalize": loaded.normalize,
            },
            "criterion": {"_name": "vq_contrastive", "infonce": imported.infonce},
        },
        "model": {f"{_PREFIX}{name}": value for name, value in loaded.network.state_dict().items()},
        "criterion": None,
        # enough for fairseq to load the model, or to fine-tune from it; there is no optimizer to go on with
        "optimizer_history": [
            {
                "criterion_name": "VqContrastiveCriterion",
                "optimizer_name": "none",
                "lr_scheduler_state": {},
                "num_updates": imported.num_updates,
            }
        ],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": None},
        "last_optimizer_state": None,
        "made_from": dict(loaded.made_from),
    }
    write_pickle(Path(out), state, force)


def export_folder(path: str | Path, out: str | Path, force: bool = False) -> Loaded:
    """Any checkpoint that `load_network` reads, as safetensors + json."""
    path = Path(path)
    loaded = load_network(path)
    source = path / WEIGHTS_NAME if path.is_dir() else path
    made_from: dict[str, Any] = {"file": source.name, "sha256": sha256(source)}
    if loaded.made_from:
        made_from["from"] = dict(loaded.made_from)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": MODEL,
        "sample_rate": loaded.sample_rate,
        "normalize": loaded.normalize,
        "settings": dataclasses.asdict(loaded.network.config),
        "made_from": made_from,
    }
    write_folder(Path(out), config, loaded.network.state_dict(), force)
    return loaded


SETTINGS = frozenset(f.name for f in dataclasses.fields(VqWav2VecConfig))
_NAMED = 3  # how many misfitting weights an error names


def build_network(settings: Mapping[str, Any]) -> VqWav2Vec:
    """An untrained network; options that are not given have the paper's values, others' are ignored."""
    return make_network(
        VqWav2VecConfig(**_checked({name: value for name, value in settings.items() if name in SETTINGS}))
    )


def make_network(config: VqWav2VecConfig) -> VqWav2Vec:
    """An untrained network with the quantizer that its settings name."""
    options = dataclasses.asdict(config)
    for name in ("quantizer", "quantizer_args", "quantizer_position"):
        options.pop(name)

    return VqWav2Vec.make(
        config, lambda dim: build_quantizer(config.quantizer, dim, options, config.quantizer_args)
    )


def build_checked(settings: Mapping[str, Any], where: str) -> VqWav2Vec:
    """`build_network` for settings out of a file; the caller's random numbers are left alone."""
    try:
        with torch.random.fork_rng(devices=[]):
            return make_network(VqWav2VecConfig(**_checked(settings)))
    except CheckpointError:
        raise
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{where}: its settings give no network: {reason}") from error


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, every one a known name with a value of its type."""
    fields = {f.name: f for f in dataclasses.fields(VqWav2VecConfig)}
    types = typing.get_type_hints(VqWav2VecConfig)
    checked = {}
    for name, value in settings.items():
        if name not in fields:
            raise ValueError(f"`{name}` is not known; expected only {', '.join(fields)}")
        checked[name] = _typed(name, value, types[name])
    return checked


def _typed(name: str, value: Any, kind: Any) -> Any:
    is_number = type(value) in (int, float)
    if kind is float and is_number:
        return float(value)
    if kind is bool:  # fairseq's options write words
        return is_on(name, value)
    if kind == list[float] and isinstance(value, (list, tuple)):
        if all(type(number) in (int, float) for number in value):
            return [float(number) for number in value]
    elif type(value) is kind or (kind == (int | None) and (value is None or type(value) is int)):
        return value
    expected = kind.__name__ if kind in (int, float, str) else str(kind)
    raise ValueError(f"`{name}` is {value!r}; expected {expected}")


def load_weights(network: VqWav2Vec, weights: Mapping[str, Tensor], where: str) -> None:
    """All parameters must be there and fit; a buffer that is not there keeps its first value."""
    expected = network.state_dict()
    buffers = {name for name, _ in network.named_buffers()}
    problems = []
    for name, own in expected.items():
        if name not in weights:
            if name not in buffers:
                problems.append(f"`{name}` is missing, expected {list(own.shape)}")
        elif weights[name].shape != own.shape:
            problems.append(f"`{name}` has the shape {list(weights[name].shape)}, expected {list(own.shape)}")
        elif weights[name].is_floating_point() != own.is_floating_point():
            problems.append(f"`{name}` is of type {weights[name].dtype}, expected {own.dtype}")
        elif own.is_floating_point() and not bool(torch.isfinite(weights[name]).all()):
            problems.append(f"`{name}` holds NaN or infinity: take a checkpoint from before that")
    problems += [f"`{name}` has no place in the network" for name in weights if name not in expected]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise CheckpointError(f"{where}: its weights do not fit: {'; '.join(problems[:_NAMED])}{more}")
    network.load_state_dict(weights, strict=False)
