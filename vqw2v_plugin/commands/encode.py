"""`vqw2v encode`: the codes of audio files, one line each, without a manifest."""

from __future__ import annotations

import argparse
import sys

HELP = "turn audio files into codes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="checkpoint that fairseq-train, import or export wrote"
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="audio: FLAC, WAV, OGG … at any rate")
    parser.add_argument(
        "--times", action="store_true", help="a third column: the seconds at which the frames start"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--dtype", default="fp32", help="fp32, or bf16: faster, some codes differ (default: %(default)s)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at a file that cannot be encoded (default: name it, go on, exit with 1)",
    )


def run(args: argparse.Namespace) -> int:
    from ..audio.reading import AudioError
    from ..common.words import one_line, sentence
    from ..features.failures import FILE_ERRORS, reason_of
    from ..tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.checkpoint, args.device, args.dtype)
    failed = 0
    for path in args.files:
        try:
            codes = tokenizer.encode_file(path)
        except FILE_ERRORS as error:
            reason = reason_of(error, path)
            if reason is None:
                raise
            if args.strict:
                raise AudioError(reason) from error
            failed += 1
            print(f"vqw2v: skipped: {sentence(reason)}", file=sys.stderr)
            continue
        columns = [one_line(path), tokenizer.tokens(codes)]
        if args.times:
            columns.append(" ".join(f"{second:.4f}" for second in tokenizer.times(len(codes)).tolist()))
        print(*columns, sep="\t", flush=True)
    if failed:
        print(f"vqw2v: {failed} of {len(args.files)} files gave no codes", file=sys.stderr)
    return 1 if failed else 0
