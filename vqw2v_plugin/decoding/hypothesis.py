"""letters ──decoder──▶ text: what every decoder answers, and the contract that it keeps.

Shapes: T frames, V columns of the emissions.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..text.loss_kinds import LossKind

Emissions = NDArray[np.float32]  # [T, V]
Transitions = NDArray[np.float32]  # [V, V]: to, from


@dataclass(frozen=True)
class TimedText:
    """A label or a word from the frame `begin` to before `end`; how sure the model is, 0 to 1."""

    text: str
    begin: int
    end: int
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """One answer: its labels (boundaries among them), its words, and its log score with its two parts."""

    tokens: tuple[TimedText, ...]
    words: tuple[TimedText, ...]
    score: float
    emission_score: float
    lm_score: float = 0.0  # log10, as KenLM counts

    @property
    def labels(self) -> list[str]:
        return [token.text for token in self.tokens]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


class Decoder(Protocol):
    """Emissions of one utterance, without padding, in; hypotheses out, the best first, one at least."""

    def decode(self, emissions: Emissions) -> list[Hypothesis]: ...


class DecoderPool:
    """Several utterances at once. flashlight keeps Python's lock while it searches, so they need processes.

    These are forked when first needed and share lexicon and LM with this process, uncopied.
    """

    def __init__(self, decoder: Decoder, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"`workers` is {workers}; expected 1 or more")
        self.decoder, self.workers = decoder, workers
        self._pool: ProcessPoolExecutor | None = None

    def decode(self, utterances: Sequence[Emissions]) -> list[list[Hypothesis]]:
        """Each utterance's hypotheses, in their order."""
        if self.workers == 1:
            return [self.decoder.decode(emissions) for emissions in utterances]
        if self._pool is None:
            fork = get_context("fork")
            self._pool = ProcessPoolExecutor(self.workers, fork, _begin_worker, (self.decoder,))
        try:
            return list(self._pool.map(_decode_in_worker, utterances))
        except BrokenProcessPool:
            raise ValueError(
                "a decoding process was killed (too little memory?); take fewer `--decode-workers`, "
                "a smaller `--beam`"
            ) from None

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_worker: list[Decoder] = []


def _begin_worker(decoder: Decoder) -> None:
    import torch

    torch.set_num_threads(1)  # a forked process has none of its parent's threads to wait for
    _worker[:] = [decoder]


def _decode_in_worker(emissions: Emissions) -> list[Hypothesis]:
    return _worker[0].decode(emissions)


def check_emissions(emissions: Emissions, num_columns: int) -> Emissions:
    """[T, V] in float32, one row after the other in memory."""
    emissions = np.ascontiguousarray(emissions, np.float32)
    if emissions.ndim != 2 or emissions.shape[1] != num_columns:
        raise ValueError(
            f"`emissions` are {list(emissions.shape)}; expected [frames, {num_columns}], a column a symbol"
        )
    bad = ~np.isfinite(emissions.max(1, initial=-np.inf))  # NaN wins a maximum
    if bad.any():
        raise ValueError(f"`emissions` of frame {int(bad.argmax())} are no numbers; did training diverge?")
    return emissions


def check_transitions(
    transitions: Transitions | None, num_columns: int, loss: LossKind
) -> Transitions | None:
    """[V, V] (to, from) in float32, of a loss that has any."""
    if not loss.has_transitions:
        if transitions is not None:
            raise ValueError(
                f"`transitions` were given for a {loss.title} model, which has none; leave them out"
            )
        return None
    if transitions is None:
        raise ValueError(
            f"`transitions` are missing: {loss.title} decodes with those that the model has learnt"
        )
    transitions = np.ascontiguousarray(transitions, np.float32)
    if transitions.shape != (num_columns, num_columns):
        raise ValueError(
            f"`transitions` are {list(transitions.shape)}; expected [{num_columns}, {num_columns}], "
            "to and from each symbol"
        )
    return transitions
