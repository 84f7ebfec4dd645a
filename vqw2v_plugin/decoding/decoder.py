"""letters ──decoder──▶ text: the decoder that settings ask for, which is all that tasks and commands need."""

from __future__ import annotations

from ..text.lexicon import read_lexicon
from ..text.units import Units
from .beam import FreeDecoder, LexiconDecoder
from .greedy import GreedyDecoder
from .hypothesis import Decoder, Transitions
from .settings import DecoderSettings


def make_decoder(
    settings: DecoderSettings,
    units: Units,
    transitions: Transitions | None = None,
    frame_seconds: float | None = None,
) -> Decoder:
    """The decoder for emissions of these units; a loss's transitions [V, V] (to, from) belong to it.

    `frame_seconds`: from one frame to the next; with it words of a loss without a blank have the times at
    which they sound, else those of their labels.
    """
    if settings.decoder == "greedy":
        return GreedyDecoder(units, transitions, frame_seconds)
    if settings.decoder == "free":
        return FreeDecoder(units, settings.lm, transitions, settings.beam, frame_seconds)
    spellings = read_lexicon(settings.lexicon or "")
    return LexiconDecoder(units, spellings, settings.lm, transitions, settings.beam, frame_seconds)
