"""letters ──decoder──▶ text: beam search by flashlight, over a lexicon's words or over labels alone.

wav2letter's decoder (arXiv 1609.03193 §2.4). flashlight has one search with a blank, for CTC, and one with
transitions, for ASG; a loss with neither takes the second, with transitions that cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ..text.lexicon import Spellings, columns_of
from ..text.units import Units
from . import endings
from .hypothesis import Emissions, Hypothesis, TimedText, Transitions, check_emissions, check_transitions
from .language_model import (
    check_knows_labels,
    check_knows_words,
    import_flashlight,
    load_language_model,
    make_trie,
)
from .paths import Probabilities, frame_probabilities, log_softmax, spell_path, words_ending, words_of
from .settings import BeamSettings
from .word_times import heard_words

Beam = TypeVar("Beam", bound="_BeamDecoder")


class _BeamDecoder:
    """What both searches share: emissions in, paths out."""

    def __init__(
        self,
        units: Units,
        transitions: Transitions | None,
        settings: BeamSettings,
        frame_seconds: float | None = None,
    ) -> None:
        self.units, self.settings, self.frame_seconds = units, settings, frame_seconds
        self.transitions = check_transitions(transitions, len(units), units.loss)
        self._has_endings = False
        self._search: Any = None

    def with_settings(self: Beam, **changes: Any) -> Beam:
        """The same lexicon and LM under other weights, at no cost: for `tune`."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, settings=replace(self.settings, **changes), _search=None)
        return other

    def decode(self, emissions: Emissions) -> list[Hypothesis]:
        """The best first, `nbest` at most, no two of one text."""
        emissions = check_emissions(emissions, len(self.units))
        if not len(emissions):
            return [Hypothesis((), (), 0.0, 0.0)]
        if self._search is None:
            self._search = self._make_search()
        scores = self._scores(emissions)
        results = self._search.decode(scores.ctypes.data, *scores.shape)
        probabilities = frame_probabilities(emissions, self.transitions)
        best_first = sorted(results, key=lambda result: -result.score)
        meant = (result for result in best_first if self._is_meant(result))
        found = self._distinct(self._hypothesis(result, probabilities) for result in meant)
        if not found:  # a beam so narrow that it lost them
            found = self._distinct(self._hypothesis(result, probabilities) for result in best_first)
        return found[: self.settings.nbest] or [Hypothesis((), (), -math.inf, -math.inf)]

    def _distinct(self, hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
        """The best of each text; with `log_add` it has the paths of the others too (two may end one text)."""
        found: dict[str, list[Hypothesis]] = {}
        for hypothesis in hypotheses:
            found.setdefault(hypothesis.text, []).append(hypothesis)
            if len(found) == self.settings.nbest and not self.settings.log_add:
                break  # the rest is worse
        best = [same[0] for same in found.values()]
        if self.settings.log_add:
            totals = [float(np.logaddexp.reduce([h.score for h in same])) for same in found.values()]
            best = [replace(h, score=total) for h, total in zip(best, totals, strict=True)]
        return sorted(best, key=lambda hypothesis: -hypothesis.score)

    def _scores(self, emissions: Emissions) -> Emissions:
        """What flashlight searches: where frames know nothing of each other, their log-probabilities."""
        apart = not self.units.loss.has_transitions
        scores = np.ascontiguousarray(log_softmax(emissions)) if apart else emissions
        return endings.widen_emissions(scores) if self._has_endings else scores

    def _steps(self) -> list[float]:
        """The transitions as flashlight takes them; the search with a blank takes none."""
        if self.units.loss.has_blank:
            return []
        own = self.transitions
        if own is None:
            own = np.zeros((len(self.units), len(self.units)), np.float32)
        wide = endings.widen_transitions(own) if self._has_endings else own
        steps: list[float] = wide.ravel().tolist()
        return steps

    def _options(self, decoder: Any) -> dict[str, Any]:
        s, tokens = self.settings, self._width
        if s.beam_tokens is not None:
            tokens = min(tokens, s.beam_tokens * (2 if self._has_endings else 1))
        return {
            "beam_size": s.beam,
            "beam_size_token": tokens,
            "beam_threshold": s.beam_threshold,
            "lm_weight": s.lm_weight,
            "sil_score": s.sil_score,
            "log_add": s.log_add,
            "criterion_type": getattr(decoder.CriterionType, self.units.loss.search),
        }

    @property
    def _width(self) -> int:
        return 2 * len(self.units) + 1 if self._has_endings else len(self.units)

    def _lexicon_search(self, trie: Any, lm: Any, num_words: int, silence: int, word_score: float) -> Any:
        decoder = import_flashlight()
        options = decoder.LexiconDecoderOptions(
            word_score=word_score, unk_score=-math.inf, **self._options(decoder)
        )
        blank = -1 if self.units.blank is None else self.units.blank
        return decoder.LexiconDecoder(options, trie, lm, silence, blank, num_words, self._steps(), False)

    def _make_search(self) -> Any:
        raise NotImplementedError

    def _is_meant(self, result: Any) -> bool:
        """Whether the path says what the search takes it for."""
        return True

    def _hypothesis(self, result: Any, probabilities: Probabilities) -> Hypothesis:
        frames = len(probabilities)
        # flashlight adds a silence before the first frame and one behind the last.
        path = result.tokens[1 : frames + 1]
        path = endings.without_endings(path, len(self.units)) if self._has_endings else path
        labels = spell_path(path, self.units, probabilities)
        words = self._words(labels, result.words[1 : frames + 2])
        words = heard_words(words, labels, self.units, frames, self.frame_seconds)
        scores = (result.score, result.emittingModelScore, result.lmScore)
        return Hypothesis(tuple(labels), tuple(words), *scores)

    def _words(self, labels: list[TimedText], ends: list[int]) -> list[TimedText]:
        raise NotImplementedError


class LexiconDecoder(_BeamDecoder):
    """Words of a lexicon alone, by a language model over words where there is one."""

    def __init__(
        self,
        units: Units,
        spellings: Spellings,
        lm: str | None = None,
        transitions: Transitions | None = None,
        settings: BeamSettings | None = None,
        frame_seconds: float | None = None,
    ) -> None:
        super().__init__(units, transitions, settings or BeamSettings(), frame_seconds)
        self._vocabulary = list(spellings)
        self._has_boundary = units.boundary is not None and units.kind != "pieces"
        self._has_endings = not self._has_boundary
        self._silence = units.silence
        if self._silence < 0 or (self._has_endings and self._silence == units.boundary):
            self._silence = self._width - 1
        spelled = columns_of(spellings, units)
        self._lm = load_language_model(lm, self._vocabulary)
        if lm is not None:
            check_knows_words(lm, self._vocabulary)
        self._ways: dict[int, set[tuple[int, ...]]] = {}  # of each word, where paths must be looked at
        if self._has_endings:
            if units.loss.has_blank:
                place = {word: i for i, word in enumerate(self._vocabulary)}
                for word, columns in spelled:
                    self._ways.setdefault(place[word], set()).add(tuple(columns))
            spelled = [(word, way) for word, c in spelled for way in endings.with_endings(c, len(units))]
        self._trie = make_trie(spelled, self._vocabulary, self._lm, self._width)

    def _make_search(self) -> Any:
        score = self.settings.word_score
        return self._lexicon_search(self._trie, self._lm, len(self._vocabulary), self._silence, score)

    def _is_meant(self, result: Any) -> bool:
        if not self._ways:
            return True
        path, words = result.tokens[1:-1], result.words[1:-1]
        return endings.is_spelled(path, words, self._ways, len(self.units), self.units.blank or 0)

    def _scores(self, emissions: Emissions) -> Emissions:
        """With a blank, and a frame more where a boundary is free: no boundary need follow the last word."""
        scores = super()._scores(emissions)
        if not self.units.loss.has_blank or not self._has_boundary:
            return scores
        last = np.full((1, scores.shape[1]), endings.NEVER, np.float32)
        last[0, [self.units.boundary or 0, self.units.blank or 0]] = 0.0
        return np.concatenate([scores, last])

    def _words(self, labels: list[TimedText], ends: list[int]) -> list[TimedText]:
        found = [(frame, self._vocabulary[word]) for frame, word in enumerate(ends) if word >= 0]
        silence = self.units.symbols[self.units.silence] if self.units.silence >= 0 else ""
        return words_ending(labels, found, silence)


class FreeDecoder(_BeamDecoder):
    """Any sequence of labels, by a language model over labels where there is one."""

    def __init__(
        self,
        units: Units,
        lm: str | None = None,
        transitions: Transitions | None = None,
        settings: BeamSettings | None = None,
        frame_seconds: float | None = None,
    ) -> None:
        super().__init__(units, transitions, settings or BeamSettings(), frame_seconds)
        self._lm = load_language_model(lm, units.symbols)
        if lm is not None:
            check_knows_labels(lm, [s for column, s in enumerate(units.symbols) if column != units.blank])
        if units.loss.has_blank:
            return
        self._has_endings = True
        size = len(units)
        spelled = [(s, way) for c, s in enumerate(units.symbols) for way in endings.with_endings([c], size)]
        self._trie = make_trie(spelled, units.symbols, self._lm, self._width)

    def _make_search(self) -> Any:
        if not self.units.loss.has_blank:
            return self._lexicon_search(self._trie, self._lm, len(self.units), self._width - 1, 0.0)
        decoder = import_flashlight()
        options = decoder.LexiconFreeDecoderOptions(**self._options(decoder))
        return decoder.LexiconFreeDecoder(options, self._lm, self.units.silence, self.units.blank, [])

    def _scores(self, emissions: Emissions) -> Emissions:
        """Without a blank, `sil_score` goes into them: flashlight's silence is one that is never said."""
        if not self.units.loss.has_blank and self.units.silence >= 0 and self.settings.sil_score:
            emissions = emissions.copy()
            emissions[:, self.units.silence] += self.settings.sil_score
        return super()._scores(emissions)

    def _words(self, labels: list[TimedText], ends: list[int]) -> list[TimedText]:
        return words_of(labels, self.units)
