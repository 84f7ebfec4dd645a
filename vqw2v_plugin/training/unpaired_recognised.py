"""features ──generator──▶ phones: what a model says by itself, its best phone of each frame."""

from typing import Any, List

from ..text.units import Units
from .unpaired_data import spoken


def phones_of(out: Any, units: Units) -> List[List[str]]:
    """Of each utterance of a batch, without silence; frames are phones, as the model's settings join them."""
    best, lengths = out.emissions.argmax(-1).tolist(), out.lengths.tolist()
    return [
        spoken([units.symbols[column] for column in row[:length]])
        for row, length in zip(best, lengths, strict=True)
    ]
