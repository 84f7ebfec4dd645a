"""Some minutes of one language, as manifests: train.tsv of what a seed draws, valid.tsv of what is left.

    python examples/multilingual/draw.py OUT TABLE … --lang de --minutes 10 60 --seeds 1

A table is a manifest, or one with a header (`path n_samples speaker lang …`); it may hold other languages.
OUT gets minutes_MINUTES_SEED/ for each; of one seed less is a part of more.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from prepare import RATE, columns_of

from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest

_VALID = 20  # clips


def prepare(
    out: Path, tables: Sequence[Path], lang: str | None, minutes: Sequence[float], seeds: Sequence[int]
) -> None:
    """Everything; the same arguments give the same bytes."""
    rows = [(table, row) for table in tables for row in rows_of(table, lang)]
    root = os.path.commonpath([table.resolve().parent for table in tables])
    columns = columns_of([row for _, row in rows])
    for seed in seeds:
        order = random.Random(seed).sample(rows, len(rows))
        for wanted in minutes:
            number = enough([row for _, row in order], wanted)
            left = order[number:][:_VALID] or order[:_VALID]
            for split, kept in (("train", order[:number]), ("valid", left)):
                write_manifest(
                    out / draw_name(wanted, seed) / f"{split}.tsv", root, _listed(kept, root), columns
                )
            speakers = {row.speaker for _, row in order[:number]}
            print(f"{wanted:g} minutes, seed {seed}: {number:,} clips, {len(speakers)} speakers")


def draw_name(minutes: float, seed: int) -> str:
    return f"minutes_{minutes:g}_{seed}"


def rows_of(table: Path, lang: str | None) -> list[Utterance]:
    """Of a language; all, where none is named."""
    manifest = Manifest(table)
    found = [row for row in map(manifest.__getitem__, range(len(manifest))) if lang in (None, row.lang)]
    if not found:
        there = sorted({manifest[i].lang or "none" for i in range(len(manifest))})
        raise ValueError(f"{table}: has no clip with `lang` {lang}; it has {', '.join(there) or 'no row'}")
    return found


def enough(rows: Sequence[Utterance], minutes: float) -> int:
    """How many of the first clips are so long together."""
    if not minutes > 0:
        raise ValueError(f"`--minutes` has {minutes:g}; expected more than 0")
    held = 0.0
    for number, row in enumerate(rows, 1):
        held += row.samples / (row.rate or RATE)
        if held >= 60 * minutes - 1e-6:
            return number
    raise ValueError(f"`--minutes` has {minutes:g}, and there are {held / 60:.1f} in all; ask for fewer")


def _listed(rows: Sequence[tuple[Path, Utterance]], root: str) -> list[dict[str, object]]:
    return [
        {
            "path": os.path.relpath(row.path, root),
            "samples": row.samples,
            "utt": f"{table.parent.name}-{row.utt}",
            "speaker": row.speaker or "?",
            "lang": row.lang or "?",
            "start": row.start,
            "rate": row.rate,
        }
        for table, row in rows
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE")
    parser.add_argument("--lang", metavar="LANG", help="of which alone; default: all")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 60.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    try:
        prepare(args.out, args.tables, args.lang, args.minutes, args.seeds)
    except (ValueError, OSError) as error:
        print(f"draw.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
