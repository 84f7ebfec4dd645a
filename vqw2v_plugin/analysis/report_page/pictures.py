"""Drawings that the user adds to the page, each under what it shows."""

from __future__ import annotations

from html import escape

from ..run_view import RunView
from .page import Section, figure
from .png import data_url


def pictures_section(view: RunView) -> Section | None:
    """None where the user has added none."""
    shown = ""
    for each in view.options.pictures:
        drawing = f'<img src="{data_url(each.content, "image/png")}" alt="{escape(each.caption)}">'
        shown += figure(drawing, each.caption, kind="full")
    return Section("Pictures", shown) if shown else None
