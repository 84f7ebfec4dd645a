"""What `vqw2v usage --out` found of codes → a table: trained, untrained and MFCC's clusters side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..run_results import UsageRow
from ..run_view import RunView
from .page import Section, missing, paragraph, table
from .svg import percent

_TITLE = "Codes beside others"
_USAGE = (
    "vqw2v usage CHECKPOINT SPLIT.tsv --phones SPLIT.phones.ctm --untrained --mfcc --robust 20 "
    "--out STAGE/usage.json"
)
_HEAD = ["codes", "groups × codes", "told of the phone", "95 %", "voices told", "by chance", "rank"]


def beside_section(view: RunView) -> Section:
    """One row a tokenizer; columns of changes where there were any."""
    rows = view.usage
    if not rows:
        return Section(
            _TITLE, missing("Codes have not been held against others yet. That is done by", _USAGE), True
        )
    changes = list(dict.fromkeys(name for row in rows for name in row.edits))
    body = paragraph(
        "At the same number of codes: the share of what there is to know of a frame's phone that its token "
        "tells (PNMI) and where 95 of 100 draws of the speakers lie; how often a clip's tokens give its "
        "speaker away; how many dimensions the features that get codes fill"
        + ("; and the share of a clip's tokens that a change of its sound changes." if changes else "."),
        "lead",
    )
    found = table(
        [*_HEAD, *map(escape, changes)], [_row(row, changes) for row in rows], range(1, 7 + len(changes))
    )
    return Section(_TITLE, body + found)


def _row(row: UsageRow, changes: Sequence[str]) -> list[str]:
    low, high = row.number("sure", "low"), row.number("sure", "high")
    dim, rank = row.number("dim"), row.number("rank")
    num_codes = row.number("usage", "num_codes")
    used = row.about["usage"].get("used")
    groups = len(used) if isinstance(used, (list, tuple)) else 0
    return [
        f"<b>{escape(row.stage.name)}: {escape(str(row.about.get('name', '?')))}</b>",
        f"{groups} × {num_codes:.0f}" if num_codes is not None else "–",
        _share(row.number("phones", "share")),
        f"{percent(low, 1)} – {percent(high, 1)}" if low is not None and high is not None else "–",
        _share(row.number("voices", "accuracy")),
        _share(row.number("voices", "chance")),
        f"{rank:.1f} of {dim:.0f}" if rank is not None and dim is not None else "–",
        *(_share(row.edits.get(name)) for name in changes),
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value, 1)
