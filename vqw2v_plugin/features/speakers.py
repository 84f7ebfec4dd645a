"""wav → features: what a speaker's features are like on the whole, of the audio that a manifest has of them.

Whatever process or thread asks, and in whatever order, a speaker's mean and scale are the same: they are of
the same utterances, drawn by their names.
"""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator

from torch import Tensor

from ..audio.clip import Clip
from ..audio.reading import AudioError
from ..corpora.manifest import Manifest, Utterance
from ..corpora.sizes import sizes_at
from ..modules.layers.slopes import Moments, moments_of_all

_SECONDS = 300.0  # of a speaker that are looked at, at most: more tell no more


class Speakers:
    """Each speaker's moments, found when they are first asked for."""

    def __init__(self, manifest: Manifest, sample_rate: int, frames_of: Callable[[Clip], Tensor]) -> None:
        self._manifest, self._frames_of = manifest, frames_of
        self._rows: dict[str, list[int]] = defaultdict(list)
        if "speaker" in manifest.columns:
            for row, speaker in enumerate(manifest.column("speaker")):
                self._rows[speaker].append(row)
        self._seconds = sizes_at(manifest, sample_rate) / sample_rate
        self._found: dict[str, Moments] = {}
        self._one, self._locks = threading.Lock(), defaultdict[str, threading.Lock](threading.Lock)

    def of(self, utterance: Utterance) -> Moments | None:
        """None: the manifest does not say who speaks."""
        speaker = utterance.speaker
        if not speaker or speaker not in self._rows:
            return None
        with self._one:
            lock = self._locks[speaker]
        with lock:
            if speaker not in self._found:
                self._found[speaker] = moments_of_all(self._frames(speaker))
            return self._found[speaker]

    def _said(self, speaker: str) -> list[tuple[Utterance, float]]:
        """All that they say, and for how long, in an order that is that of no file."""
        said = [(self._manifest[row], float(self._seconds[row])) for row in self._rows[speaker]]
        return sorted(
            said, key=lambda each: (zlib.crc32(each[0].utt.encode("utf-8", "surrogateescape")), each[0].utt)
        )

    def _frames(self, speaker: str) -> Iterator[Tensor]:
        """Of five minutes from all over what they say, or of all of it.

        What cannot be read is named by whoever makes its features; here others stand in for it.
        """
        heard = 0.0
        for utterance, seconds in self._said(speaker):
            try:
                frames = self._frames_of(utterance)
            except (AudioError, OSError):
                continue
            yield frames
            heard += seconds
            if heard >= _SECONDS:
                return
