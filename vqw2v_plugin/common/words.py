"""Phrases that messages about any arrow share."""

from collections.abc import Collection
from itertools import islice


def some_of(names: Collection[object], limit: int = 8) -> str:
    """The first of many, for a sentence: `a, b, c and 12 more`."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(map(str, islice(names, limit))) + more


def shortened(text: str, most: int = 120) -> str:
    """What a file says, for a message: a line of any length is not read."""
    return text if len(text) <= most else f"{text[:most]}…"


def on_one_line(text: str) -> str:
    """Text that any terminal and any table can hold: what breaks lines, columns or UTF-8 is spelled `\\t`."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
