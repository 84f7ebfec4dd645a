"""Times of words and phones in a wav: Praat's TextGrids, as aligners write them, and lists in JSON."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ...common.inputs import check_file, parse_json, read_bytes
from .entry import Timed

_TOKEN = re.compile(
    r'"(?:[^"]|"")*"|(?<!\S)[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\S)|<exists>|<absent>'
)
_MOST_BYTES = 1 << 25
_MOST = 1e12  # seconds, or intervals
_EDGE = 0.005  # seconds that tables round
_TIERS = {"words": ("words", "word", "wrd"), "phones": ("phones", "phone", "phn", "phonemes", "segments")}
_KEYS = {"label": ("label", "word", "phone", "text"), "start": ("start", "begin"), "end": ("end", "stop")}

Times = dict[str, tuple[Timed, ...]]  # of `words` and `phones`


def read_textgrid(path: str) -> Times:
    """The tiers named words and phones (`ann - words` too), without what is empty; ValueError otherwise."""
    tiers = dict(_tiers(_tokens(path)))
    found: Times = {}
    for what, names in _TIERS.items():
        own = [name for name in tiers if name.lower().rpartition(" - ")[2] in names]
        if len(own) > 1:
            raise ValueError(f"has several tiers of {what} ({', '.join(own)}); expected one speaker's")
        if own:
            found[what] = tuple(each for each in tiers[own[0]] if each.label)
    if not found:
        raise ValueError(f"has no tier named words or phones, only {', '.join(map(repr, tiers)) or 'none'}")
    return found


def parse_times(text: str) -> tuple[Timed, ...]:
    """A list `[[start, end, label], …]` or of objects with these fields, in seconds."""
    value = parse_json(text)
    if not isinstance(value, list):
        raise ValueError(f"{text[:40]!r} is no list")
    return tuple(sorted(map(_timed, value)))


def _timed(item: Any) -> Timed:
    if isinstance(item, dict):
        item = [
            next((item[key] for key in _KEYS[what] if key in item), None)
            for what in ("start", "end", "label")
        ]
    if not isinstance(item, list) or len(item) != 3 or not isinstance(item[2], str):
        raise ValueError(f"{json.dumps(item)[:60]} is not [start, end, label]")
    return _checked(*item)


def _checked(start: Any, end: Any, label: str) -> Timed:
    numbers = all(isinstance(at, (int, float)) and not isinstance(at, bool) for at in (start, end))
    if not numbers or not 0 <= start <= end < math.inf:
        raise ValueError(f"{label[:40]!r} lasts from {start} to {end}; expected seconds, the earlier first")
    return Timed(float(start), float(end), label.strip())


def _tokens(path: str) -> Iterator[str]:
    """Strings, numbers and flags: the long and the short form hold the same ones."""
    if check_file(path).st_size > _MOST_BYTES:
        raise ValueError(f"is larger than {_MOST_BYTES >> 20} MiB, expected one recording's times")
    blob = read_bytes(path)
    coding = "utf-16" if blob[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return (found[0] for found in _TOKEN.finditer(blob.decode(coding)))


def _tiers(tokens: Iterator[str]) -> Iterator[tuple[str, list[Timed]]]:
    if [next(tokens, ""), next(tokens, "")] != ['"ooTextFile"', '"TextGrid"']:
        raise ValueError("does not begin with the names of Praat's TextGrids")
    _number(tokens), _number(tokens)  # where it begins and ends
    if next(tokens, "") != "<exists>":
        return
    for _ in range(int(_number(tokens))):
        kind, name = _string(tokens), _string(tokens)
        _number(tokens), _number(tokens)
        size = int(_number(tokens))
        if kind == "IntervalTier":
            yield name, [_checked(_number(tokens), _number(tokens), _string(tokens)) for _ in range(size)]
        else:
            for _ in range(size):
                _number(tokens), _string(tokens)


def _number(tokens: Iterator[str]) -> float:
    token = next(tokens, "the end")
    try:
        if abs(number := float(token)) < _MOST:
            return number
    except ValueError:
        pass
    raise ValueError(f"breaks off: got {token[:40]}, expected a number")


def _string(tokens: Iterator[str]) -> str:
    token = next(tokens, "the end")
    if not token.startswith('"'):
        raise ValueError(f"breaks off: got {token[:40]}, expected a text in quotation marks")
    return token[1:-1].replace('""', '"')


def within(times: Times, begin: float, end: float | None) -> Times:
    """The times of a piece of the recording, from its own beginning; what its edges cut is left out."""
    last = math.inf if end is None else end
    return {
        what: tuple(
            Timed(max(0.0, each.start - begin), each.end - begin, each.label)
            for each in found
            if each.start >= begin - _EDGE and each.end <= last + _EDGE
        )
        for what, found in times.items()
    }
