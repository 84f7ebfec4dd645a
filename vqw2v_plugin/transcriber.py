"""wav → … ──acoustic model──▶ letters ──decoder──▶ text: one file in, its words with times out, no manifest.

What the acoustic model hears is made as its checkpoint says, so that a file has the features it would have
had in the feature folder that the model was trained on.
Shapes: T' frames of emissions, V columns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .audio.clip import Clip
from .audio.cuts import Part, check_limit, parts_of
from .audio.reading import AudioError
from .common.user_code import use_user_dir
from .corpora.manifest import Manifest
from .decoding.decoder import make_decoder
from .decoding.hypothesis import Decoder, Emissions, Hypothesis, TimedText
from .decoding.settings import PART_SECONDS, DecoderSettings
from .features.base import usable_device
from .features.ears import Ears, load_ears
from .features.speakers import FileVoices, ManifestVoices


class Transcriber:
    """Words of audio files at any rate.

    A file of up to `limit` seconds is one utterance. A longer one is cut at pauses, and each part is an
    utterance of its own, normalization included: memory is bounded by the limit, however long the file.
    """

    def __init__(
        self, ears: Ears, decoder: Decoder, device: str = "cpu", limit: float = PART_SECONDS
    ) -> None:
        check_limit(limit)
        self.device = usable_device(device)
        self.ears, self.decoder, self.limit = ears.to(self.device).eval(), decoder, limit
        self.frame_seconds, self.units = ears.frame_seconds, ears.units
        self.know()

    @classmethod
    def load(
        cls,
        path: str | Path,
        settings: DecoderSettings | None = None,
        front: str | None = None,
        bert: str | None = None,
        device: str = "cpu",
        limit: float = PART_SECONDS,
        pieces: str | None = None,
        pca: str | None = None,
        user_dir: str | None = None,
    ) -> Transcriber:
        """`front`, `bert`, `pieces` and `pca` say where lies what made the features, if not where it did.

        `user_dir` is the plugin that registers their quantizer, where that is not ours.
        """
        use_user_dir(user_dir)
        ears = load_ears(path, front, bert, pieces, pca)
        steps = None if ears.transitions is None else ears.transitions.detach().float().numpy()
        chosen = settings or DecoderSettings()
        decoder = make_decoder(chosen, ears.units, steps, ears.frame_seconds)
        return cls(ears, decoder, device, limit)

    def __call__(self, path: str | os.PathLike[str]) -> Hypothesis:
        """The best answer for the file, in frames of `frame_seconds` from its beginning."""
        found = []
        for part in parts_of(path, self.limit, self.frame_seconds):
            found.append(self.decoded(self.emissions(path, part), path, part.tick))
        return joined(found)

    def decoded(self, emissions: Emissions, path: str | os.PathLike[str], tick: int) -> Hypothesis:
        """The best answer for a part that begins so many frames behind the file's beginning."""
        try:
            best = self.decoder.decode(emissions)[0]
        except ValueError as error:
            raise AudioError(f"{os.fspath(path)}: {error}") from error
        return _later(best, tick)

    def know(self, who: Manifest | Sequence[str | os.PathLike[str]] = ()) -> None:
        """Who speaks, for features that go by speaker: these files are one person's, or a manifest says it.

        Without either a file is a speaker.
        """
        if isinstance(who, Manifest):
            self.ears.know(ManifestVoices(who))
        else:
            self.ears.know(FileVoices(self.limit, self.frame_seconds, [os.fspath(path) for path in who]))

    def emissions(self, path: str | os.PathLike[str], part: Part) -> Emissions:  # [T', V]
        """What the model says of a part of a file."""
        scores: Emissions = self.ears.emissions(Clip(os.fspath(path), part.samples, part.start)).cpu().numpy()
        return scores


def _later(hypothesis: Hypothesis, frames: int) -> Hypothesis:
    """The same, so many frames later."""
    tokens, words = (
        tuple(dataclasses.replace(s, begin=s.begin + frames, end=s.end + frames) for s in segments)
        for segments in (hypothesis.tokens, hypothesis.words)
    )
    return dataclasses.replace(hypothesis, tokens=tokens, words=words)


def joined(parts: Sequence[Hypothesis]) -> Hypothesis:
    """What is said one after the other; scores add up."""
    tokens: list[TimedText] = [token for part in parts for token in part.tokens]
    words: list[TimedText] = [word for part in parts for word in part.words]
    scores = np.array([[part.score, part.emission_score, part.lm_score] for part in parts]).sum(0)
    return Hypothesis(tuple(tokens), tuple(words), *map(float, scores))
