"""Figures of groups: the tree that joins the nearest first, and the plane on which the near lie near."""

from __future__ import annotations

from collections.abc import Sequence

from ..group_tree import Floats, leaves
from .svg import Axis, Svg, line_class, say

_ROW, _NAMES, _WIDE = 20.0, 150.0, 460.0
_LONGEST = 22  # characters of a name


def tree_figure(names: Sequence[str], tree: Floats, floors: Floats) -> str:
    """Names below each other; branches meet where their average distance is. Dashed: the floors' mean."""
    order = leaves(tree)
    bottom = 8 + _ROW * len(names)
    svg = Svg(_WIDE, bottom + 34, f"Tree of {len(names)} groups by the distance of their codes")
    x = Axis(0.0, max(float(tree[:, 2].max()) * 1.05, 1e-6), _NAMES, _WIDE - 12)
    for tick in x.ticks(4):
        svg.line(x(tick), 8, x(tick), bottom, "grid")
        svg.text(x(tick), bottom + 16, say(tick), "small", "middle")
    floor = x(min(float(floors.mean()), x.high))
    svg.line(floor, 8, floor, bottom, "even")
    at: dict[int, tuple[float, float]] = {}
    for row, leaf in enumerate(order):
        y = 8 + _ROW * (row + 0.5)
        at[leaf] = (x(0.0), y)
        svg.text(_NAMES - 10, y + 4, _short(names[leaf]), "name", "end")
    for made, (a, b, height) in enumerate(tree[:, :3].tolist(), len(names)):
        (left, above), (other, below) = at[int(a)], at[int(b)]
        join = x(height)
        svg.curve([(left, above), (join, above), (join, below), (other, below)], f"line {line_class(0)}")
        at[made] = (join, (above + below) / 2)
    svg.line(x.begin, bottom, x.end, bottom, "axis")
    svg.text(x.end, bottom + 30, "Jensen–Shannon distance; dashed: of two halves of one group", "unit", "end")
    return svg.render()


def plane_figure(names: Sequence[str], places: Floats, shown: float) -> str:
    """Each group where classical scaling puts it; both axes of one scale."""
    high = 300.0
    svg = Svg(_WIDE, high + 20, f"Map of {len(names)} groups by the distance of their codes")
    middle = (places.max(0) + places.min(0)) / 2
    reach = max(float((places.max(0) - places.min(0)).max()), 1e-9)
    scale = (high - 60) / reach
    svg.add("rect", "frame", x=1, y=1, width=_WIDE - 2, height=high - 2)
    for i, (name, place) in enumerate(zip(names, places, strict=True)):
        right, up = ((place - middle) * scale).tolist()
        x, y = _WIDE / 2 + right, high / 2 - up
        svg.add("circle", f"dot {line_class(i)}", cx=x, cy=y, r=4.5)
        left = x > _WIDE * 0.7
        svg.text(x - 8 if left else x + 8, y + 4, _short(name), "name", "end" if left else "start")
    svg.text(_WIDE - 2, high + 14, f"{100 * shown:.0f} % of the distances' squares are shown", "unit", "end")
    return svg.render()


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
