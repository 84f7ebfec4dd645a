"""wav → … ──acoustic model──▶ letters ──decoder──▶ text: one file in, its words with times out, no manifest.

What the acoustic model hears is made as its checkpoint says, so that a file has the features it would have
had in the feature folder that the model was trained on.
Shapes: S samples, T frames of features, T' of emissions, D features, V columns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .audio.clip import Clip
from .audio.cuts import Part, parts_of
from .audio.reading import AudioError, read_audio
from .checkpoints.acoustic import Acoustic, load_acoustic
from .checkpoints.travel import comes_from
from .decoding.decoder import make_decoder
from .decoding.hypothesis import Decoder, Emissions, Hypothesis, TimedText
from .decoding.settings import PART_SECONDS, DecoderSettings
from .features.front import AudioFront
from .features.spec import rebuild_front


class Transcriber:
    """Words of audio files at any rate.

    A file of up to `limit` seconds is one utterance. A longer one is cut at pauses, and each part is an
    utterance of its own, normalization included: memory is bounded by the limit, however long the file.
    """

    def __init__(
        self,
        acoustic: Acoustic,
        front: AudioFront,
        decoder: Decoder,
        device: str = "cpu",
        limit: float = PART_SECONDS,
    ) -> None:
        wanted = acoustic.network.config.in_dim
        if front.dim != wanted:
            raise ValueError(f"the features have {front.dim} numbers a frame; the model wants {wanted}")
        self.device = _device(device)
        self.network, self.front = acoustic.network.to(self.device).eval(), front.to(self.device).eval()
        self.decoder, self.limit = decoder, limit
        self.frame_seconds, self.units = acoustic.frame_seconds, acoustic.units
        self.is_half = acoustic.stamp.get("store") == "fp16"  # then training saw features rounded so

    @classmethod
    def load(
        cls,
        path: str | Path,
        settings: DecoderSettings | None = None,
        front: str | None = None,
        bert: str | None = None,
        device: str = "cpu",
        limit: float = PART_SECONDS,
    ) -> Transcriber:
        """`front` and `bert` say where the checkpoints lie that made the features, if not where they did."""
        acoustic, beside = load_acoustic(path), Path(path).parent
        front = _find(acoustic.stamp.get("checkpoint"), beside, front, "--front")
        bert = _find(acoustic.stamp.get("bert"), beside, bert, "--bert")
        steps = None if acoustic.transitions is None else acoustic.transitions.float().numpy()
        decoder = make_decoder(settings or DecoderSettings(), acoustic.units, steps)
        return cls(acoustic, rebuild_front(acoustic, front, bert), decoder, device, limit)

    def __call__(self, path: str | os.PathLike[str]) -> Hypothesis:
        """The best answer for the file, in frames of `frame_seconds` from its beginning."""
        found = []
        for part in parts_of(path, self.limit, self.frame_seconds):
            emissions = self.emissions(path, part)
            try:
                best = self.decoder.decode(emissions)[0]
            except ValueError as error:
                raise AudioError(f"{os.fspath(path)}: {error}") from error
            found.append(_later(best, part.tick))
        return _joined(found)

    @torch.inference_mode()
    def emissions(self, path: str | os.PathLike[str], part: Part) -> Emissions:  # [T', V]
        """What the model says of a part of a file."""
        clip = Clip(os.fspath(path), part.samples, part.start)
        wav = torch.from_numpy(read_audio(clip, self.front.sample_rate))  # [S]
        if self.front.frames(len(wav)) < 1:
            raise AudioError(
                f"{os.fspath(path)}: {len(wav)} samples at {self.front.sample_rate} Hz are too short for a "
                f"frame; expected at least {self.front.features.receptive_field}: leave it out"
            )
        source, size = wav[None].to(self.device), torch.tensor([len(wav)])
        features, lengths = self.front(source, size)  # [1, T, D], [1]
        heard = self.network(features.half().float() if self.is_half else features, lengths)
        scores: Emissions = heard.emissions[0, : int(heard.lengths[0])].float().cpu().numpy()
        return scores


def _find(held: Any, beside: Path, given: str | None, option: str) -> str | None:
    """The file that a stamp holds, known by its hash: as given, where it lay, beside the model, or here."""
    if given is not None or not isinstance(held, Mapping):
        return given
    name = str(held.get("name"))
    for place in (Path(held.get("path") or name), beside / name, Path(name)):
        if place.exists() and comes_from(place, str(held.get("sha256"))):
            return str(place)
    raise ValueError(
        f"the acoustic model was trained on features of {name!r} (sha256 {str(held.get('sha256'))[:12]}…), "
        f"which is neither in {beside} nor in this folder; say where it is: `{option} FILE`"
    )


def _device(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device {device!r} cannot be used ({reason}); expected cpu or cuda") from None


def _later(hypothesis: Hypothesis, frames: int) -> Hypothesis:
    """The same, so many frames later."""
    tokens, words = (
        tuple(dataclasses.replace(s, begin=s.begin + frames, end=s.end + frames) for s in segments)
        for segments in (hypothesis.tokens, hypothesis.words)
    )
    return dataclasses.replace(hypothesis, tokens=tokens, words=words)


def _joined(parts: list[Hypothesis]) -> Hypothesis:
    """What is said one after the other; scores add up."""
    tokens: list[TimedText] = [token for part in parts for token in part.tokens]
    words: list[TimedText] = [word for part in parts for word in part.words]
    scores = np.array([[part.score, part.emission_score, part.lm_score] for part in parts]).sum(0)
    return Hypothesis(tuple(tokens), tuple(words), *map(float, scores))
