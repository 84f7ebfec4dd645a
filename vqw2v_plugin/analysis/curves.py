"""A training's log → its learning curves, from fairseq's lines: simple or json, of fairseq-train or hydra.

A run that was killed and resumed has logged some updates twice; the later lines count.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.inputs import parse_json
from ..common.words import lines_of

# `[time][train_inner][INFO] - …` of hydra's, `time | INFO | train_inner | …` of fairseq-train's
_LINE = re.compile(r"^(?:\[[^]]*\]\[([\w.]+)\]\[(\w+)\] - |[\d :,-]+ \| (\w+) \| ([\w.]+) \| )(.*)$")
_NUMBER = r"-?(?:\d[\d.]*(?:e[+-]?\d+)?|inf|nan)"
_PAIR = re.compile(rf"(?:^|[ ,|])(\w+)[= ]({_NUMBER}|\[[^]]*\])(?=$|[ ,|])", re.IGNORECASE)
_HYDRA_ERROR = "Set the environment variable HYDRA_FULL_ERROR=1"
_TOLD = re.compile(r"^(?:fairseq-[\w-]+|hydra_train|train|generate|validate): error: (.*)$", re.MULTILINE)
_NOISE = re.compile(r"\s|(?:DEBUG|INFO|WARNING):")
_UPDATES = "num_updates"
INNER, EPOCH = "train_inner", "train"
_CODEBOOK = ("code_perplexity", "prob_perplexity", "group_share", "joint_share", "codes_used", "dead_codes")
# says how fast or on how much data it learns, not how well
_BOOKKEEPING = {
    *("epoch", "update", _UPDATES, "wps", "ups", "wpb", "bsz", "train_wall", "wall", "ntokens", "nsentences"),
    *("clip", "loss_scale", "gb_free", "ppl", "masked", "skipped", "skipped_updates", "total", "n_correct"),
}
_ORDER = ("loss", "nll_loss", "accuracy", "uer", "wer", "cer", "per", "lr", "gnorm")


@dataclass(frozen=True)
class Point:
    """What was logged after so many updates; `group_share.1` is the share of group 1."""

    updates: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Curves:
    """The curves of one training."""

    points: Mapping[str, tuple[Point, ...]]  # `training`, `valid` and further subsets
    settings: Mapping[str, Any] = field(default_factory=dict)  # fairseq's configuration, if it was logged
    warnings: tuple[str, ...] = ()
    failure: str = ""  # the last line of the error that ended it

    @property
    def updates(self) -> int:
        """The last update that was logged."""
        return max((points[-1].updates for points in self.points.values() if points), default=0)

    @property
    def max_update(self) -> int:
        """How many were asked for; 0 if the log does not say."""
        wanted = self.section("optimization").get("max_update")
        return int(wanted) if isinstance(wanted, (int, float)) and _is_finite(wanted) else 0

    def section(self, name: str) -> Mapping[str, Any]:
        """Of fairseq's configuration; a log may hold anything in its place."""
        found = self.settings.get(name)
        return found if isinstance(found, Mapping) else {}

    def name_of(self, section: str) -> str:
        """Which `model`, `task` or `criterion` it is; empty if the log does not say."""
        found = self.section(section).get("_name")
        return found if isinstance(found, str) else ""

    @property
    def seconds(self) -> float | None:
        """How long it has trained by its own clock, with what it trained before it was resumed."""
        walls = [p.values["wall"] for points in self.points.values() for p in points if "wall" in p.values]
        return max(filter(_is_finite, walls), default=None)

    @property
    def codebook_metrics(self) -> list[str]:
        return [name for name in _CODEBOOK if name in self._names()]

    @property
    def metrics(self) -> list[str]:
        """The metrics of how well it learns, losses first, without those of the codebook."""
        names = self._names() - set(_CODEBOOK) - _BOOKKEEPING
        names = {name for name in names if not name.startswith(("best_", "_"))}
        rank = {name: i for i, name in enumerate(_ORDER)}
        parts = {name: 0.5 for name in names if name.startswith("loss_")}  # right after the loss
        return sorted(names, key=lambda name: (rank.get(name, parts.get(name, len(_ORDER))), name))

    def series(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """(updates, value) in each subset that has the metric; values that are not finite are left out."""
        found = {
            subset: [(p.updates, p.values[metric]) for p in points if _is_finite(p.values.get(metric))]
            for subset, points in self.points.items()
        }
        return {subset: values for subset, values in found.items() if values} or self._by_group(metric)

    def _by_group(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """The training's values of a metric that has one for each group."""
        found: dict[str, list[tuple[int, float]]] = {}
        for point in next(iter(self.points.values()), ()):
            for name, value in point.values.items():
                base, _, group = name.partition(".")
                if group and base == metric and _is_finite(value):
                    found.setdefault(f"group {group}", []).append((point.updates, value))
        return found

    def _names(self) -> set[str]:
        named = (name for points in self.points.values() for point in points for name in point.values)
        return {name.partition(".")[0] for name in named}


def parse_log(text: str) -> Curves:
    """The curves of a log; lines that are not fairseq's are passed over."""
    rows: list[tuple[str, Point]] = []
    settings: dict[str, Any] = {}
    warnings: dict[str, None] = {}
    for line in lines_of(text):
        found = _LINE.match(line)
        if not found:
            continue
        tag, level, body = found[1] or found[4], found[2] or found[3], found[5]
        if level == "WARNING" and "vqw2v_plugin" in tag:
            warnings[body] = None
        elif body.startswith("{'"):
            settings = _literal(body) or settings
        else:
            point = _point(tag, body)
            if point is not None:
                rows = [row for row in rows if _stays(row, tag, point)] if _goes_back(rows, point) else rows
                rows.append((tag, point))
    return Curves(_by_subset(rows), settings, tuple(warnings), _failure(text))


def best_log(texts: Iterable[str]) -> Curves:
    """Of several logs of one training, the one that goes furthest."""
    parsed = [parse_log(text) for text in texts] or [Curves({})]
    failure = next((c.failure for c in reversed(parsed) if c.failure), "")
    best = max(parsed, key=lambda c: (c.updates, sum(map(len, c.points.values()))))
    settings = best.settings or next((c.settings for c in parsed if c.settings), {})  # screens have none
    return Curves(best.points, settings, best.warnings, failure)


def _point(tag: str, body: str) -> Point | None:
    """The numbers of a line; None if it has none."""
    if body.startswith("{"):
        try:
            logged = parse_json(body)
        except ValueError:
            return None
        pairs = [(name.removeprefix(f"{tag}_"), str(value)) for name, value in logged.items()]
    elif body.startswith("epoch "):
        pairs = _PAIR.findall(body)
    else:
        return None
    numbers = {name: value for pair in pairs for name, value in _numbers(*pair)}
    return Point(int(numbers[_UPDATES]), numbers) if _is_finite(numbers.get(_UPDATES)) else None


def _goes_back(rows: list[tuple[str, Point]], point: Point) -> bool:
    return bool(rows) and point.updates <= rows[-1][1].updates


def _stays(row: tuple[str, Point], tag: str, point: Point) -> bool:
    """Whether an earlier line stays when updates are repeated; at the same update it is another subset's."""
    return row[1].updates < point.updates or (row[1].updates == point.updates and row[0] != tag)


def _by_subset(rows: list[tuple[str, Point]]) -> dict[str, tuple[Point, ...]]:
    """The training's points are means over the log's interval or, if there are none, over epochs."""
    tags = list(dict.fromkeys(tag for tag, _ in rows))
    training = INNER if INNER in tags else EPOCH
    found = {tag: tuple(point for t, point in rows if t == tag) for tag in tags}
    named = {"training": found.get(training, ())}
    named |= {tag: points for tag, points in found.items() if tag not in (INNER, EPOCH)}
    return {subset: points for subset, points in named.items() if points}


def _literal(body: str) -> dict[str, Any]:
    """A dictionary as Python prints it; nothing in it is run."""
    try:
        found = ast.literal_eval(_Words().visit(ast.parse(body, mode="eval")))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Words(ast.NodeTransformer):
    """Members of an enumeration are printed without quotes: names become their own text."""

    def visit_Name(self, node: ast.expr) -> ast.expr:
        return ast.Constant(ast.unparse(node))

    visit_Call = visit_Attribute = visit_Name


def _failure(text: str) -> str:
    """The sentence of the last exception, unless something was logged after it."""
    before, traceback, tail = text.rpartition("Traceback (most recent call last):")
    for told in [*_TOLD.finditer(text, len(before))][-1:]:
        return "" if any(map(_LINE.match, lines_of(text[told.end() :]))) else told[1].strip()
    if not traceback:  # hydra hides the traceback where settings do not fit
        before, hydra, _ = text.rpartition(_HYDRA_ERROR)
        lines = lines_of(before.rstrip())[-12:]
        said = [line for line in lines if line.strip() and not _NOISE.match(line) and not _LINE.match(line)]
        return " ".join(said[-3:]) if hydra else ""
    lines = [line for line in lines_of(tail) if line.strip()]
    if any(_LINE.match(line) for line in lines):
        return ""
    said = [line for line in lines if not line.startswith((" ", _HYDRA_ERROR))]
    return said[-1].strip() if said else ""


def _numbers(name: str, text: str) -> Iterator[tuple[str, float]]:
    """One value, or one for each group; what is not a number is left out."""
    parts = [(name, text)]
    if text.startswith("["):
        parts = [(f"{name}.{i}", part) for i, part in enumerate(text.strip("[]").split(","))]
    for each, value in parts:
        with contextlib.suppress(ValueError):
            yield each, float(value)


def _is_finite(value: float | None) -> bool:
    return value is not None and abs(value) < float("inf")
