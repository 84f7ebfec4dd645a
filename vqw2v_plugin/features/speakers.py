"""wav → features: what a speaker's features are like on the whole, of the audio that there is of them.

Whatever process or thread asks, and in whatever order, a speaker's mean and scale are the same: they are of
the same clips, drawn by their names.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ..audio.clip import Clip
from ..audio.cuts import parts_of
from ..audio.reading import AudioError, audio_info
from ..corpora.manifest import Manifest, Utterance
from ..corpora.sizes import DEFAULT_RATE, sizes_at
from ..modules.layers.slopes import Moments, moments_of_all

_SECONDS = 300.0  # of a speaker that are looked at, at most: more tell no more


@dataclass(frozen=True)
class Said:
    """Something that a speaker said."""

    name: str
    clip: Clip
    seconds: float


class Voices(Protocol):
    """Who speaks where."""

    def speaker_of(self, clip: Clip) -> str | None: ...  # None: nobody says

    def said(self, speaker: str) -> list[Said]: ...  # by one of whom `speaker_of` told


class ManifestVoices:
    """As a manifest's column `speaker` says, of its rows and of whole files that stand in them."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._rows: dict[str, list[int]] = defaultdict(list)
        if "speaker" in manifest.columns:
            for row, speaker in enumerate(manifest.column("speaker")):
                self._rows[speaker].append(row)
        self._rows.pop("", None)
        self._seconds = sizes_at(manifest, DEFAULT_RATE) / DEFAULT_RATE

    def speaker_of(self, clip: Clip) -> str | None:
        if isinstance(clip, Utterance):
            return clip.speaker if clip.speaker in self._rows else None
        speakers = self._of_files.get(os.path.realpath(clip.path), set())
        return next(iter(speakers)) if len(speakers) == 1 else None

    def said(self, speaker: str) -> list[Said]:
        rows = [(self._manifest[row], float(self._seconds[row])) for row in self._rows[speaker]]
        return [Said(utterance.utt, utterance, seconds) for utterance, seconds in rows]

    @cached_property
    def _of_files(self) -> dict[str, set[str]]:
        found = defaultdict[str, set[str]](set)
        for speaker, rows in self._rows.items():
            for row in rows:
                found[os.path.realpath(self._manifest[row].path)].add(speaker)
        return found


@dataclass(frozen=True)
class RowClip(Clip):
    """What a manifest's row says, known by its place."""

    manifest: str = ""
    row: int = 0


class RowVoices:
    """As the columns `speaker` of several manifests say, each of speakers of its own."""

    def __init__(self) -> None:
        self._manifests: dict[str, tuple[Manifest, ManifestVoices]] = {}

    def speaker_of(self, clip: Clip) -> str | None:
        if not isinstance(clip, RowClip):
            return None
        manifest, voices = self._open(clip.manifest)
        speaker = voices.speaker_of(manifest[clip.row])
        return None if speaker is None else f"{clip.manifest}\t{speaker}"

    def said(self, speaker: str) -> list[Said]:
        path, _, name = speaker.partition("\t")
        return self._open(path)[1].said(name)

    def _open(self, path: str) -> tuple[Manifest, ManifestVoices]:
        if path not in self._manifests:
            manifest = Manifest(path)
            self._manifests[path] = (manifest, ManifestVoices(manifest))
        return self._manifests[path]


class FileVoices:
    """Each file is a speaker, but for `together`, which all have the same."""

    def __init__(self, limit: float, tick_seconds: float, together: Sequence[str] = ()) -> None:
        """`limit`, `tick_seconds`: how long files are cut."""
        self._limit, self._tick_seconds, self._together = limit, tick_seconds, tuple(together)

    def speaker_of(self, clip: Clip) -> str | None:
        return "" if clip.path in self._together else clip.path

    def said(self, speaker: str) -> list[Said]:
        found = []
        for path in [speaker] if speaker else dict.fromkeys(self._together):
            try:
                rate = audio_info(path).sample_rate
                parts = list(parts_of(path, self._limit, self._tick_seconds))
            except (AudioError, OSError):
                continue  # whoever transcribes names it
            for part in parts:
                name = Path(path).stem + f"_{part.start}" * (len(parts) > 1)
                found.append(Said(name, Clip(path, part.samples, part.start), part.samples / rate))
        return found


class Speakers:
    """Each speaker's moments, found when they are first asked for."""

    def __init__(self, voices: Voices, frames_of: Callable[[Clip], Tensor]) -> None:
        self._voices, self._frames_of = voices, frames_of
        self._found: dict[str, Moments] = {}
        self._one, self._locks = threading.Lock(), defaultdict[str, threading.Lock](threading.Lock)

    def of(self, clip: Clip) -> Moments | None:
        """None: nobody says who speaks."""
        speaker = self._voices.speaker_of(clip)
        if speaker is None:
            return None
        with self._one:
            lock = self._locks[speaker]
        with lock:
            if speaker not in self._found:
                self._found[speaker] = moments_of_all(self._frames(speaker))
            return self._found[speaker]

    def _in_order(self, speaker: str) -> list[Said]:
        """All that they say, in an order that is that of no file."""
        return sorted(
            self._voices.said(speaker),
            key=lambda each: (zlib.crc32(each.name.encode("utf-8", "surrogateescape")), each.name),
        )

    def _frames(self, speaker: str) -> Iterator[Tensor]:
        """Of five minutes from all over what they say, or of all of it.

        What cannot be read is named by whoever makes its features; here others stand in for it.
        """
        heard = 0.0
        for said in self._in_order(speaker):
            try:
                frames = self._frames_of(said.clip)
            except (AudioError, OSError):
                continue
            yield frames
            heard += said.seconds
            if heard >= _SECONDS:
                return
