"""The map of groups and their codes: lines for who reads, a table, and json that a page reads again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..common.words import one_line
from .code_map import CodeMap, Heard, OwnCode
from .group_tree import joined

_MOST_GROUPS, _MOST_COUNTS, _MOST_FRAMES = 200, 1 << 22, 1 << 40
_MOST_NAMED = 32


def told(made: CodeMap, by: str) -> list[str]:
    """For who reads."""
    names = [one_line(name) for name in made.names]
    spread, away = made.spread, made.between[np.triu_indices(len(made.names), 1)]
    found = [
        f"{len(made.names)} groups by {by}, {made.frames:,} frames of each, {made.num_groups} × "
        f"{made.num_codes} codes; a group uses a code from {made.least} frames on",
        f"  codes that all groups use: {spread['all']:.1%}; some: {spread['some']:.1%}; one alone: "
        f"{spread['one']:.1%}; none: {spread['none']:.1%}",
        f"  distances (Jensen–Shannon, 0 to 1): {away.min():.3f} to {away.max():.3f}; between halves of "
        f"one group {made.floors.min():.3f} to {made.floors.max():.3f}",
        f"  the nearest joined first: {joined(made.tree, names)}",
    ]
    alone = (made.used & (made.used.sum(axis=0) == 1)).sum(axis=1)
    wide = max(map(len, names))
    for i, name in enumerate(names):
        other = np.delete(made.between[i], i)
        nearest = [each for each in names if each != name][int(other.argmin())]
        own = ", ".join(
            f"{made.title(each.code)} ({each.share:.1%}, elsewhere {each.elsewhere:.1%})"
            for each in made.own_codes(i, 3)
        )
        found.append(
            f"  {name:<{wide}}  {made.used[i].sum()} codes, {alone[i]} alone; nearest {nearest} "
            f"({other.min():.3f}, floor {made.floors[i]:.3f}); most its own: {own or 'none'}"
        )
    return found


def to_json(made: CodeMap, by: str, own: Mapping[str, Sequence[OwnCode]]) -> dict[str, Any]:
    """All of it; `vqw2v report` reads it again."""
    places, shown = made.places
    return {
        "by": by,
        "names": list(made.names),
        "frames": made.frames,
        "frames_given": list(made.given),
        "groups": made.num_groups,
        "codes": made.num_codes,
        "least": made.least,
        "spread": made.spread,
        "used": made.used.sum(axis=1).tolist(),
        "halves": made.halves.tolist(),
        "distances": made.distances.tolist(),
        "tree": made.tree.tolist(),
        "places": places.tolist(),
        "places_show": shown,
        "own": {
            name: [
                {
                    "code": each.code,
                    "title": made.title(each.code),
                    "share": each.share,
                    "elsewhere": each.elsewhere,
                    "heard": [vars(place) for place in each.heard],
                }
                for each in codes
            ]
            for name, codes in own.items()
        },
    }


def to_table(made: CodeMap, by: str) -> str:
    """Tab-separated: how often each group's frames have each code."""
    lines = ["\t".join([by, "group", "code", "frames", "share"])]
    for name, counts in zip(made.names, made.counts.tolist(), strict=True):
        for code, count in enumerate(counts):
            group, value = divmod(code, made.num_codes)
            lines.append(f"{name}\t{group}\t{value}\t{count}\t{count / made.frames:.6g}")
    return "\n".join(lines) + "\n"


def read_map(about: Mapping[str, Any]) -> tuple[CodeMap, dict[str, list[OwnCode]]]:
    """What `to_json` said, from a file that may be anybody's: counts are believed, all else follows anew."""
    names = [str(name) for name in _listed(about["names"], _MOST_GROUPS)]
    groups, codes, least = (_whole(about[name]) for name in ("groups", "codes", "least"))
    halves = np.array(about["halves"], dtype=np.int64)
    if (
        len(names) < 2
        or halves.shape != (len(names), 2, groups * codes)
        or not 0 < halves.size <= _MOST_COUNTS
    ):
        raise ValueError(f"{len(names)} groups have counts of the shape {halves.shape}")
    sizes = halves.sum(axis=2)
    if (halves < 0).any() or (sizes != sizes[0, 0]).any() or not 0 < sizes[0, 0] < _MOST_FRAMES:
        raise ValueError("its groups are not counted over equally many frames")
    given = tuple(_whole(frames) for frames in _listed(about["frames_given"], _MOST_GROUPS))
    made = CodeMap(tuple(names), halves, groups, codes, given, least)
    own = {
        str(name): [_own(each) for each in _listed(found, _MOST_NAMED)]
        for name, found in about["own"].items()
    }
    return made, own


def _own(said: Mapping[str, Any]) -> OwnCode:
    heard = [
        Heard(str(each["utt"]), _number(each["second"], _MOST_FRAMES), _whole(each["frames"]))
        for each in _listed(said["heard"], _MOST_NAMED)
    ]
    return OwnCode(
        _whole(said["code"]), _number(said["share"], 1), _number(said["elsewhere"], 1), tuple(heard)
    )


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"it holds {type(value).__name__} where a list of at most {most} is expected")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MOST_FRAMES:
        raise ValueError("it holds a number that is none of frames or codes")
    return value


def _number(value: Any, most: float) -> float:
    if not 0 <= float(value) <= most:  # nor NaN
        raise ValueError(f"it holds a number that is not between 0 and {most:g}")
    return float(value)
