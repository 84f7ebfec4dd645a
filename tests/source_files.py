"""What the tests of each kind of corpus do with its files."""

import json
from collections.abc import Callable
from pathlib import Path

from vqw2v_plugin.corpora.sources import KINDS, Entry, Refusal, find_kind, open_folder

Write = Callable[[str, str], Path]


def read(folder: Path, kind: str) -> tuple[list[Entry], list[Refusal]]:
    """What is read after the kind was found without help."""
    opened = open_folder(str(folder))
    assert find_kind(opened) == kind
    items = [*opened.refused, *KINDS[kind].read(opened)]
    return [i for i in items if isinstance(i, Entry)], [i for i in items if isinstance(i, Refusal)]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
