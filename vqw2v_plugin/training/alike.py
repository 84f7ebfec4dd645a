"""states ──acoustic model──▶ letters, how it learns: the alarm when it says the same whatever it hears.

The loss falls then, as frequent labels become likely, and the error rate does not. The hypotheses of the
validation tell it: their entropy is far below that of what was said.
"""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from ..common.words import shortened

logger = logging.getLogger(__name__)

_LEAST_UTTERANCES, _LEAST_BITS = 8, 2.0  # of references: fewer, or more alike, tell nothing
_ALIKE = 0.3  # of the references' entropy
_FIRST_UPDATE, _SHARE = 100, 0.2  # of a training, before which a model may still say the same
_SHARE_SILENT = 0.4  # CTC says nothing at first
_UPDATES = 1000  # in place of shares, where it is not known how long the training is
_WIDE = 0.5  # of an utterance: what sees more of it sees no part of it


class HypothesesAlarm:
    """Collects what a validation says; looks at it once all of it is there."""

    def __init__(self) -> None:
        self._said: Counter[tuple[str, ...]] = Counter()
        self._meant: Counter[tuple[str, ...]] = Counter()
        self._frames: list[int] = []
        self._rang = False

    def begin(self) -> None:
        """What is said from here on is of another validation."""
        self._said, self._meant, self._frames = Counter(), Counter(), []

    def add(self, said: Sequence[str], meant: Sequence[str], frames: int) -> None:
        """`frames`: of emissions, that the utterance has."""
        self._said[tuple(said)] += 1
        self._meant[tuple(meant)] += 1
        self._frames.append(frames)

    def look(self, num_updates: int, max_update: int, receptive_field: int) -> None:
        """`receptive_field`: frames of emissions that one of them sees."""
        count = len(self._frames)
        bits, most_bits = entropy(self._said), entropy(self._meant)
        if count < _LEAST_UTTERANCES or most_bits < _LEAST_BITS:
            return
        said, times = self._said.most_common(1)[0]
        silent = not said
        share = _SHARE_SILENT if silent else _SHARE
        due = max(_FIRST_UPDATE, share * max_update if max_update else _UPDATES)
        if bits > _ALIKE * most_bits or num_updates < due:
            if self._rang and bits > _ALIKE * most_bits:
                self._rang = False
                logger.info(f"hypotheses differ again by update {num_updates}: {bits:.1f} bits")
        elif not self._rang:
            self._rang = True
            text = "nothing" if silent else repr(shortened(" ".join(said), 40))
            logger.warning(
                f"the model says the same whatever it hears: by update {num_updates}, {times} of {count} "
                f"hypotheses of the validation set are {text} ({bits:.1f} bits of entropy, what was said has "
                f"{most_bits:.1f}); {self._advice(silent, receptive_field)}"
            )
        self.begin()

    def _advice(self, silent: bool, receptive_field: int) -> str:
        """The likely cause, and what helps."""
        length, found = median(self._frames), []
        if receptive_field > _WIDE * length:
            found.append(
                f"a frame sees {receptive_field} of an utterance's {length:.0f} frames, so that all see the "
                "same: take fewer layers or shorter kernels (`model.conv_layers`)"
            )
        if silent:
            found.append("or labels come late: train longer, or with a higher `optimization.lr`")
        found.append(
            "or utterances are mostly silence at their ends: `vqw2v manifest … --trim 0.1` leaves it out"
        )
        return "; ".join(found).removeprefix("or ")


def entropy(counts: Counter[tuple[str, ...]]) -> float:
    """In bits."""
    total = sum(counts.values())
    return sum(n / total * math.log2(total / n) for n in counts.values())
