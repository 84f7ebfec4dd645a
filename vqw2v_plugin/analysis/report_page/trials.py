"""The page's section on a grid of trainings without labels: all trials, ranked by what chose one of them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ...common.inputs import read_json
from ..grid import FOLDER
from ..run_view import RunView
from .page import Section, paragraph, table

_COLUMNS = ("score", "updates", "trained", "used", "error")


def trials_section(view: RunView) -> Section | None:
    """None where the run has no grid, or not yet a table of it."""
    try:
        said = read_json(view.run.path / FOLDER / "grid.json")
        rows = [_row(each, said["chosen"]) for each in said["trials"]]
        text, is_text = said["text"], bool(said["is_text"])
        told = (float(text["of_text"]), float(text["of_phones"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    verdict = "is text by its score" if is_text else "is NOT text by its score"
    body = paragraph(
        f"The first is chosen, and {verdict}: text that the model of phones has not seen has a perplexity of "
        f"{told[0]:.2f}, phones one by one of {told[1]:.2f}. No label is looked at for it; errors stand "
        f"beside where labels were given for measuring.",
        "lead",
    )
    head = ["trial", "score", "best at update", "of updates", "phones used", "error, %"]
    return Section("Chosen without labels", body + table(head, rows, range(1, 6)))


def _row(each: Mapping[str, Any], chosen: str) -> list[str]:
    name = escape(str(each["trial"]))
    score, updates, trained, used, error = (each[name] for name in _COLUMNS)
    return [
        f"<b>{name}</b>" if each["trial"] == chosen else name,
        f"{float(score):.2f}",
        f"{int(updates):,}",
        f"{int(trained):,}",
        f"{float(used):.0%}",
        "–" if error is None else f"{float(error):.1f}",
    ]
