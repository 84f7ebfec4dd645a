"""letters ──decoder──▶ text: the best path of the model alone; no lexicon, no LM, nothing to install."""

from __future__ import annotations

import torch

from ..modules.acoustic.losses import make_sequence_loss
from ..text.units import Units
from .hypothesis import Emissions, Hypothesis, Transitions, check_emissions, check_transitions
from .paths import frame_probabilities, spell_path, words_of
from .word_times import heard_words


class GreedyDecoder:
    """CTC: the best column of every frame. ASG: the best path by emissions and transitions."""

    def __init__(
        self, units: Units, transitions: Transitions | None = None, frame_seconds: float | None = None
    ) -> None:
        self.units, self.frame_seconds = units, frame_seconds
        self.transitions = check_transitions(transitions, len(units), units.loss)
        self._loss = make_sequence_loss(units.loss.name, len(units), units.blank)
        if self._loss.transitions is not None and self.transitions is not None:
            with torch.no_grad():
                self._loss.transitions.copy_(torch.from_numpy(self.transitions))

    def decode(self, emissions: Emissions) -> list[Hypothesis]:
        """The one answer there is."""
        emissions = check_emissions(emissions, len(self.units))
        if not len(emissions):
            return [Hypothesis((), (), 0.0, 0.0)]
        best = self._loss.best_path(torch.from_numpy(emissions).unsqueeze(0), torch.tensor([len(emissions)]))
        probabilities = frame_probabilities(emissions, self.transitions)
        labels = spell_path(best.labels[0].tolist(), self.units, probabilities)
        score = float(best.scores[0])
        words = heard_words(
            words_of(labels, self.units), labels, self.units, len(emissions), self.frame_seconds
        )
        return [Hypothesis(tuple(labels), tuple(words), score, score)]
