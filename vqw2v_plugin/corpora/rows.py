"""What a corpus tells and what its wavs' headers say → the rows of a manifest."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .headers import Answer
from .sources import Entry, Refusal, SourceError

# Tables round seconds, to a little beyond a file's end; by more than this it is another file.
_OVERSHOOT_SECONDS = 0.5
_ROUNDING_SECONDS = 0.02
# Tabs, line ends, and surrogates but those by which Python keeps names that are not UTF-8.
_UNWRITABLE = re.compile("[\t\n\r\0\ud800-\udc7f\udd00-\udfff]")
# path, samples and rate always; the others if at least one row has a value.
TIMED = ("words", "phones")
COLUMNS = ("path", "samples", "start", "rate", "utt", "speaker", "lang", "subset", "text", *TIMED)


class Row(NamedTuple):
    """A row: samples and start in the file's own rate."""

    entry: Entry
    start: int
    samples: int
    rate: int

    def fields(self) -> dict[str, object]:
        entry = self.entry
        numbers = {"samples": self.samples, "start": self.start, "rate": self.rate}
        names = {"path": entry.path, "utt": entry.utt, "speaker": entry.speaker, "lang": entry.lang}
        spoken = {column: " ".join(each.label for each in getattr(entry, column)) for column in TIMED}
        return {**numbers, **names, "subset": entry.subset, "text": entry.text, **spoken}


@dataclass(frozen=True)
class Limits:
    """The shortest and the longest utterance wanted, in seconds."""

    least: float = 0.0
    most: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise SourceError(
                f"`--min` {self.least:g} and `--max` {self.most:g} leave no length; expected min ≤ max"
            )


def path_finder(pattern: str, option: str = "--speaker-from") -> re.Pattern[str] | int:
    """A part of the path, counted from 1 (from -1 backwards), or a regular expression."""
    if re.fullmatch(r"-?[0-9]+", pattern):
        if int(pattern) == 0:
            raise SourceError(f"`{option}` is 0; parts of a path are counted from 1, or from -1 backwards")
        return int(pattern)
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SourceError(f"`{option}` is {pattern!r}, no regular expression: {error}") from None


def name_speaker(entry: Entry, finder: re.Pattern[str] | int) -> Entry | Refusal:
    """The entry with the speaker that its path names: the part, or the first group, or the whole match."""
    speaker = named_by(entry.path, finder)
    if not speaker:
        return Refusal(entry.path, "path names no speaker; widen `--speaker-from`")
    return entry._replace(speaker=speaker)


def named_by(path: str, finder: re.Pattern[str] | int) -> str:
    """What a path says there; empty where it has no such part."""
    if isinstance(finder, int):
        parts = os.path.splitext(path)[0].split("/")
        position = finder - 1 if finder > 0 else finder
        return parts[position] if -len(parts) <= position < len(parts) else ""
    found = finder.search(path)
    return (found[1 if found.re.groups else 0] or "") if found else ""


def tidy(entry: Entry) -> Entry | Refusal:
    """The entry as a manifest can hold it: plain white space in its text, no tabs in its names."""
    entry = entry._replace(text=" ".join(entry.text.split()))
    for column in ("path", "utt", "speaker", "lang", "subset", "text"):
        value: str = getattr(entry, column)
        found = _UNWRITABLE.search(value)
        if found:
            what = "a tab or a line break" if found[0] in "\t\n\r\0" else "half a character"
            return Refusal(entry.path, f"has {what} in its {column} ({value!r}); rename it")
    if (entry.words or entry.phones) and len(entry.utt.split()) > 1:
        return Refusal(entry.path, f"has white space in its id, beside times ({entry.utt!r}); rename it")
    for column in TIMED:
        for each in getattr(entry, column):
            if not each.label or _UNWRITABLE.search(each.label) or " " in each.label:
                return Refusal(entry.path, f"has white space among its {column} ({each.label!r}); rename it")
    return entry


def make_rows(
    entries: Iterable[Entry], headers: Mapping[str, Answer], limits: Limits
) -> Iterator[Row | Refusal]:
    """A row or a refusal for every entry; of two entries with one id, the first keeps it."""
    taken: dict[object, str] = {}
    for entry in entries:
        answer = headers[entry.path]
        made = (
            Refusal(entry.path, answer)
            if isinstance(answer, str)
            else _cut(entry, answer.rate, answer.samples)
        )
        if isinstance(made, Row):
            made = _within(made, limits)
        if isinstance(made, Row):
            made = _own_id(made, taken)
        yield made


def _cut(entry: Entry, rate: int, frames: int) -> Row | Refusal:
    if entry.counted:
        stop_at = None if entry.end is None else entry.end / rate
        entry = entry._replace(begin=entry.begin / rate, end=stop_at, counted=False)
    end = frames / rate if entry.end is None else entry.end
    about = f"{entry.utt or entry.path}: {entry.begin:g} to {end:g} s"
    if not (0 <= entry.begin < end and end * rate < math.inf):
        return Refusal(entry.path, f"utterance has no length ({about}); mend the table")
    start, stop = round(entry.begin * rate), round(end * rate)
    if stop > frames + _OVERSHOOT_SECONDS * rate or start >= frames:
        return Refusal(
            entry.path,
            f"is shorter than the table says ({about}, the file {frames / rate:g} s); restore the file",
        )
    if start == 0 and abs(stop - frames) <= _ROUNDING_SECONDS * rate:
        stop = frames
    if min(stop, frames) == start:
        return Refusal(entry.path, f"utterance has no length ({about}); mend the table")
    return Row(entry, start, min(stop, frames) - start, rate)


def _within(row: Row, limits: Limits) -> Row | Refusal:
    seconds = row.samples / row.rate
    if seconds < limits.least:
        return Refusal(row.entry.path, f"is shorter than `--min` ({seconds:.3f} s of {limits.least:g} s)")
    if seconds > limits.most:
        return Refusal(row.entry.path, f"is longer than `--max` ({seconds:.3f} s of {limits.most:g} s)")
    return row


def _own_id(row: Row, taken: dict[object, str]) -> Row | Refusal:
    entry = row.entry
    key: object = entry.utt or (entry.path, row.start, row.samples)
    if key not in taken:
        taken[key] = entry.path
        return row
    if entry.utt:
        return Refusal(
            entry.path, f"has the id of another utterance ({entry.utt}, of {taken[key]}); rename one"
        )
    return Refusal(entry.path, f"is listed twice (from sample {row.start}); take one line away")
