"""`vqw2v transcribe`: the words of audio files with their times and confidences, without a manifest."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..decoding.settings import DECODERS, PART_SECONDS, DecoderSettings
from .decoder_arguments import add_decoder_arguments, add_weights, decoder_settings

if TYPE_CHECKING:
    from ..decoding.hypothesis import Hypothesis
    from ..transcriber import Transcriber

HELP = "turn audio files into words with times and confidences"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="ACOUSTIC.pt", help="checkpoint of `fairseq-train --task vq_acoustic` or export"
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="audio: FLAC, WAV, OGG … at any rate")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--text", action="store_true", help="a line a file: FILE and its text (default: a word)"
    )
    shape.add_argument("--json", action="store_true", help="a json object a file, its words with times in it")
    shape.add_argument(
        "--ctm", action="store_true", help="CTM: file, channel, start, duration, word, confidence"
    )
    add_decoder_arguments(parser, DECODERS, DecoderSettings.decoder)
    add_weights(parser)
    parser.add_argument(
        "--front", metavar="FILE", help="checkpoint that made the features, if it is not beside ACOUSTIC.pt"
    )
    parser.add_argument("--bert", metavar="FILE", help="the same of BERT's features")
    parser.add_argument(
        "--pieces", metavar="FOLDER", help="the same of a BERT of pieces: the tokens that it was trained on"
    )
    parser.add_argument(
        "--pca", metavar="FILE", help="the same of the principal components that the features are given in"
    )
    parser.add_argument(
        "--speaker",
        metavar="WHO",
        default="each",
        help="of features that go by speaker: each file is a speaker, all are one, or a manifest whose "
        "column `speaker` says who speaks in them (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=PART_SECONDS,
        metavar="SECONDS",
        help="longer files are cut at pauses into parts of at most so much (default: %(default)g)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--strict", action="store_true", help="stop at a bad file (default: name it, go on, exit with 1)"
    )


def run(args: argparse.Namespace) -> int:
    from ..audio.reading import AudioError
    from ..common.words import sentence
    from ..jobs.transcribe import transcribed
    from ..transcriber import Transcriber

    settings = decoder_settings(args)
    transcriber = Transcriber.load(
        args.checkpoint,
        settings,
        args.front,
        args.bert,
        args.device,
        args.limit,
        args.pieces,
        args.pca,
    )
    _tell_speakers(args, transcriber)
    failed = 0
    for best, path in transcribed(transcriber, args.files):
        if isinstance(best, str):
            if args.strict:
                raise AudioError(best)
            failed += 1
            print(f"vqw2v: skipped: {sentence(best)}", file=sys.stderr)
            continue
        for line in _lines(args, path, best, transcriber.frame_seconds):
            print(line, flush=True)
    for note in transcriber.ears.notes() + _unknown_speakers(args, transcriber, len(args.files) - failed):
        print(f"vqw2v: {note}", file=sys.stderr)
    if failed:
        print(f"vqw2v: {failed} of {len(args.files)} files gave no words", file=sys.stderr)
    return 1 if failed else 0


def _tell_speakers(args: argparse.Namespace, transcriber: Transcriber) -> None:
    from ..corpora.manifest import Manifest, ManifestError

    if args.speaker == "each":
        return
    if not transcriber.ears.goes_by_speaker:
        raise ValueError(
            f"`--speaker` is {args.speaker}, but the features of {args.checkpoint} do not go by speaker; "
            "leave it out"
        )
    if args.speaker == "all":
        transcriber.know(args.files)
        return
    manifest = Manifest(args.speaker)
    if "speaker" not in manifest.columns:
        raise ManifestError(
            f"{args.speaker}: has no column speaker ({', '.join(manifest.columns)}); name another, or "
            "say `--speaker all` or `each`"
        )
    transcriber.know(manifest)


def _unknown_speakers(args: argparse.Namespace, transcriber: Transcriber, heard: int) -> list[str]:
    if args.speaker != "each" or not transcriber.ears.goes_by_speaker or not heard:
        return []
    return [
        f"the features go by speaker, and nobody says who speaks in {heard:,} files: each went by its own "
        "mean and scale; `--speaker all` if one person speaks in all, or `--speaker MANIFEST`"
    ]


def _lines(args: argparse.Namespace, path: str, best: Hypothesis, seconds: float) -> list[str]:
    from ..common.words import one_line
    from ..decoding.results import ctm_lines, json_line

    name = one_line(path)
    if args.text:
        return [f"{name}\t{best.text}"]
    if args.json:
        return [json_line(path, [best], seconds).encode("utf-8", "backslashreplace").decode()]
    if args.ctm:
        return ctm_lines(one_line("_".join(path.split())), best, seconds)
    return [
        f"{name}\t{word.begin * seconds:.3f}\t{word.end * seconds:.3f}\t{word.text}\t{word.confidence:.4f}"
        for word in best.words
    ]
