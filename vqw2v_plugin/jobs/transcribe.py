"""wav → … → text of many files: what `vqw2v transcribe` does.

On a GPU files, or parts of long ones, are heard together, each as if alone, and a batch is on its way while
the one before is decoded.
Shapes: T' frames of emissions, V columns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Union

from ..audio.clip import Clip
from ..audio.cuts import parts_of
from ..audio.reading import Samples
from ..corpora.manifest import Utterance
from ..decoding.hypothesis import Emissions, Hypothesis
from ..features.together import to_processor
from ..stores.shards import Rows
from ..transcriber import Transcriber, joined
from .work import Ahead, Heard, Read, Together, attempted, encoded

Told = tuple[Union[Hypothesis, str], str]  # the words, or why there are none, and the file


def transcribed(transcriber: Transcriber, paths: Iterable[str]) -> Iterator[Told]:
    """Each file's words, in the files' order; one that fails is named and the others go on."""
    ears, ticks = transcriber.ears, deque[int]()

    def begin(heard: Heard) -> Callable[[], list[Rows]]:
        # no row of a manifest, whose speaker it would tell
        found = ears.emissions_of([(audio, Clip(at.path, at.samples, at.start)) for at, audio in heard])
        return lambda: [each.numpy() for each in to_processor(found)]

    def encode(clip: Utterance, audio: Samples) -> Rows:
        return begin([(clip, audio)])()[0]

    def decoding(emissions: Emissions, tick: int) -> Callable[[Utterance], Hypothesis]:
        return lambda file: transcriber.decoded(emissions, file.path, tick)

    ahead = Ahead(0, ears.read, encode, Together(ears.fits, begin))
    found: list[Hypothesis] = []
    failed: str | None = None
    for rows, path in encoded(_parts(transcriber, paths, ticks), ahead):
        if rows is None:  # the file's end
            yield failed or joined(found), path
            found, failed = [], None
            continue
        tick = ticks.popleft()
        if failed is None:
            said = rows if isinstance(rows, str) else attempted(decoding(rows, tick), Utterance(path))
            if isinstance(said, str):
                failed = said
            else:
                found.append(said)


def _parts(transcriber: Transcriber, paths: Iterable[str], ticks: deque[int]) -> Iterator[Read]:
    """What is read of each file up to its first fault, and a mark behind it; `ticks`: where parts begin."""
    for path in paths:
        parts = parts_of(path, transcriber.limit, transcriber.frame_seconds)
        while True:
            clip, audio = Utterance(path), None
            part = attempted(lambda _: next(parts, None), clip)  # noqa: B023
            if part is None:
                break
            if not isinstance(part, str):
                clip = Utterance(path, part.samples, part.start)
                audio = attempted(transcriber.ears.read, clip)
            ticks.append(0 if isinstance(part, str) else part.tick)
            yield Read(0, part if isinstance(part, str) else audio, path, clip)
            if isinstance(part, str) or isinstance(audio, str):
                break
        yield Read(0, None, path)
