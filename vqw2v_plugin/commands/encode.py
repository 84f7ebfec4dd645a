"""`vqw2v encode`: the codes of audio files, one line each, without a manifest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .corpus_arguments import add_dtype

if TYPE_CHECKING:
    from torch import Tensor

    from ..tokenizer import Tokenizer

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
    add_dtype(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at a file that cannot be encoded (default: name it, go on, exit with 1)",
    )


def run(args: argparse.Namespace) -> int:
    from ..audio.reading import AudioError
    from ..common.words import one_line, sentence
    from ..tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.checkpoint, args.device, args.dtype)
    failed = 0
    for path, codes in _encoded(tokenizer, args.files):
        if isinstance(codes, str):
            if args.strict:
                raise AudioError(codes)
            failed += 1
            print(f"vqw2v: skipped: {sentence(codes)}", file=sys.stderr)
            continue
        columns = [one_line(path), tokenizer.tokens(codes)]
        if args.times:
            columns.append(" ".join(f"{second:.4f}" for second in tokenizer.times(len(codes)).tolist()))
        print(*columns, sep="\t", flush=True)
    if failed:
        print(f"vqw2v: {failed} of {len(args.files)} files gave no codes", file=sys.stderr)
    return 1 if failed else 0


def _encoded(tokenizer: Tokenizer, paths: list[str]) -> Iterator[tuple[str, Tensor | str]]:
    """Each file's codes, or why there are none; on a GPU of many files at once."""
    import torch

    from ..audio.reading import Samples, read_audio
    from ..corpora.manifest import Utterance
    from ..jobs.work import Ahead, Heard, Read, Together, attempted, encoded
    from ..stores.shards import Rows

    def read(file: Utterance) -> Samples:
        return read_audio(file, tokenizer.sample_rate)

    def encode(file: Utterance, audio: Samples) -> Rows:
        return tokenizer.encode_read(audio, file).numpy()

    def begin(heard: Heard) -> Callable[[], list[Rows]]:
        found = tokenizer.begin([(audio, file) for file, audio in heard])
        return lambda: [codes.numpy() for codes in found()]

    files = (Utterance(path, None) for path in paths)  # type: ignore[arg-type]
    ahead = Ahead(0, read, encode, Together(tokenizer.fits, begin))
    for codes, path in encoded((Read(0, attempted(read, file), file.path, file) for file in files), ahead):
        yield path, codes if isinstance(codes, str) else torch.from_numpy(codes)
