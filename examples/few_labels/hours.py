"""Does more audio without labels help? Phone errors over the hours that pretraining heard.

    python examples/few_labels/hours.py RUN --curve 0.7=c07 1.4=c14 2.8=c28 5.6=c56 \\
        --beside log-mel MFCC --out hours.png

RUN is one of compare.py. A point is HOURS=FEATURES, a name of its features; `--beside` are features without
pretraining. The table, with what a straight line over the doublings promises, goes beside the drawing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.common.inputs import read_json
from vqw2v_plugin.recipes.folder import DONE
from vqw2v_plugin.recipes.table import spread

FAR = (60.0, 960.0)  # hours: Libri-light's small part, Librispeech


@dataclass(frozen=True)
class Rates:
    """Phone errors of one features' rows, in %: by share of the speakers and seed."""

    name: str
    found: Mapping[float, Mapping[int, float]]

    @classmethod
    def read(cls, run: Path, name: str) -> Rates:
        found: dict[float, dict[int, float]] = {}
        for folder in run.glob(f"scores_{name}_*"):
            share, _, seed = folder.name.removeprefix(f"scores_{name}_").partition("_")
            if (folder / DONE).exists() and seed.isdigit():
                rate = float(read_json(folder / "errors-test.json")["rate"])
                found.setdefault(float(share), {})[int(seed)] = rate
        if not found:
            raise ValueError(f"{run}: has no finished rows of {name}; expected a run of compare.py with them")
        return cls(name, found)


@dataclass(frozen=True)
class Line:
    """Errors = at_one + slope · log2(hours), through all seeds' points; each seed has a height of its own."""

    at_one: float
    slope: float
    sure: float  # half of the slope's 95 % interval; NaN with too few points

    @classmethod
    def through(cls, points: Mapping[float, Mapping[int, float]]) -> Line:
        """`points`: hours → seed → errors."""
        seeds = sorted({seed for rates in points.values() for seed in rates})
        rows = [(math.log2(h), seed, rate) for h, rates in points.items() for seed, rate in rates.items()]
        inputs = np.array([[x, *(float(seed == each) for each in seeds)] for x, seed, _ in rows])
        y = np.array([rate for *_, rate in rows])
        solved, *_ = np.linalg.lstsq(inputs, y, rcond=None)
        free = len(y) - inputs.shape[1]
        sure = math.nan
        if free > 0 and len(points) > 1:
            error = np.square(y - inputs @ solved).sum() / free
            sure = stats.t.ppf(0.975, free) * math.sqrt(error * np.linalg.pinv(inputs.T @ inputs)[0, 0])
        return cls(float(solved[1:].mean()), float(solved[0]), float(sure))

    @property
    def tells(self) -> bool:
        """Whether more audio is known to change anything."""
        return abs(self.slope) > self.sure

    def at(self, hours: float) -> float:
        return max(self.at_one + self.slope * math.log2(hours), 0.0)

    def hours_for(self, errors: float) -> float | None:
        """How much audio makes so few; None if more audio is not known to help."""
        if not self.tells or self.slope > 0 or not math.isfinite(errors):
            return None
        doublings = (errors - self.at_one) / self.slope
        return 2.0**doublings if doublings < 60 else None


def table(curve: Mapping[float, Rates], beside: Sequence[Rates]) -> str:
    """Errors by hours, and what a line through them promises; a column a share."""
    shares = shares_of(curve)
    rows = [[f"{hours:g} h", *cells_of(rates, shares)] for hours, rates in curve.items()]
    rows += [[rates.name, *cells_of(rates, shares)] for rates in beside]
    lines = [line_of(curve, share) for share in shares]
    rows.append(["each doubling, with 95 %", *(f"{line.slope:+.1f} ± {line.sure:.1f}" for line in lines)])
    for hours in FAR:
        told = [f"{line.at(hours):.0f}" if line.tells else "not known" for line in lines]
        rows.append([f"a line's at {hours:g} h", *told])
    if beside:
        best = [min(mean(rates, share) for rates in beside) for share in shares]
        enough = [line.hours_for(errors) for line, errors in zip(lines, best, strict=True)]
        rows.append(
            ["level with the best without", *("not known" if h is None else f"{h:,.1f} h" for h in enough)]
        )
    head = ["heard without labels", *(f"{share:.0%} of the speakers" for share in shares)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def shares_of(curve: Mapping[float, Rates]) -> list[float]:
    """Those that all points have."""
    return sorted(set.intersection(*(set(rates.found) for rates in curve.values())), reverse=True)


def cells_of(rates: Rates, shares: Sequence[float]) -> list[str]:
    return [spread(list(rates.found.get(share, {}).values())) for share in shares]


def line_of(curve: Mapping[float, Rates], share: float) -> Line:
    return Line.through({hours: rates.found[share] for hours, rates in curve.items()})


def mean(rates: Rates, share: float) -> float:
    """Infinite without a row."""
    return statistics.mean(rates.found.get(share, {0: math.inf}).values())


def draw(curve: Mapping[float, Rates], beside: Sequence[Rates], out: Path) -> None:
    """A panel a share: each seed's points, their mean, and what has heard nothing as lines across."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shares = shares_of(curve)
    figure, axes = pyplot.subplots(
        1, len(shares), figsize=(4.6 * len(shares), 3.8), layout="constrained", squeeze=False
    )
    for axis, share in zip(axes[0], shares, strict=True):
        points = [(h, rate) for h, rates in curve.items() for rate in rates.found[share].values()]
        axis.plot(*zip(*points, strict=True), "o", color="C0", alpha=0.4)
        axis.plot(
            list(curve), [mean(rates, share) for rates in curve.values()], color="C0", label="pretrained"
        )
        for i, rates in enumerate(beside, 1):
            if share in rates.found:
                axis.axhline(mean(rates, share), color=f"C{i}", ls="--", label=rates.name)
        axis.set_xscale("log", base=2)
        axis.set_xticks(list(curve), [f"{hours:g}" for hours in curve])
        axis.set(xlabel="hours of audio without labels", ylabel="phone errors, %")
        axis.set_title(f"labels of {share:.0%} of the speakers")
        axis.legend()
    figure.savefig(out, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="of compare.py")
    parser.add_argument("--curve", nargs="+", required=True, metavar="HOURS=FEATURES")
    parser.add_argument("--beside", nargs="+", default=[], metavar="FEATURES", help="without pretraining")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="FILE.md goes beside it")
    return parser.parse_args()


def points_of(run: Path, texts: Sequence[str]) -> dict[float, Rates]:
    """In order of the hours."""
    found = {}
    for text in texts:
        hours, _, name = text.partition("=")
        try:
            at = float(hours)
        except ValueError:
            at = 0.0
        if not 0 < at < math.inf or not name:
            raise ValueError(f"--curve: got {text!r}; expected HOURS=FEATURES, such as 5.6=c56")
        found[at] = Rates.read(run, name)
    return dict(sorted(found.items()))


def main() -> int:
    args = parse_args()
    try:
        if args.out.suffix != ".png":
            raise ValueError(f"--out is {args.out}; expected the name of a drawing, FILE.png")
        curve = points_of(args.run, args.curve)
        beside = [Rates.read(args.run, name) for name in args.beside]
        if not shares_of(curve):
            raise ValueError("--curve: its features have no share of the speakers in common")
        made = table(curve, beside)
        draw(curve, beside, args.out)
        write_whole(args.out.with_suffix(".md"), made)
    except (ValueError, OSError) as error:
        print(f"hours.py: error: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
