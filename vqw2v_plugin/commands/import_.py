"""`vqw2v import`: stock fairseq's models, or an exported folder → a checkpoint."""

from __future__ import annotations

import argparse
import sys

HELP = "make a checkpoint from stock fairseq's or from an exported folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="checkpoint of stock fairseq's `wav2vec`, `wav2vec2`, `wav2vec_ctc` or `roberta`, a folder of "
        "`vqw2v export` or of Hugging Face's wav2vec2",
    )
    parser.add_argument("out", metavar="OUT.pt", help="file to write; fairseq reads it too")
    parser.add_argument(
        "--dict",
        metavar="FILE",
        help="stock's dict.txt (of a roberta) or dict.ltr.txt (of a wav2vec_ctc), if it is not beside SOURCE",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT.pt if it exists")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..checkpoints.format import write_checkpoint
    from ..checkpoints.travel import import_checkpoint

    restored = import_checkpoint(args.source, args.dict)
    for option in restored.ignored:
        print(f"vqw2v: warning: {args.source}: option `{option}` is not stock's; ignored", file=sys.stderr)
    write_checkpoint(Path(args.out), restored.header, restored.weights, args.force)
    source = restored.header.made_from.get("kind", "an exported folder")
    parameters = sum(p.numel() for p in restored.network.parameters())
    print(f"{args.out}: {source}; {restored.summary}, {parameters:,} parameters")
    return 0
