"""letters ──decoder──▶ text: the settings of decoders, of `tune` and of `transcribe`, with their defaults.

Commands read these for their help, so neither torch nor numpy is imported here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import NamedTuple

from ..common.bounds import check_between

_WIDEST = 1_000_000  # hypotheses a frame, or an utterance
_MOST_POINTS = 1_000_000  # of `tune`
DECODERS = ("greedy", "lexicon", "free")
PART_SECONDS = 60.0  # of a file that are transcribed at once, at most


@dataclass(frozen=True)
class BeamSettings:
    """What a search may be told; weights count against KenLM's log10 and the emissions' natural logs."""

    beam: int = 500
    beam_threshold: float = 50.0
    beam_tokens: int | None = None  # best columns tried a frame; None: all
    lm_weight: float = 2.0
    word_score: float = 0.0  # for every word of a lexicon
    sil_score: float = 0.0  # for every frame of silence or boundary
    log_add: bool = False  # add the paths of one text, in place of the best of them
    nbest: int = 1

    def __post_init__(self) -> None:
        for name in ("beam", "nbest", "beam_tokens"):
            value = getattr(self, name)
            if value is not None:
                check_between(name, value, 1, _WIDEST)
        if not self.beam_threshold > 0:
            raise ValueError(f"`beam_threshold` is {self.beam_threshold:g}; expected more than 0")
        for name in Weights._fields:
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` is {getattr(self, name)}; expected a number")


@dataclass(frozen=True)
class DecoderSettings:
    """`--decoder`, `--lexicon`, `--lm`, and the beam's own."""

    decoder: str = "greedy"
    lexicon: str | None = None
    lm: str | None = None
    beam: BeamSettings = field(default_factory=BeamSettings)

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ValueError(f"`decoder` is {self.decoder!r}; expected one of {', '.join(DECODERS)}")
        if self.decoder == "lexicon" and not self.lexicon:
            raise ValueError("`decoder` is lexicon, but `lexicon` names no file; `vqw2v labels` writes one")
        if self.decoder != "lexicon" and self.lexicon:
            raise ValueError(f"`lexicon` is of no use to the decoder {self.decoder!r}; take `lexicon`")
        if self.decoder == "greedy" and self.lm:
            raise ValueError("`lm` is of no use to the decoder 'greedy'; take `lexicon` or `free`")

    def told(self) -> str:
        """For the screen, with what counts for this decoder alone."""
        if self.decoder == "greedy":
            return "decoder greedy"
        files = {"lexicon": self.lexicon, "lm": self.lm}
        named = [f"{name} {path}" for name, path in files.items() if path]
        return ", ".join(
            [f"decoder {self.decoder}", *named, *(f"{n} {v}" for n, v in asdict(self.beam).items())]
        )


class Weights(NamedTuple):
    """A point that `tune` tries, under the names of `BeamSettings`."""

    lm_weight: float
    word_score: float
    sil_score: float


@dataclass(frozen=True)
class Range:
    """Where a weight is looked for; equal ends: it is fixed."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.low:g} {self.high:g} is no range; expected two numbers, the lower first")

    @property
    def width(self) -> float:
        return self.high - self.low

    def nearest(self, value: float) -> float:
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Space:
    """The ranges of all weights. Steps may leave them where the best lies at an end."""

    lm_weight: Range = Range(0.0, 5.0)
    word_score: Range = Range(-4.0, 6.0)
    sil_score: Range = Range(-2.0, 2.0)

    def __post_init__(self) -> None:
        if self.lm_weight.low < 0:
            raise ValueError(f"the LM weight's range begins at {self.lm_weight.low:g}; expected 0 or more")

    @property
    def ranges(self) -> tuple[Range, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def free(self) -> list[int]:
        """The numbers of the weights that are looked for."""
        return [i for i, found in enumerate(self.ranges) if found.width]

    def without(self, *names: str) -> Space:
        """These weights fixed at 0, because nothing listens to them."""
        return replace(self, **dict.fromkeys(names, Range(0.0, 0.0)))

    def start(self, settings: BeamSettings) -> Weights:
        """The settings' own weights, as near as the ranges allow."""
        own = [getattr(settings, name) for name in Weights._fields]
        return Weights(*(found.nearest(value) for found, value in zip(self.ranges, own, strict=True)))


@dataclass(frozen=True)
class Effort:
    """How many points are spread, how many rounds of steps follow at most, and how many are kept."""

    points: int = 32
    rounds: int = 10
    keep: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        check_between("points", self.points, 0, _MOST_POINTS)
        check_between("keep", self.keep, 1, _MOST_POINTS)
        if self.rounds < 0 or self.points + self.rounds == 0:
            raise ValueError(
                f"`points` is {self.points}, `rounds` {self.rounds}; expected 0 or more, and not both 0"
            )
