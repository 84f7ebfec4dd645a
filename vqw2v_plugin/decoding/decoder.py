"""letters ──decoder──▶ text: the decoder that settings ask for, which is all that tasks and commands need."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..text.lexicon import read_lexicon
from ..text.units import Units
from .beam import BeamSettings, FreeDecoder, LexiconDecoder
from .greedy import GreedyDecoder
from .hypothesis import Decoder, Emissions

DECODERS = ("greedy", "lexicon", "free")


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


def make_decoder(settings: DecoderSettings, units: Units, transitions: Emissions | None = None) -> Decoder:
    """The decoder for emissions of these units; ASG's transitions [V, V] (to, from) belong to it."""
    if settings.decoder == "greedy":
        return GreedyDecoder(units, transitions)
    if settings.decoder == "free":
        return FreeDecoder(units, settings.lm, transitions, settings.beam)
    spellings = read_lexicon(settings.lexicon or "")
    return LexiconDecoder(units, spellings, settings.lm, transitions, settings.beam)
