"""manifests → the groups that a column names → their tokens, encoded, and the map of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..common.progress import Progress
from ..common.words import some_of
from ..corpora.manifest import Manifest, Utterance
from ..stores.frames import FrameTimes
from ..tokenizer import Tokenizer
from .code_map import CodeMap, Heard, OwnCode, map_codes
from .code_sources import encode_each
from .phone_codes import Codes

_MOST_GROUPS = 200
_NAMED = 8

Say = Callable[[str], object]


@dataclass(frozen=True)
class MapOptions:
    """What is counted."""

    by: str  # a manifest's column
    minutes: float = 5.0  # of each group, at most
    least_seconds: float = 10.0  # a group with less is left out
    seed: int = 1
    least: int | None = None  # frames from which on a group uses a code


@dataclass(frozen=True)
class GroupedMap:
    """The map, each group's own codes with where they are heard, and the utterances that were encoded."""

    made: CodeMap
    own: Mapping[str, Sequence[OwnCode]]
    rows: Mapping[str, Utterance]


def map_groups(
    tokenizer: Tokenizer, manifests: Sequence[Manifest], options: MapOptions, say: Say
) -> GroupedMap:
    """Encodes some of each group, and counts."""
    rate = tokenizer.sample_rate
    groups = _large_enough(grouped(manifests, options.by, say), options, rate, say)
    rows = {row.utt: row for found in groups.values() for row in found}
    say(f"{sum(map(len, groups.values())):,} utterances of {len(groups)} groups are encoded")
    codes: dict[str, Mapping[str, Codes]] = {}
    with Progress("utterances", len(rows)) as progress:
        for name, found in groups.items():
            parts = encode_each(tokenizer, _counted(found, progress), _skipped(say))
            codes[name] = {utt: part for utt, part in parts.items() if len(part)}
            if len(codes[name]) < 2:
                say(f"{name}: left out, as fewer than two of its utterances could be encoded")
                del codes[name]
    made = map_codes(codes, tokenizer.num_codes, options.seed, options.least)
    geometry = tokenizer.geometry
    times = FrameTimes(geometry.stride, geometry.receptive_field, rate)
    own = {name: _own(made, i, codes[name], times) for i, name in enumerate(made.names)}
    return GroupedMap(made, own, rows)


def grouped(
    manifests: Sequence[Manifest], by: str, say: Say = lambda text: None
) -> dict[str, list[Utterance]]:
    """Utterances by what a column says of them, each with a name of its own; what has no word is left out."""
    found: dict[str, list[Utterance]] = {}
    known: set[str] = set()
    for number, manifest in enumerate(manifests):
        empty = 0
        for index, value in enumerate(manifest.column(by)):
            if not value.strip():
                empty += 1
                continue
            row = manifest[index]
            while row.utt in known:  # of another manifest
                row = dataclasses.replace(row, utt=f"{row.utt}@{number + 1}")
            known.add(row.utt)
            found.setdefault(value.strip(), []).append(row)
        if empty:
            say(f"{manifest.path}: {empty} of {len(manifest)} utterances have no {by}, and are left out")
    return dict(sorted(found.items()))


def _large_enough(
    groups: Mapping[str, list[Utterance]], options: MapOptions, rate: int, say: Say
) -> dict[str, list[Utterance]]:
    """Some of each group that has enough, drawn by the seed."""
    drawn = {name: _some(rows, options, rate) for name, rows in groups.items()}
    held = {name: sum(_seconds(row, rate) for row in rows) for name, rows in drawn.items()}
    few = [name for name in drawn if held[name] < options.least_seconds or len(drawn[name]) < 2]
    if few:
        say(f"left out, with less than {options.least_seconds:g} s or two utterances: {some_of(few, _NAMED)}")
    kept = {name: rows for name, rows in drawn.items() if name not in few}
    if not 2 <= len(kept) <= _MOST_GROUPS:
        raise ValueError(
            f"{len(kept)} values of `{options.by}` have {options.least_seconds:g} s of audio; expected 2 to "
            f"{_MOST_GROUPS}: name another column, or more manifests, or change `--least-seconds`"
        )
    return kept


def _some(rows: Sequence[Utterance], options: MapOptions, rate: int) -> list[Utterance]:
    found, held = [], 0.0
    for index in np.random.default_rng(options.seed).permutation(len(rows)).tolist():
        if held >= 60 * options.minutes:
            break
        found.append(rows[index])
        held += _seconds(rows[index], rate)
    return found


def _seconds(row: Utterance, rate: int) -> float:
    return row.samples / (row.rate or rate)


def _own(made: CodeMap, group: int, codes: Mapping[str, Codes], times: FrameTimes) -> list[OwnCode]:
    found = []
    for each in made.own_codes(group):
        heard = [
            Heard(utt, float(times.centres(begin + frames)[begin + frames // 2]), frames)
            for utt, begin, frames in heard_in(codes, each.code, made.num_codes)
        ]
        found.append(dataclasses.replace(each, heard=tuple(heard)))
    return found


def heard_in(
    codes: Mapping[str, Codes], code: int, num_codes: int, number: int = 3
) -> list[tuple[str, int, int]]:
    """(utterance, first frame, frames) of a code's longest runs, one an utterance."""
    group, value = divmod(code, num_codes)
    found = []
    for utt, rows in codes.items():
        here = np.flatnonzero(np.diff(np.concatenate([[0], rows[:, group] == value, [0]]).astype(np.int8)))
        if len(here):
            begins, ends = here[::2], here[1::2]
            longest = int((ends - begins).argmax())
            found.append((utt, int(begins[longest]), int(ends[longest] - begins[longest])))
    return sorted(found, key=lambda each: (-each[2], each[0]))[:number]


def _counted(rows: Iterable[Utterance], progress: Progress) -> Iterator[Utterance]:
    for row in rows:
        yield row
        progress.advance()


def _skipped(say: Say) -> Say:
    return lambda reason: say(f"skipped: {reason}")


def places_of(
    rows: Mapping[str, Utterance], own: Iterable[Sequence[OwnCode]]
) -> dict[str, dict[str, object]]:
    """The files of utterances in which codes are heard, for a page that plays them."""
    named = {place.utt for codes in own for each in codes for place in each.heard}
    return {
        utt: {"path": row.path, "samples": row.samples, "start": row.start, "rate": row.rate}
        for utt, row in sorted(rows.items())
        if utt in named
    }
