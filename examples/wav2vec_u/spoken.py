"""A toy corpus in two halves that know nothing of each other: audio with phone times, and text.

    python examples/wav2vec_u/spoken.py OUT CORPUS --language es --lines 8000

CORPUS is of `vqw2v toy`. OUT/text.txt has other sentences of its grammar; OUT/SPLIT.ctm the spans of its
phones, for segments that are right; OUT/SPLIT.txt and OUT/labels what was said, for measuring.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from vqw2v_plugin.__main__ import main as vqw2v
from vqw2v_plugin.common.files import make_folder, write_whole
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.text.units import SILENCES
from vqw2v_plugin.toy.grammar import draw_sentence

SPLITS = ("train", "valid")


def write_text(out: Path, language: str, lines: int, seed: int) -> None:
    rng = random.Random(f"text {seed}")
    sentences = (draw_sentence(language, rng) for _ in range(lines))
    write_whole(out, "".join(" ".join(w for w in words if w != ",") + "\n" for words in sentences))


def write_spoken(out: Path, corpus: Path, split: str) -> None:
    """The spans of phones, without silence, and the phones."""
    spans, said = [], []
    for utt, held in read_ctm(corpus / f"{split}.phones.ctm").items():
        rows = [
            row for row in zip(held.starts, held.ends, held.labels, strict=True) if row[2] not in SILENCES
        ]
        spans += [f"{utt} 1 {start:.5f} {end - start:.5f} {phone}\n" for start, end, phone in rows]
        said.append(f"{utt}\t{' '.join(phone for *_, phone in rows)}\n")
    write_whole(out / f"{split}.ctm", "".join(spans))
    write_whole(out / f"{split}.txt", "".join(said))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("corpus", type=Path, metavar="CORPUS")
    parser.add_argument("--language", default="es", help="of the corpus (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=8000, help="of text (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the text (default: %(default)s)")
    args = parser.parse_args()
    make_folder(args.out)
    write_text(args.out / "text.txt", args.language, args.lines, args.seed)
    for split in SPLITS:
        write_spoken(args.out, args.corpus, split)
        made = [str(args.corpus / f"{split}.tsv"), str(args.out / "labels"), "--unit", "phones"]
        if status := vqw2v(["labels", *made, "--text", str(args.out / f"{split}.txt")]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
