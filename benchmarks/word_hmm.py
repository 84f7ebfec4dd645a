"""wav → words by the other side of grammar.py: a GMM-HMM of each whole word (hmmlearn), and no network.

Words are left-to-right models over cepstra with slopes; a pause may follow each. Training begins with words
of even length and aligns them anew between fits. Decoding is a loop over all words by their bigrams.
Shapes: T frames, D features, S states of a word, N states of a chain of words.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float64]  # [T, D]
PAUSE, PAUSE_STATES = "<pause>", 3
EXIT = math.log(0.3)  # of leaving a last state
ROUNDS, FITS = 5, 3  # of aligning, and of EM within each
NEVER = -1e30


@dataclass
class Word:
    """A model of hmmlearn, and its steps as a chain has them."""

    model: Any
    stay: NDArray[np.float64]  # [S]
    step: NDArray[np.float64]  # [S]: from a state to the next, of the last one out of the word

    def scores(self, x: Frames) -> NDArray[np.float64]:  # [T, S]
        found: NDArray[np.float64] = self.model._compute_log_likelihood(x)
        return found


def fitted(segments: Sequence[Frames], states: int, mixtures: int, floor: NDArray[np.float64]) -> Word:
    """A word of all that is aligned to it; its states begin with equal shares of each segment."""
    hmm = _hmmlearn()
    segments = [s for s in segments if len(s) >= states] or [_stretched(s, states) for s in segments]
    parts = [np.concatenate([np.array_split(s, states)[i] for s in segments]) for i in range(states)]
    mixtures = max(1, min(mixtures, min(map(len, parts)) // 20))
    model = hmm.GMMHMM(states, mixtures, covariance_type="diag", init_params="", params="tmcw", n_iter=FITS)
    model.startprob_ = np.eye(states)[0]
    stay = np.clip(1 - len(segments) / np.array([len(part) for part in parts]), 0.05, 0.95)
    model.transmat_ = np.diag(stay) + np.diag(1 - stay[:-1], 1)
    model.transmat_[-1, -1] = 1.0
    spread = np.stack([part.std(0) for part in parts])  # [S, D]
    offsets = np.linspace(-0.5, 0.5, mixtures) if mixtures > 1 else np.zeros(1)
    means = np.stack([part.mean(0) for part in parts])
    model.means_ = means[:, None] + offsets[None, :, None] * spread[:, None]
    model.covars_ = np.maximum(np.repeat((spread**2)[:, None], mixtures, 1), floor)
    model.weights_ = np.full((states, mixtures), 1 / mixtures)
    before = (model.means_, model.covars_, model.weights_, model.transmat_)
    model.fit(np.concatenate(segments), [len(s) for s in segments])
    now = (model.means_, model.covars_, model.weights_, model.transmat_)
    if not all(np.isfinite(each).all() for each in now):
        model.means_, model.covars_, model.weights_, model.transmat_ = before
    model.covars_ = np.maximum(model.covars_, floor)
    stays = np.clip(np.diag(model.transmat_), 0.01, 0.99)
    step = np.log(1 - stays)
    stays[-1], step[-1] = 1 - math.exp(EXIT), EXIT
    return Word(model, np.log(stays), step)


def _stretched(segment: Frames, frames: int) -> Frames:
    """Each frame for as long as it takes to have so many."""
    rows = np.linspace(0, len(segment) - 1, max(frames, len(segment))).round().astype(int)
    stretched: Frames = segment[rows]
    return stretched


def _hmmlearn() -> Any:
    try:
        return importlib.import_module("hmmlearn.hmm")
    except ImportError:
        sys.exit("word_hmm.py: error: the peer is hmmlearn, which is not installed: `pip install hmmlearn`")


class WordRecogniser:
    """All words of training, and what follows what."""

    def __init__(self, mixtures: int = 2) -> None:
        self.mixtures = mixtures
        self.words: dict[str, Word] = {}

    def train(self, xs: Sequence[Frames], texts: Sequence[Sequence[str]]) -> None:
        everything = np.concatenate(xs)
        self.floor = 0.02 * everything.var(0)
        self.quiet = float(np.percentile(everything[:, 0], 15))
        self._count(texts)
        spans = [self._even(x, text) for x, text in zip(xs, texts, strict=True)]
        for turn in range(ROUNDS + 1):
            found: dict[str, list[Frames]] = defaultdict(list)
            for x, said in zip(xs, spans, strict=True):
                for word, begin, end in said:
                    found[word].append(x[begin:end])
            if not found[PAUSE]:
                found[PAUSE] = [x[:3] for x in xs]
            for word, segments in found.items():
                frames = float(np.median([len(segment) for segment in segments]))
                states = PAUSE_STATES if word == PAUSE else int(np.clip(frames / 3, 4, 16))
                mixtures = 1 if turn < 2 else self.mixtures
                self.words[word] = fitted(segments, states, mixtures, self.floor)
            if turn < ROUNDS:
                spans = [self.align(x, text) for x, text in zip(xs, texts, strict=True)]
        self.names = sorted(set(self.words) - {PAUSE})

    def _even(self, x: Frames, text: Sequence[str]) -> list[tuple[str, int, int]]:
        """Words of so many frames a letter between the first loud frame and the last."""
        loud = np.flatnonzero(x[:, 0] > self.quiet)
        first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) > len(text) * 4 else (0, len(x))
        ends = np.cumsum([0, *(len(word) + 1 for word in text)])
        bounds = (first + (last - first) * ends / ends[-1]).astype(int)
        spans = [
            (word, int(a), int(b)) for word, a, b in zip(text, bounds, bounds[1:], strict=False) if b > a
        ]
        edges = [(PAUSE, 0, first), (PAUSE, last, len(x))]
        return spans + [span for span in edges if span[2] - span[1] >= PAUSE_STATES]

    def _count(self, texts: Sequence[Sequence[str]]) -> None:
        """Bigrams, smoothed by Witten and Bell's rule."""
        pairs = Counter(pair for text in texts for pair in zip(["", *text], [*text, ""], strict=True))
        ones = Counter(word for text in texts for word in [*text, ""])
        total, after = sum(ones.values()), defaultdict(int)
        kinds: dict[str, int] = defaultdict(int)
        for (before, _), number in pairs.items():
            after[before] += number
            kinds[before] += 1

        def follows(before: str, word: str) -> float:
            share = ones[word] / total
            return math.log((pairs[before, word] + kinds[before] * share) / (after[before] + kinds[before]))

        self.follows = follows

    def align(self, x: Frames, text: Sequence[str]) -> list[tuple[str, int, int]]:
        """When each word is said, with the pauses around them."""
        chain = [PAUSE, *(each for word in text for each in (word, PAUSE))]
        of = {word: self.words[word].scores(x) for word in set(chain)}
        scores = np.concatenate([of[word] for word in chain], 1)  # [T, N]
        sizes = [len(self.words[word].stay) for word in chain]
        ends = np.cumsum(sizes)
        begins = ends - sizes
        stay = np.concatenate([self.words[word].stay for word in chain])
        step = np.concatenate([[NEVER], np.concatenate([self.words[word].step for word in chain])[:-1]])
        skip = np.full(len(stay), NEVER)  # from the last state of a word over a pause
        origin = np.zeros(len(stay), int)
        for i in range(3, len(chain), 2):
            skip[begins[i]], origin[begins[i]] = EXIT, ends[i - 2] - 1
        best = np.full(len(stay), NEVER)
        best[0] = scores[0, 0]
        best[begins[1]] = scores[0, begins[1]]
        came = np.zeros(scores.shape, np.int32)
        states = np.arange(len(stay))
        for t in range(1, len(x)):
            ways = np.stack([best + stay, np.concatenate([[NEVER], best[:-1]]) + step, best[origin] + skip])
            way = ways.argmax(0)
            came[t] = np.choose(way, [states, states - 1, origin])
            best = ways[way, states] + scores[t]
        at = max((len(stay) - 1, ends[-2] - 1), key=lambda state: best[state])
        path = np.empty(len(x), int)
        for t in range(len(x) - 1, -1, -1):
            path[t], at = at, came[t, at]
        place = np.searchsorted(ends, path, side="right")
        cuts = np.flatnonzero(np.diff(place)) + 1
        return [(chain[place[a]], int(a), int(b)) for a, b in zip([0, *cuts], [*cuts, len(x)], strict=True)]

    def decoder(self) -> Loop:
        return Loop(self)


class Loop:
    """Any words one after the other: each word's states, then those of the pause that may follow it."""

    def __init__(self, recogniser: WordRecogniser) -> None:
        self.names = [PAUSE, *recogniser.names]  # the first is the silence in front
        words, pause = [recogniser.words[name] for name in self.names], recogniser.words[PAUSE]
        self.words, self.pause = words, pause
        sizes = [len(word.stay) + PAUSE_STATES for word in words]
        self.ends = np.cumsum(sizes)
        self.begins = self.ends - sizes
        self.stay = np.concatenate([np.r_[word.stay, pause.stay] for word in words])
        self.step = np.concatenate([np.r_[NEVER, word.step, pause.step[:-1]] for word in words])
        texts = ["", *self.names[1:]]
        self.lm = np.array([[recogniser.follows(a, b) for b in texts] for a in texts])  # [W, W]
        self.lm_end = self.lm[:, 0].copy()
        self.lm[:, 0] = NEVER

    def scores(self, x: Frames) -> NDArray[np.float64]:  # [T, N]
        quiet = self.pause.scores(x)
        return np.concatenate([part for word in self.words for part in (word.scores(x), quiet)], 1)

    def __call__(self, scores: NDArray[np.float64], lm_weight: float, word_score: float) -> list[str]:
        enter = np.maximum(lm_weight * self.lm + word_score, NEVER)
        lasts = np.stack([self.ends - PAUSE_STATES - 1, self.ends - 1])  # where a word may end
        best = np.full(len(self.stay), NEVER)
        best[self.begins] = scores[0, self.begins] + np.r_[0.0, enter[0, 1:]]
        token = np.full(len(self.stay), -1)
        history: list[tuple[int, int]] = []  # (word, the token before)
        for word, begin in enumerate(self.begins):
            history.append((word, -1))
            token[begin] = word
        for t in range(1, len(scores)):
            leaving = best[lasts] + EXIT  # [2, W]
            side = leaving.argmax(0)
            out = leaving.max(0)
            source = (out[:, None] + enter).argmax(0)  # [W]: who is left for each word
            entering = out[source] + enter[source, np.arange(len(source))]
            moved = np.concatenate([[NEVER], best[:-1]]) + self.step
            held = best + self.stay
            stays = held >= moved
            tokens = np.where(stays, token, np.concatenate([[-1], token[:-1]]))
            best = np.where(stays, held, moved)
            left = token[lasts[side, np.arange(len(side))]]
            for word in np.flatnonzero(entering > best[self.begins]):
                history.append((int(word), int(left[source[word]])))
                best[self.begins[word]], tokens[self.begins[word]] = entering[word], len(history) - 1
            best, token = best + scores[t], tokens
        final = best[lasts] + lm_weight * self.lm_end  # [2, W]
        side, word = np.unravel_index(final.argmax(), final.shape)
        at, said = int(token[lasts[side, word]]), []
        while at >= 0:
            said.append(self.names[history[at][0]])
            at = history[at][1]
        return [word for word in reversed(said) if word != PAUSE]
