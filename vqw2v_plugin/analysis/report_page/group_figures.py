"""The figure of groups: the tree that joins the nearest first, and the plane on which the near lie near."""

from __future__ import annotations

from collections.abc import Sequence

from ..code_map import CodeMap
from ..group_tree import Floats, leaves
from .svg import Axis, Svg, line_class, percent, say

_ROW, _NAMES, _HALF, _WIDE, _TOP = 20.0, 150.0, 450.0, 940.0, 8.0
_LEAST = 260.0  # high, that names on the plane do not meet
_LONGEST = 22  # characters of a name


def group_figure(made: CodeMap) -> str:
    """Tree on the left, plane on the right."""
    high = max(_LEAST, _ROW * len(made.names))
    svg = Svg(_WIDE, high + 42, f"Tree and map of {len(made.names)} groups by the distance of their codes")
    _draw_tree(svg, made, high)
    places, shown = made.places
    _draw_plane(svg, made.names, places, high)
    svg.text(_WIDE, high + 36, f"the plane shows {percent(shown)} of the distances' squares", "unit", "end")
    return svg.render()


def _draw_tree(svg: Svg, made: CodeMap, high: float) -> None:
    """Names below each other; branches meet where their average distance is. Dashed: the floors' mean."""
    bottom, row = _TOP + high, high / len(made.names)
    x = Axis(0.0, max(float(made.tree[:, 2].max()) * 1.05, 1e-6), _NAMES, _HALF)
    for tick in x.ticks(4):
        svg.line(x(tick), _TOP, x(tick), bottom, "grid")
        svg.text(x(tick), bottom + 14, say(tick), "small", "middle")
    floor = x(min(float(made.floors.mean()), x.high))
    svg.line(floor, _TOP, floor, bottom, "even")
    at: dict[int, tuple[float, float]] = {}
    for place, leaf in enumerate(leaves(made.tree)):
        y = _TOP + row * (place + 0.5)
        at[leaf] = (x(0.0), y)
        svg.text(_NAMES - 10, y + 4, _short(made.names[leaf]), "name", "end")
    for node, (a, b, height) in enumerate(made.tree[:, :3].tolist(), len(made.names)):
        (left, above), (other, below) = at[int(a)], at[int(b)]
        join = x(height)
        svg.curve([(left, above), (join, above), (join, below), (other, below)], f"line {line_class(0)}")
        at[node] = (join, (above + below) / 2)
    svg.line(x.begin, bottom, x.end, bottom, "axis")
    svg.text(0, bottom + 28, "Jensen–Shannon distance; dashed: between two halves of one group", "unit")


def _draw_plane(svg: Svg, names: Sequence[str], places: Floats, high: float) -> None:
    """Each group where classical scaling puts it; both axes of one scale."""
    left, wide = _HALF + 40, _WIDE - _HALF - 41
    spread = places.max(0) - places.min(0)
    middle = (places.max(0) + places.min(0)) / 2
    scale = min((wide - 120) / max(float(spread[0]), 1e-9), (high - 40) / max(float(spread[1]), 1e-9))
    svg.add("rect", "frame", x=left, y=_TOP, width=wide, height=high)
    for i, (name, place) in enumerate(zip(names, places, strict=True)):
        right, up = ((place - middle) * scale).tolist()
        x, y = left + wide / 2 + right, _TOP + high / 2 - up
        svg.add("circle", f"dot {line_class(i)}", cx=x, cy=y, r=4.5)
        behind = right <= wide / 4
        svg.text(x + 8 if behind else x - 8, y + 4, _short(name), "name", "start" if behind else "end")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
