"""Settings and weights → the torch network that they describe, every name, type and shape checked."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .checkpoint_files import CheckpointError
from .modules.wav2vec.config import VqWav2VecConfig
from .modules.wav2vec.network import VqWav2Vec
from .quantizers import build_quantizer

SETTINGS = frozenset(f.name for f in dataclasses.fields(VqWav2VecConfig))
_NAMED = 3  # how many misfitting weights an error names


def build_network(settings: Mapping[str, Any]) -> VqWav2Vec:
    """An untrained network; options that are not given have the paper's values, others' are ignored."""
    config = VqWav2VecConfig(**{name: value for name, value in settings.items() if name in SETTINGS})
    config.vq_temp = list(config.vq_temp)
    options = dataclasses.asdict(config)
    for name in ("quantizer", "quantizer_args", "quantizer_position"):
        options.pop(name)

    return VqWav2Vec(
        config, lambda dim: build_quantizer(config.quantizer, dim, options, config.quantizer_args)
    )


def build_checked(settings: Mapping[str, Any], where: str) -> VqWav2Vec:
    """`build_network` for settings out of a file; the caller's random numbers are left alone."""
    try:
        with torch.random.fork_rng(devices=[]):
            return build_network(_checked(settings))
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
        checked[name] = _typed(name, value, types[name], fields[name].default)
    return checked


def _typed(name: str, value: Any, kind: Any, default: Any) -> Any:
    is_number = type(value) in (int, float)
    if kind is float and is_number:
        return float(value)
    if kind is str and type(value) is bool and default in ("true", "false"):
        return str(value).lower()
    if kind == typing.List[float] and isinstance(value, (list, tuple)):
        if all(type(number) in (int, float) for number in value):
            return [float(number) for number in value]
    elif type(value) is kind or (kind == typing.Optional[int] and (value is None or type(value) is int)):
        return value
    expected = getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind)
    raise ValueError(f"`{name}` is {value!r}; expected {expected.replace('typing.', '')}")


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
