"""`vqw2v export`: a checkpoint as safetensors and json, which any program can read and none can run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "write a checkpoint as safetensors and json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="checkpoint of any of our models that fairseq-train or import wrote",
    )
    parser.add_argument(
        "out", metavar="OUT", help="folder for model.safetensors, config.json and a README.md about the model"
    )
    parser.add_argument(
        "--to",
        choices=["huggingface"],
        help="as transformers read it, for a wav2vec 2.0, pretrained or fine-tuned (default: our own)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace what lies in OUT from an earlier export"
    )


def run(args: argparse.Namespace) -> int:
    from ..analysis.model_card import CARD, model_card
    from ..checkpoints.kinds import Restored
    from ..checkpoints.travel import export_folder

    card = Path(args.out) / CARD
    is_new = args.to is None and (args.force or not card.exists())

    def about(restored: Restored[Any]) -> dict[str, str]:
        return {CARD: model_card(restored, Path(args.checkpoint), card.parent)} if is_new else {}

    restored = export_folder(args.checkpoint, args.out, args.force, args.to, about)
    print(f"{args.out}: model.safetensors, config.json, {restored.summary}")
    if is_new:
        print(
            f"{card}: what it was trained on, how it learnt and how to load it; add what else is to be known"
        )
    return 0
