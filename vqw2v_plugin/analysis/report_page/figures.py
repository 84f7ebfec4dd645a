"""The page's figures: curves over updates, codes by rank, counts of codes, the table phone × code.

A figure carries the numbers that the page shows under the pointer, as json beside the drawing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from ..phone_codes import PhoneCodeTable
from .png import data_url, png, ramp
from .svg import Axis, Svg, line_class, percent, say

_MOST_POINTS = 160  # of a curve
_LIGHT = ramp([(255, 255, 255), (209, 229, 240), (103, 169, 207), (33, 102, 172), (5, 34, 77)], 64)
_DARK = ramp([(24, 27, 34), (38, 66, 112), (45, 121, 172), (112, 190, 210), (240, 249, 242)], 64)
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 10.0, 33.0

Series = Mapping[str, Sequence[tuple[float, float]]]


def learning_curve(name: str, series: Series, colours: Mapping[str, int]) -> str:
    """A metric over updates, a line for each subset."""
    values = [value for points in series.values() for _, value in points]
    log = min(values) > 0 and max(values) / min(values) > 200
    ends = "; ".join(f"{s} from {say(p[0][1])} to {say(p[-1][1])}" for s, p in series.items() if p)
    drawing = _Chart(300, 186, f"{name} over updates: {ends}")
    drawing.axes(
        Axis.of([0, *(x for points in series.values() for x, _ in points)], *drawing.across),
        Axis.of(values, *drawing.up, log),
    )
    for subset, points in series.items():
        drawing.curve(subset, thinned(points), colours.get(subset, 0), dots=len(points) <= 40)
    return drawing.render("update")


def rank_chart(series: Series, tips: Mapping[str, Sequence[str]]) -> str:
    """Share of frames by rank, both on a logarithmic scale; the dashed line falls as 1 / rank."""
    drawing = _Chart(940, 380, "Share of frames of each token by its rank, on logarithmic scales")
    shares = [y for points in series.values() for _, y in points]
    x = Axis.of([1, *(x for points in series.values() for x, _ in points)], *drawing.across, log=True)
    y = Axis.of(shares, *drawing.up, log=True)
    drawing.axes(x, y, shares=True)
    last = min(x.high, max(shares) / y.low)
    if last > 1:
        drawing.svg.curve([(x(1), y(max(shares))), (x(last), y(max(shares) / last))], "zipf")
    for i, (name, points) in enumerate(series.items()):
        kept = _spread(len(points))
        drawing.curve(name, [points[k] for k in kept], i, [tips[name][k] for k in kept])
    return drawing.render("rank")


def code_bars(counts: npt.NDArray[np.int64], label: str) -> str:  # [V]
    """How often each code of a group is chosen, with a line where all would be equally frequent."""
    width, height, top = 300.0, 70.0, 6.0
    shares = counts / max(int(counts.sum()), 1)
    most = max(float(shares.max()), 1e-9)
    step = width / len(counts)
    tips = [f"code {i}: {percent(share, 2)} of frames" for i, share in enumerate(shares.tolist())]
    svg = Svg(width, height, label, _data("bars", {"tips": tips, "step": step}))
    even = top + (height - top) * (1 - 1 / len(counts) / most)
    gap = min(1.0, step / 4)
    path = []
    for i, share in enumerate(shares.tolist()):
        tall = (height - top) * share / most
        if share:
            path.append(
                f"M{i * step + gap / 2:.2f} {height:.2f}v{-max(tall, 0.6):.2f}h{step - gap:.2f}V{height:.2f}z"
            )
    svg.add("path", "bar", d="".join(path))
    svg.line(0, height, width, height, "axis")
    svg.line(0, even, width, even, "even")
    return svg.render()


def heat_map(table: PhoneCodeTable) -> str:
    """P(phone | token): a column for each token, a row for each phone, in the table's order."""
    given, shares = table.given_code(), table.counts.sum(axis=0) / table.num_frames
    rows, columns = given.shape
    left, top, width = 52.0, 8.0, 940.0
    line = min(14.0, max(4.0, 780 / rows))
    every = max(1, round(10 / line))
    levels = np.ceil(np.sqrt(given) * 63).astype(np.uint8)  # the root makes small shares visible
    told = {
        "rows": list(table.phones),
        "columns": list(table.tokens),
        "shares": [round(100 * s, 2) for s in shares.tolist()],
        "cells": "".join(f"{v:02x}" for v in np.round(100 * given).astype(int).reshape(-1).tolist()),
        "box": [left, top, width - left, rows * line],
    }
    svg = Svg(
        *(width, top + rows * line + 22, f"Phones by tokens: {rows} phones, {columns} tokens"),
        _data("heat", told),
    )
    for kind, palette in (("light", _LIGHT), ("dark", _DARK)):
        svg.raw(
            f'<image class="only-{kind}" x="{left}" y="{top}" width="{width - left}" '
            f'height="{rows * line:.1f}" preserveAspectRatio="none" '
            f'href="{data_url(png(levels, palette), "image/png")}"/>'
        )
    svg.add("rect", "frame", x=left, y=top, width=width - left, height=rows * line)
    for i, phone in enumerate(table.phones):
        if i % every == 0:
            svg.text(left - 6, top + (i + 0.5) * line + 3.5, phone, "small", "end")
    svg.text(left, top + rows * line + 16, f"{columns} tokens, by the phone they are most often", "small")
    svg.add("rect", "aim", x=left, y=top, width=0, height=0)
    return svg.render()


def heat_scale() -> str:
    """What the heat map's colours mean; they follow the root of the share."""
    steps = [0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0]
    bars = "".join(
        f'<i class="only-{kind}" style="background:linear-gradient(90deg,{_stops(palette, steps)})"></i>'
        for kind, palette in (("light", _LIGHT), ("dark", _DARK))
    )
    return f'<div class="scale">0\u202f%{bars}100\u202f%</div>'


def _stops(palette: Sequence[tuple[int, int, int]], steps: Sequence[float]) -> str:
    return ",".join(f"rgb{palette[round(63 * step**0.5)]} {100 * step:g}%" for step in steps)


def spans(points: Sequence[tuple[str, float, float | None]]) -> str:
    """Pairs of shares, within and across speakers: two dots on a line for each; chance is a half."""
    row, left, width = 30.0, 250.0, 940.0
    svg = Svg(
        *(width, row * len(points) + 42, "ABX error within and across speakers: " + _spoken(points)), ""
    )
    most = max([0.05, *(max(w, a or 0.0) for _, w, a in points)])
    x = Axis(0.0, min(1.0, most * 1.08), left, width - 16)
    bottom = row * len(points) + 8
    for tick in x.ticks(6):
        svg.line(x(tick), 8, x(tick), bottom, "grid")
        svg.text(x(tick), bottom + 16, f"{100 * tick:g}\u202f%", "small", "middle")
    for i, (name, within, across) in enumerate(points):
        y = 8 + (i + 0.5) * row
        svg.text(left - 12, y + 4, name, "name", "end")
        if across is not None:
            svg.line(x(within), y, x(across), y, "span")
            svg.add("circle", "across", cx=x(across), cy=y, r=5.5)
        svg.add("circle", "within", cx=x(within), cy=y, r=5.5)
    svg.line(left, bottom, width - 16, bottom, "axis")
    return svg.render()


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """No more points than a figure can show: means of neighbours, and the last point as it is."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    parts = np.array_split(np.asarray(points, dtype=np.float64), _MOST_POINTS - 1)
    means = [(float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts)]
    return [*means, points[-1]]


def _spread(count: int) -> list[int]:
    """Indices spread evenly on a logarithmic scale, each once."""
    if count <= _MOST_POINTS:
        return list(range(count))
    places = np.unique(np.round(np.geomspace(1, count, _MOST_POINTS)).astype(int) - 1)
    return [int(place) for place in places]


class _Chart:
    """A drawing with axes, and lines whose points can be pointed at."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height, self._label = width, height, label
        self.across, self.up = (_LEFT, width - _RIGHT), (height - _BOTTOM, _TOP)
        self.svg = Svg(width, height, label)
        self._told: list[dict[str, object]] = []

    def axes(self, x: Axis, y: Axis, shares: bool = False) -> None:
        self.x, self.y = x, y
        for tick in y.ticks():
            self.svg.line(self.across[0], y(tick), self.across[1], y(tick), "grid")
            shown = f"{100 * tick:g}\u202f%" if shares else say(tick)
            self.svg.text(self.across[0] - 6, y(tick) + 3.5, shown, "small", "end")
        for tick in x.ticks(4):
            self.svg.line(x(tick), self.up[0], x(tick), self.up[0] + 4, "axis")
            self.svg.text(x(tick), self.up[0] + 15, say(tick), "small", "middle")
        self.svg.line(*(self.across[0], self.up[0], self.across[1], self.up[0]), "axis")

    def curve(
        self,
        name: str,
        points: Sequence[tuple[float, float]],
        colour: int,
        tips: Sequence[str] = (),
        dots: bool = False,
    ) -> None:
        places = [(self.x(x), self.y(y)) for x, y in points]
        kind = line_class(colour)
        self.svg.curve(places, f"line {kind}")
        for x, y in places if dots or len(places) == 1 else ():
            self.svg.add("circle", f"dot {kind}", cx=x, cy=y, r=2.2)
        shown = list(tips) or [f"update {say(x)}: {say(y)}" for x, y in points]
        self._told.append(
            {
                "name": name,
                "kind": kind,
                "at": [[round(x, 1), round(y, 1)] for x, y in places],
                "tips": shown,
            }
        )

    def render(self, unit: str) -> str:
        self.svg.text(self.across[1], self.height - 4, unit, "unit", "end")
        self.svg.raw('<g class="aim"></g>')
        head, _, rest = self.svg.render().partition(">")
        return f"{head}{_data('curves', self._told)}>{rest}"


def _data(kind: str, told: object) -> str:
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return f' data-figure="{kind}" data-told="{escape(text)}"'


def _spoken(points: Sequence[tuple[str, float, float | None]]) -> str:
    return "; ".join(
        f"{n} {percent(w, 1)}" + (f" and {percent(a, 1)}" if a is not None else "") for n, w, a in points
    )
