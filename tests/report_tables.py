"""What the report's tables say, by the names of their columns."""

import html
import re

NARROW = "\u202f%"  # a percent sign, and the space before it that breaks no line


def table_of(markup: str, number: int = 0) -> list[dict[str, str]]:
    """The rows of a table, their cells by the columns' names."""
    found = re.findall("<table>(.*?)</table>", markup, re.DOTALL)[number]
    rows = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", found)]
    plain = [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in rows]
    return [dict(zip(plain[0], row, strict=True)) for row in plain[1:]]
