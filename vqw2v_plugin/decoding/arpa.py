"""The n-gram LM of the last arrow on disk: ARPA files, which KenLM and every decoder reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from .ngram import NGramModel, Order
from .ngram_counts import Ints

LINES_AT_ONCE = 1 << 16


def write_arpa(model: NGramModel, path: str | Path) -> None:
    """The file appears under its name when it is whole."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as out:
            for block in arpa_blocks(model):
                out.write(block)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def arpa_blocks(model: NGramModel) -> Iterator[str]:
    """The file's text, some thousand lines at a time."""
    counts = (f"ngram {n}={len(order)}\n" for n, order in enumerate(model.orders, 1))
    yield "\\data\\\n" + "".join(counts)
    words = np.array(model.words, dtype=object)
    for n, order in enumerate(model.orders, 1):
        yield f"\n\\{n}-grams:\n"
        is_highest = n == len(model.orders)
        form = "%.7g\t" + " ".join(["%s"] * n) + ("\n" if is_highest else "\t%.7g\n")
        for start in range(0, len(order), LINES_AT_ONCE):
            rows = np.arange(start, min(start + LINES_AT_ONCE, len(order)), dtype=np.int32)
            columns = [order.log10_prob[rows].tolist()]
            columns += [words[column].tolist() for column in _word_columns(model.orders[:n], rows)]
            if not is_highest:
                columns.append(order.log10_backoff[rows].tolist())
            yield "".join([form % line for line in zip(*columns, strict=True)])
    yield "\n\\end\\\n"


def _word_columns(orders: tuple[Order, ...], rows: Ints) -> list[Ints]:
    """The n-grams' words, the first ones first: n × [len(rows)]."""
    columns = []
    for order in reversed(orders):
        columns.append(order.first[rows])
        rows = order.suffix[rows]
    return columns
