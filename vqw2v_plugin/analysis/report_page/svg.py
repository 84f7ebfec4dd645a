"""Figures as SVG, written by hand: a drawing, axes with round ticks; colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Place = tuple[float, float]
LINES, HUES = 6, 24  # classes of the page's style: s0, s1 … colour lines, h0, h1 … colour codes


class Svg:
    """A drawing of so many units, as wide as the page allows; screen readers read `label`."""

    def __init__(self, width: float, height: float, label: str, extra: str = "") -> None:
        self.width, self.height = width, height
        self._head = (
            f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" '
            f'aria-label="{escape(label)}"{extra}>'
        )
        self._parts: list[str] = []

    def add(self, tag: str, kind: str = "", **attributes: object) -> None:
        """One element; `kind` is its class, and `_` in a name becomes `-`."""
        named = {"class": kind, **attributes} if kind else attributes
        self._parts.append(f"<{tag}{_attributes(named)}/>")

    def text(self, x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> None:
        named = {"class": kind, "x": x, "y": y, "text-anchor": anchor if anchor != "start" else ""}
        self._parts.append(f"<text{_attributes(named)}>{escape(content, quote=False)}</text>")

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def curve(self, places: Sequence[Place], kind: str) -> None:
        """A line through all places."""
        if len(places) > 1:
            self.add("path", kind, d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in places))

    def raw(self, markup: str) -> None:
        """Markup that is already safe."""
        self._parts.append(markup)

    def render(self) -> str:
        return self._head + "".join(self._parts) + "</svg>"


@dataclass(frozen=True)
class Axis:
    """Values ↔ units of the drawing."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    @classmethod
    def of(cls, values: Sequence[float], begin: float, end: float, log: bool = False) -> Axis:
        """An axis with room for all values, even if they are all the same."""
        low, high = min(values), max(values)
        if log:
            return cls(low, high if high > low else low * 10, begin, end, True)
        if high == low:
            return cls(min(low * 1.25, 0.0), max(high * 1.25, 0.0) or float(low == 0), begin, end)
        spare = (high - low) * 0.06
        return cls(low - spare if low < 0 or low > spare else 0.0, high + spare, begin, end)

    def __call__(self, value: float) -> float:
        low, high, value = (self._scaled(v) for v in (self.low, self.high, value))
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)

    def ticks(self, number: int = 4) -> list[float]:
        """Round values within it."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / number)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def number(value: float) -> str:
    """A coordinate, no more precise than the eye."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def say(value: float) -> str:
    """A value with three or four digits, for a tick or a tip."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    if size and size < 1e-3:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:.4g}"


def line_class(number: int) -> str:
    """The class that colours a line; the seventh line has the first one's colour again."""
    return f"s{number % LINES}"


def percent(share: float, digits: int = 0) -> str:
    """A share with its sign, which no line break separates."""
    return f"{100 * share:.{digits}f}\u202f%"


def _attributes(named: dict[str, object]) -> str:
    parts = []
    for name, value in named.items():
        if value != "":
            text = number(value) if isinstance(value, (int, float)) else escape(str(value))
            parts.append(f' {name.replace("_", "-")}="{text}"')
    return "".join(parts)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= step * 0.999)


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 1.5 else (1,)
    found = [f * 10.0**p for p in powers for f in factors]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]
