"""What a checkpoint of any kind says of its model, and how a kind makes a network from that."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..audio.clip import HIGHEST_RATE
from ..common.words import shortened
from .bounds import WithoutMemory, no_larger_than
from .checks import check_finite, check_plain, load_weights, shown
from .files import CheckpointError

N = TypeVar("N", bound=nn.Module)
Weights = dict[str, Tensor]
State = Mapping[str, Any]  # what the trainer's file holds


@dataclasses.dataclass(frozen=True)
class Audio:
    """The audio that a network hears."""

    sample_rate: int = 16_000  # Hz
    normalize: bool = False  # each clip at zero mean and unit variance

    def __post_init__(self) -> None:
        if type(self.sample_rate) is not int or not 1 <= self.sample_rate <= HIGHEST_RATE:
            raise ValueError(
                f"`sample_rate` is {shown(self.sample_rate)}; expected a number of Hz, "
                f"{HIGHEST_RATE:,} at most"
            )
        if type(self.normalize) is not bool:
            raise ValueError(f"`normalize` is {shown(self.normalize)}; expected true or false")

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
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # file, sha256; `from`: and that
    num_updates: int = 0  # that training has made


@dataclasses.dataclass(frozen=True)
class Restored(Generic[N]):
    """A trained network in eval mode, and what it was read from."""

    header: Header
    network: N
    extra_weights: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False)  # not in it
    ignored: Sequence[str] = ()  # options of a stock file that nobody knows

    @property
    def weights(self) -> Weights:
        return {**self.network.state_dict(), **self.extra_weights}

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
    extra_weights: ClassVar[tuple[str, ...]] = ()  # prefixes of weights that go with the network, not into it
    no_weights: ClassVar[tuple[str, ...]] = ()  # prefixes of tensors in a trainer's file that `header` reads

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        """Whether a trainer's file with this `_name` is of this kind."""
        return name == self.model

    @abstractmethod
    def header(self, state: State) -> Header:
        """What a trainer's file says; a ValueError where it says it wrongly."""

    @abstractmethod
    def state(self, header: Header) -> dict[str, Any]:
        """The same for a trainer's file: `cfg`, and if need be `task_state`, and `model` but for weights."""

    def check_options(self, header: Header, name: str, options: Mapping[str, Any]) -> None:
        """A ValueError where fairseq's options of the model, which it builds from, are not the header's."""

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
        return self.with_weights(header, self.untrained(header, weights, where), weights, where)

    def untrained(self, header: Header, weights: Mapping[str, Tensor], where: str) -> N:
        """`build`, whatever the header says of these weights; the caller's random numbers stay."""
        check_plain(weights, where)
        try:
            with torch.random.fork_rng(devices=[]), no_larger_than(weights.values()):
                self._try(header)
            with torch.random.fork_rng(devices=[]), no_larger_than(weights.values()):
                return self.build(header)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{where}: its settings give no network: {shortened(reason, 1500)}"
            ) from error

    def _try(self, header: Header) -> None:
        """`build` where tensors have no memory: what is too large says so before it has any."""
        try:
            with torch.device("meta"), WithoutMemory():
                self.build(header)
        except (NotImplementedError, RuntimeError):  # a quantizer that looks at numbers as it is made
            pass

    def with_weights(
        self, header: Header, network: N, weights: Mapping[str, Tensor], where: str
    ) -> Restored[N]:
        """The network with its weights, and a header that says all of its settings."""
        extra = {name: value for name, value in weights.items() if name.startswith(self.extra_weights)}
        check_finite(extra, where)
        load_weights(network, {k: v for k, v in weights.items() if k not in extra}, where)
        header = dataclasses.replace(header, settings=self.settings(network))
        _check_plain(header, where)
        return Restored(header, network.eval(), extra)


KINDS: dict[str, Kind[Any]] = {}  # by model; `__init__.py` fills it


def _check_plain(header: Header, where: str) -> None:
    """Whether it is json and can be written again."""
    for name in ("settings", "extra", "made_from"):
        try:
            json.dumps(getattr(header, name), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{where}: `{name}` is no plain data ({error}); expected what json can say"
            ) from error
