"""The map of groups and their codes as a picture: tree and plane side by side."""

from __future__ import annotations

import io
from pathlib import Path

from ..common.files import write_whole
from .code_map import CodeMap
from .group_tree import leaves

_LONGEST = 22


def need_matplotlib() -> None:
    """Before there is anything to draw."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "`--png` draws with matplotlib, which is not installed: `pip install 'vqw2v_plugin[report]'`, or "
            "leave it out and see the page of `vqw2v report`"
        ) from None


def draw_map(made: CodeMap, title: str, out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name[:_LONGEST].replace("$", r"\$") for name in made.names]  # "$" would begin a formula
    figure = Figure(figsize=(11, max(3.6, 0.24 * len(names))), layout="constrained")
    FigureCanvasAgg(figure)
    tree, plane = figure.subplots(1, 2)
    order = leaves(made.tree)
    at = {leaf: (0.0, float(row)) for row, leaf in enumerate(order)}
    for node, (a, b, height) in enumerate(made.tree[:, :3].tolist(), len(names)):
        (left, above), (other, below) = at[int(a)], at[int(b)]
        tree.plot([left, height, height, other], [above, above, below, below], color="tab:blue")
        at[node] = (height, (above + below) / 2)
    tree.axvline(
        float(made.floors.mean()), color="grey", linestyle="--", linewidth=1, label="halves of one (mean)"
    )
    tree.set_yticks(range(len(order)), [names[leaf] for leaf in order])
    tree.invert_yaxis()
    tree.set_xlim(left=0)
    tree.set_xlabel("Jensen–Shannon distance of codes")
    places, shown = made.places
    plane.scatter(places[:, 0], places[:, 1], color="tab:blue")
    for name, (x, y) in zip(names, places.tolist(), strict=True):
        plane.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=9)
    plane.set_aspect("equal", "datalim")
    plane.margins(0.2)
    plane.set_title(f"{shown:.0%} of the distances' squares", fontsize=9)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_whole(out, content.getvalue())
