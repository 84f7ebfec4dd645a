"""letters ──decoder──▶ text: the best path of the model alone; no lexicon, no LM, nothing to install."""

from __future__ import annotations

import torch

from ..modules.acoustic.asg import ASG
from ..modules.acoustic.ctc import CTC
from ..text.units import Units
from .hypothesis import Emissions, Hypothesis, check_emissions, check_transitions
from .paths import frame_probabilities, spell_path, words_of


class GreedyDecoder:
    """CTC: the best column of every frame. ASG: the best path by emissions and transitions."""

    def __init__(self, units: Units, transitions: Emissions | None = None) -> None:
        self.units = units
        self.transitions = check_transitions(transitions, len(units), units.is_ctc)
        self._model: ASG | CTC
        if units.blank is not None:
            self._model = CTC(units.blank)
        else:
            self._model = ASG(len(units))
            with torch.no_grad():
                self._model.transitions.copy_(torch.from_numpy(self.transitions))

    def decode(self, emissions: Emissions) -> list[Hypothesis]:
        """The one answer there is."""
        emissions = check_emissions(emissions, len(self.units))
        if not len(emissions):
            return [Hypothesis((), (), 0.0, 0.0)]
        best = self._model.best_path(torch.from_numpy(emissions).unsqueeze(0), torch.tensor([len(emissions)]))
        probabilities = frame_probabilities(emissions, self.transitions)
        labels = spell_path(best.labels[0].tolist(), self.units, probabilities)
        score = float(best.scores[0])
        return [Hypothesis(tuple(labels), tuple(words_of(labels, self.units)), score, score)]
