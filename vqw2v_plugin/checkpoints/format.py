"""Any model on disk: a header in plain json and weights, in a file of fairseq's trainer or a folder.

Nothing in a file is run. What one kind of model adds is its `Kind`, in a file beside this one.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from .checks import check_finite, load_weights
from .files import CheckpointError, read_folder, read_pickle, write_pickle

FORMAT, FORMAT_VERSION = "vqw2v_plugin", 1
_PREFIX = "network."  # of the weights in a trainer's file: the registered model's submodule
N = TypeVar("N", bound=nn.Module)
Weights = dict[str, Tensor]
State = Mapping[str, Any]  # what the trainer's file holds


@dataclasses.dataclass(frozen=True)
class Audio:
    """The audio that a network hears."""

    sample_rate: int = 16_000  # Hz
    normalize: bool = False  # each clip at zero mean and unit variance

    def __post_init__(self) -> None:
        if type(self.sample_rate) is not int or self.sample_rate < 1:
            raise ValueError(f"`sample_rate` is {self.sample_rate!r}; expected a number of Hz")
        if type(self.normalize) is not bool:
            raise ValueError(f"`normalize` is {self.normalize!r}; expected true or false")

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Audio:
        return cls(**{name: said[name] for name in AUDIO if name in said})


AUDIO = tuple(f.name for f in dataclasses.fields(Audio))


@dataclasses.dataclass(frozen=True)
class Header:
    """All that a checkpoint says beside its weights; settings, extra and made_from are plain json."""

    model: str
    settings: Mapping[str, Any]  # of the network
    audio: Audio | None = None  # where the network hears audio itself
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what this kind of model adds
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # file, sha256, and `from` so on
    num_updates: int = 0  # of training behind it


@dataclasses.dataclass(frozen=True)
class Restored(Generic[N]):
    """A trained network in eval mode, and what it was read from."""

    header: Header
    network: N
    beside: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False)  # weights kept with it
    ignored: Sequence[str] = ()  # options of a stock file that nobody knows

    @property
    def weights(self) -> Weights:
        return {**self.network.state_dict(), **self.beside}

    @property
    def summary(self) -> str:
        """A few words for the user."""
        return KINDS[self.header.model].summary(self)


class Kind(ABC, Generic[N]):
    """How checkpoints of one model are read, built and written; `checkpoints/__init__.py` lists them."""

    model: ClassVar[str]  # as it is registered with fairseq, and called in config.json
    expected: ClassVar[str]  # in errors: what one of this kind is
    destination: ClassVar[str]  # in errors: where one of this kind belongs
    hears_audio: ClassVar[bool] = False  # its header has `audio`
    beside: ClassVar[tuple[str, ...]] = ()  # prefixes of weights that go with the network, not into it
    words: ClassVar[tuple[str, ...]] = ()  # prefixes of tensors in a trainer's file that `header` has read

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        """Whether a trainer's file with this `_name` is of this kind."""
        return name == self.model

    @abstractmethod
    def header(self, state: State) -> Header:
        """What a trainer's file says; a ValueError where it says it wrongly."""

    @abstractmethod
    def state(self, header: Header) -> dict[str, Any]:
        """The same for a trainer's file: `cfg`, and if need be `task_state` and words among the weights."""

    @abstractmethod
    def build(self, header: Header) -> N:
        """An untrained network; a ValueError where the header is wrong."""

    @abstractmethod
    def settings(self, network: N) -> dict[str, Any]:
        """What a header says of the network."""

    @abstractmethod
    def summary(self, restored: Restored[N]) -> str:
        """A few words for the user."""

    def is_stock(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        """Whether a file is stock fairseq's, and can become one of this kind."""
        return False

    def from_stock(self, state: State, path: Path, dict_path: str | Path | None) -> Restored[N]:
        raise NotImplementedError

    def restore(self, header: Header, weights: Mapping[str, Tensor], where: str) -> Restored[N]:
        return self.filled(header, self.untrained(header, where), weights, where)

    def untrained(self, header: Header, where: str) -> N:
        """`build`, whatever the header says; the caller's random numbers are left alone."""
        try:
            with torch.random.fork_rng(devices=[]):
                return self.build(header)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{where}: its settings give no network: {reason}") from error

    def filled(self, header: Header, network: N, weights: Mapping[str, Tensor], where: str) -> Restored[N]:
        """The network with its weights, and a header that says all of its settings."""
        beside = {name: value for name, value in weights.items() if name.startswith(self.beside)}
        check_finite(beside, where)
        load_weights(network, {k: v for k, v in weights.items() if k not in beside}, where)
        header = dataclasses.replace(header, settings=self.settings(network))
        _check_plain(header, where)
        return Restored(header, network.eval(), beside)

    def load(self, path: Path) -> Restored[N]:
        header, weights = read_checkpoint(path, self)
        return self.restore(header, weights, str(path))


KINDS: dict[str, Kind[Any]] = {}  # by model


def is_exported(path: Path) -> bool:
    """A folder that `vqw2v export` wrote, or the safetensors file in it."""
    return path.is_dir() or path.suffix == ".safetensors"


def read_checkpoint(path: Path, wanted: Kind[Any] | None = None) -> tuple[Header, Weights]:
    """Header and weights of one of our models, of any kind or of the one that is wanted."""
    return _read_folder(path, wanted) if is_exported(path) else read_state(read_pickle(path), path, wanted)


def read_state(state: State, path: Path, wanted: Kind[Any] | None = None) -> tuple[Header, Weights]:
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
        if full.startswith((_PREFIX, *kind.beside)):
            weights[full.removeprefix(_PREFIX)] = value
        elif not full.startswith(kind.words):
            raise CheckpointError(f"{path}: its weights do not fit: `{full}` has no place in the network")
    return header, weights


def _read_folder(path: Path, wanted: Kind[Any] | None) -> tuple[Header, Weights]:
    config, weights, where = read_folder(path)
    name, version = config.get("model", config.get("model_type")), config.get("format_version")
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{where} is of the format {config.get('format')!r} and holds the model {name!r}; expected the "
            f"format {FORMAT!r}, as `vqw2v export` writes it"
        )
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{where}: `format_version` is {version!r}; expected {FORMAT_VERSION}, or a newer vqw2v_plugin"
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
    wanted: Kind[Any] | None,
) -> Kind[Any]:
    """The kind of a file's model, if it is known and the one that is wanted."""
    if kind is not None and wanted in (None, kind):
        return kind
    holds = "no model that is known" if name is None else f"the model {name!r}"
    holds = f"the model {kind.model!r}" if kind is not None else holds
    expected = wanted.expected if wanted else f"one of {', '.join(map(repr, KINDS))}"
    remedy = f"; this one {kind.destination}" if kind is not None else ""
    said = name if isinstance(name, str) else None
    if kind is None and any(known.is_stock(said, weights) for known in KINDS.values()):
        remedy = f"; make it one of ours first: `vqw2v import {path} OUT.pt`"
    raise CheckpointError(f"{path} holds {holds}; expected {expected}{remedy}")


def _check_plain(header: Header, where: str) -> None:
    """Whether it is json and can be written again."""
    for name in ("settings", "extra", "made_from"):
        try:
            json.dumps(getattr(header, name), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{where}: `{name}` is no plain data ({error}); expected what json can say"
            ) from error


def write_checkpoint(path: Path, header: Header, weights: Mapping[str, Tensor], force: bool = False) -> None:
    """Plain data in the layout of fairseq's trainer: we, fairseq and weights_only all read it."""
    kind = KINDS[header.model]
    said = kind.state(header)
    own = {
        name if name.startswith(kind.beside) else f"{_PREFIX}{name}": value for name, value in weights.items()
    }
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


def model_name(state: State) -> str | None:
    """What a trainer's file calls its model, today's `cfg` or 2019's `args`."""
    options = model_options(state)
    name = options.get("_name") or options.get("arch")
    return name if isinstance(name, str) else None


def model_options(state: State) -> dict[str, Any]:
    """The model's options; `args` mixes in all others."""
    model = mapping(state.get("cfg")).get("model") or state.get("args")
    return dict(vars(model) if isinstance(model, Namespace) else mapping(model))


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def num_updates(state: State) -> int:
    history = state.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else None
    return whole(mapping(last).get("num_updates"))
