"""`vqw2v import`: stock fairseq's wav2vec and vq-wav2vec checkpoints, today's or of 2019, become ours."""

from __future__ import annotations

import argparse
import sys

HELP = "make a checkpoint of stock fairseq's one of ours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stock", metavar="STOCK.pt", help="checkpoint of stock fairseq's model `wav2vec`")
    parser.add_argument("out", metavar="OUT.pt", help="file to write; fairseq reads it too")
    parser.add_argument("--force", action="store_true", help="replace OUT.pt if it exists")


def run(args: argparse.Namespace) -> int:
    from ..checkpoints.wav2vec import import_stock, save_checkpoint

    imported = import_stock(args.stock)
    for option in imported.ignored:
        print(f"vqw2v: warning: {args.stock}: option `{option}` is not stock's; ignored", file=sys.stderr)
    save_checkpoint(imported, args.out, args.force)
    loaded = imported.loaded
    network, quantizer = loaded.network, loaded.network.quantizer
    codes = f"{quantizer.num_groups} × {quantizer.num_codes} codes" if network.has_codes else "no codes"
    print(
        f"{args.out}: {loaded.made_from['kind']}; quantizer {loaded.network.config.quantizer}, {codes}, "
        f"{sum(p.numel() for p in loaded.network.parameters()):,} parameters, {loaded.sample_rate} Hz"
    )
    return 0
