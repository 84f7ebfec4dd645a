"""Phrases that messages about any arrow share."""

import re
from collections.abc import Collection, Sequence
from itertools import islice

_LONGEST = 3000  # characters of a message
# Halves of characters, which json and pickles may say, but for those by which Python spells stray bytes.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def some_of(names: Collection[object], limit: int = 8) -> str:
    """The first of many, for a sentence that any terminal and log can print: `a, b, c and 12 more`."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(_printable(str(name)) for name in islice(names, limit)) + more


def shortened(text: str, most: int = 120) -> str:
    """What a file says, for a message: a line of any length is not read."""
    return text if len(text) <= most else f"{text[:most]}…"


def lines_of(text: str) -> list[str]:
    """Lines as we write them: \\n ends them and nothing else, as names may hold what others break at."""
    return text.removesuffix("\n").split("\n") if text else []


def one_line(name: str) -> str:
    """A name as a table holds it: `\\t` for a tab, `\\\\` for a backslash, `\\xff` for what is no UTF-8."""
    return _printable(name.replace("\\", "\\\\"))


def aligned(rows: Sequence[Sequence[str]], numbers: Collection[int]) -> list[str]:
    """Rows as lines, their columns under each other; those of `numbers` end at one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def sentence(message: str) -> str:
    """A message with names in it, on one line that any terminal can print.

    Of a long one the middle is left out: a file may say anything of any length, and the end is the remedy.
    """
    said = _printable(message)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST // 2]} … {said[-_LONGEST // 3 :]}"


def _printable(message: str) -> str:
    whole = _HALVES.sub(lambda half: ascii(half[0])[1:-1], message)
    plain = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def rough_time(seconds: float) -> str:
    """In whole minutes or, of long times, hours; at least a minute."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
