"""A manifest with languages as a folder of train and valid, and a mixture of it for each α.

    python examples/multilingual/prepare.py OUT MANIFEST --alphas 1 0.5

OUT gets train.tsv, valid.tsv and mixture_ALPHA.yaml, which takes the manifest apart by its column `lang`.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.corpora.splits import divide

COLUMNS = ("path", "samples", "utt", "speaker", "lang")
RATE = 16_000  # Hz, of rows that say none
MIXTURE = "alpha: {alpha:g}\nmax_repeat: 1000\ncorpora:\n  - {{data: ., by: lang}}\n"


def prepare(out: Path, manifest: Path, alphas: Sequence[float], valid: float, seed: int = 1) -> None:
    """Everything; the same arguments give the same bytes."""
    held = Manifest(manifest)
    if "lang" not in held.columns:
        raise ValueError(f"{manifest}: has no column lang; expected one, such as `de` for each utterance")
    by_lang: dict[str, list[Utterance]] = defaultdict(list)
    for i in range(len(held)):
        by_lang[held[i].lang or ""].append(held[i])
    splits: dict[str, list[dict[str, object]]] = {"train": [], "valid": []}
    for lang, rows in sorted(by_lang.items()):
        chosen = divide((row.utt for row in rows), valid, 0, seed)
        for row in rows:
            splits[chosen[row.utt]].append(_fields(row, held.root))
        hours = sum(row.samples / (row.rate or RATE) for row in rows) / 3600
        print(f"{lang}: {len(rows):,} utterances, {hours:.2f} h")
    columns = columns_of([row for rows in by_lang.values() for row in rows])
    for split, found in splits.items():
        write_manifest(out / f"{split}.tsv", held.root, found, columns)
    for alpha in alphas:
        write_whole(out / mixture_name(alpha), MIXTURE.format(alpha=alpha))


def columns_of(rows: Sequence[Utterance], columns: Sequence[str] = COLUMNS) -> tuple[str, ...]:
    """And those without which pieces of recordings would be others: where each begins, and at which rate."""
    rated = {row.rate is not None for row in rows}
    if len(rated) > 1:
        raise ValueError("some rows have a `rate` and others none; list them alike, all with it or without")
    more = ["start"] if any(row.start for row in rows) else []
    return (*columns, *more, *(["rate"] if rated == {True} else []))


def mixture_name(alpha: float) -> str:
    return f"mixture_{alpha:g}.yaml"


def _fields(row: Utterance, root: str) -> dict[str, object]:
    said = {"samples": row.samples, "utt": row.utt, "speaker": row.speaker or "", "lang": row.lang}
    return {"path": str(Path(row.path).relative_to(root)), **said, "start": row.start, "rate": row.rate}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--alphas", type=float, nargs="+", default=[1.0], metavar="ALPHA")
    parser.add_argument("--valid", type=float, default=0.03, help="share held out (default: %(default)s)")
    args = parser.parse_args()
    try:
        prepare(args.out, args.manifest, args.alphas, args.valid)
    except (ValueError, OSError) as error:
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
