"""Corpora whose phones are known, as one, and the shares of its training speakers whose labels are used.

    python examples/few_labels/prepare.py OUT CORPUS … --shares 1 0.1 0.02 --seeds 1 2 3

A corpus is a folder with tables train.tsv, dev.tsv or valid.tsv, and test.tsv: columns `utt path speaker
n_samples phones`. OUT gets the manifests, and for each share and seed share_SHARE_SEED/train.tsv: the
utterances of so many speakers. Speakers whom no share has are in none of the files.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from vqw2v_plugin.corpora.manifest import write_manifest

SPLITS = {"train": ("train",), "valid": ("valid", "dev"), "test": ("test",)}
COLUMNS = ("path", "samples", "utt", "speaker", "phones")
NEEDED = ("utt", "path", "speaker", "n_samples", "phones")

Row = dict[str, object]  # of COLUMNS


def prepare(out: Path, corpora: Sequence[Path], shares: Sequence[float], seeds: Sequence[int]) -> None:
    """Everything; the same arguments give the same bytes."""
    folders = [corpus.resolve() for corpus in corpora]
    root = os.path.commonpath(folders)
    for split, names in SPLITS.items():
        rows = [row for folder in folders for row in _rows(folder, names, root)]
        if split == "train":
            rows = _write_shares(out, root, rows, shares, seeds)
        write_manifest(out / f"{split}.tsv", root, rows, COLUMNS)
        hours = sum(row["samples"] for row in rows) / 16_000 / 3600
        print(f"{split}: {len(rows):,} utterances, {hours:.2f} h, {len(speakers_of(rows))} speakers")


def _write_shares(
    out: Path, root: str, rows: Sequence[Row], shares: Sequence[float], seeds: Sequence[int]
) -> list[Row]:
    """Each share's manifest; returns the rows that are in any."""
    everyone, heard = speakers_of(rows), set[str]()
    for share in shares:
        for seed in seeds:
            drawn = draw(everyone, share, seed)
            heard |= drawn
            write_manifest(out / share_name(share, seed) / "train.tsv", root, _of(rows, drawn), COLUMNS)
    return _of(rows, heard)


def _of(rows: Sequence[Row], speakers: Set[str]) -> list[Row]:
    return [row for row in rows if row["speaker"] in speakers]


def share_name(share: float, seed: int) -> str:
    return f"share_{share:g}_{seed}"


def draw(speakers: Sequence[str], share: float, seed: int) -> set[str]:
    """So many of them, at least one; a smaller share of a seed is a part of a larger one."""
    if not 0 < share <= 1:
        raise ValueError(f"`--shares` has {share:g}; expected more than 0 and at most 1")
    order = random.Random(seed).sample(list(speakers), len(speakers))
    return set(order[: max(1, round(share * len(order)))])


def speakers_of(rows: Sequence[Row]) -> list[str]:
    return sorted({str(row["speaker"]) for row in rows})


def _rows(corpus: Path, names: Sequence[str], root: str) -> Iterator[Row]:
    """Of the split, by whichever of its names the corpus has."""
    found = [path for name in names if (path := corpus / f"{name}.tsv").is_file()]
    if not found:
        raise ValueError(f"{corpus}: has no {' or '.join(f'{name}.tsv' for name in names)}")
    with found[0].open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{found[0]}: no column {', '.join(missing)}; expected {', '.join(NEEDED)}")
        for row in reader:
            yield {
                "path": os.path.relpath(corpus / row["path"], root),
                "samples": int(row["n_samples"]),
                "utt": f"{corpus.name}-{row['utt']}",
                "speaker": f"{corpus.name}-{row['speaker']}",
                "phones": row["phones"],
            }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0], metavar="SHARE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED")
    args = parser.parse_args()
    try:
        prepare(args.out, args.corpora, args.shares, args.seeds)
    except (ValueError, OSError) as error:
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
