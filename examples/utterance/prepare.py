"""A corpus in folds whose speakers are apart, for classes of utterances.

    python examples/utterance/prepare.py OUT TABLE … --column emotion --folds 5

A table has a header and columns `path n_samples speaker` and that of the classes; paths are relative to it.
OUT gets fold0.tsv, fold1.tsv, …, manifests with a column `class`. A class of fewer speakers than folds is
spread over all of them, which is said: whoever knows it may know its speakers. `--most` draws so many
utterances of each class, of as many speakers as there are.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from vqw2v_plugin.corpora.manifest import write_manifest

COLUMNS = ("path", "samples", "utt", "speaker", "class")
Row = dict[str, object]


def prepare(out: Path, tables: Sequence[Path], column: str, folds: int, most: int | None, seed: int) -> None:
    """All folds; the same arguments give the same bytes."""
    if folds < 2 or (most is not None and most < folds):
        raise ValueError(
            f"`--folds` is {folds} and `--most` {most}; expected 2 or more, and no fewer utterances"
        )
    paths = [table.resolve() for table in tables]
    root = os.path.commonpath([path.parent for path in paths])
    rows = [row for path in paths for row in _rows(path, column, root)]
    made = split(drawn(rows, most, seed), folds, seed)
    for number, fold in enumerate(made):
        write_manifest(out / f"fold{number}.tsv", root, fold, COLUMNS)
        counts = Counter(str(row["class"]) for row in fold)
        said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        print(f"fold{number}: {len({row['speaker'] for row in fold})} speakers; {said}")


def drawn(rows: Sequence[Row], most: int | None, seed: int) -> list[Row]:
    """So many of each class, in turn of each of its speakers."""
    if most is None:
        return list(rows)
    kept: list[Row] = []
    for name, held in sorted(_by(rows, "class").items()):
        speakers = [_shuffled(each, f"{seed} {name}") for _, each in sorted(_by(held, "speaker").items())]
        turns = [row for i in range(len(held)) for each in speakers for row in each[i : i + 1]]
        kept += turns[:most]
    return kept


def split(rows: Sequence[Row], folds: int, seed: int) -> list[list[Row]]:
    """Each speaker into the fold that has the least of the speaker's classes; spread classes one by one."""
    found: list[list[Row]] = [[] for _ in range(folds)]
    speakers = {name: {row["speaker"] for row in held} for name, held in _by(rows, "class").items()}
    spread = {name for name, who in speakers.items() if len(who) < folds}
    for name in sorted(spread):
        print(f"{name}: {len(speakers[name])} speakers, fewer than folds, so they are in all of them")
        for number, row in enumerate(_shuffled([row for row in rows if row["class"] == name], f"{seed}")):
            found[number % folds].append(row)
    whole = _by([row for row in rows if row["class"] not in spread], "speaker")
    for _, held in sorted(whole.items(), key=lambda item: (-len(item[1]), item[0])):
        classes = Counter(str(row["class"]) for row in held)
        sizes = [Counter(str(row["class"]) for row in fold) for fold in found]
        least = min(range(folds), key=lambda i: (sum(sizes[i][name] for name in classes), i))
        found[least] += held
    return found


def _by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[str(row[column])].append(row)
    return found


def _shuffled(rows: Sequence[Row], key: str) -> list[Row]:
    return random.Random(key).sample(list(rows), len(rows))


def _rows(table: Path, column: str, root: str) -> Iterator[Row]:
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        needed = ("path", "n_samples", "speaker", column)
        if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{table}: no column {', '.join(missing)}; expected {', '.join(needed)}")
        for row in reader:
            path = os.path.relpath(table.parent / row["path"], root)
            yield {
                "path": path,
                "samples": int(row["n_samples"]),
                "utt": os.path.splitext(path)[0].replace(os.sep, "-"),
                "speaker": row["speaker"],
                "class": row[column],
            }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE")
    parser.add_argument("--column", required=True, help="of the classes")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--most", type=int, metavar="N", help="utterances of each class (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    try:
        prepare(args.out, args.tables, args.column, args.folds, args.most, args.seed)
    except (ValueError, OSError) as error:
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
