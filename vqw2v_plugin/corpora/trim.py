"""Rows of a manifest without the silence at their ends: the audio is read, its files stay as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..audio.clip import Clip
from ..audio.edges import speech_span
from ..audio.reading import AudioError, read_audio
from ..common.progress import Progress
from .rows import Row
from .sources import Refusal, SourceError
from .sources.entry import Timed

_MOST = 60.0  # seconds that may be kept


def check_trim(seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds <= _MOST:
        raise SourceError(
            f"`--trim` is {seconds:g}; expected seconds of silence to keep at each end, 0 to {_MOST:g}"
        )


def trimmed(rows: Sequence[Row], root: str, kept: float, workers: int) -> list[Row | Refusal]:
    """Each row from `kept` seconds before its first sound to as many behind the last; times move with it."""

    def one(row: Row) -> Row | Refusal:
        path = os.path.join(root, row.entry.path)
        try:
            wav = read_audio(Clip(path, row.samples, row.start, row.rate), row.rate)
        except AudioError as error:
            return Refusal(row.entry.path, str(error))
        begin, end = speech_span(wav, row.rate)
        margin = round(kept * row.rate)
        begin, end = max(0, begin - margin), min(row.samples, end + margin)
        return _cut(row, begin, end)

    with ThreadPoolExecutor(max(1, workers)) as pool, Progress("trimmed", len(rows)) as progress:
        found = []
        for each in pool.map(one, rows):
            found.append(each)
            progress.advance()
        return found


def _cut(row: Row, begin: int, end: int) -> Row:
    """A label that lies in what is cut off keeps an end within the row, so that none is lost."""
    shift, length = begin / row.rate, (end - begin) / row.rate

    def inside(seconds: float) -> float:
        return min(max(seconds - shift, 0.0), length)

    def moved(times: tuple[Timed, ...]) -> tuple[Timed, ...]:
        return tuple(Timed(inside(each.start), inside(each.end), each.label) for each in times)

    entry = row.entry._replace(words=moved(row.entry.words), phones=moved(row.entry.phones))
    return row._replace(entry=entry, start=row.start + begin, samples=end - begin)
