"""`vqw2v toy`: makes the toy corpus (wav) with transcripts, a lexicon, word and phone times."""

from __future__ import annotations

import argparse
import time

HELP = "make a corpus of synthetic speech with word and phone times"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="folder to make; new or empty")
    parser.add_argument("--minutes", type=float, required=True, help="speech to make, in minutes, up to 6000")
    parser.add_argument("--speakers", type=int, default=4, help="number of voices (default: %(default)s)")
    parser.add_argument(
        "--languages", default="en", help="codes of en, de, fr, es, joined by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, another corpus (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, help="processes; they change nothing but the time (default: one a core)"
    )


def run(args: argparse.Namespace) -> int:
    from ..toy.corpus import make_corpus

    began = time.monotonic()
    languages = tuple(code.strip() for code in args.languages.split(",") if code.strip())
    summary = make_corpus(args.out, args.minutes, args.speakers, languages, args.seed, args.workers)
    if summary.made:
        print(f"made in {time.monotonic() - began:.1f} s: {summary.folder}")
    else:
        print(f"already there, with the same arguments; left alone: {summary.folder}")
    print(
        f"  {summary.minutes:.2f} minutes, {summary.num_utterances} utterances "
        f"(train {summary.num_train}, valid {summary.num_valid}, test {summary.num_test})"
    )
    print(f"  {summary.num_speakers} speakers, {summary.num_phones} phones, {summary.num_words} words")
    print("  {train,valid,test}.tsv, .words.ctm and .phones.ctm beside each, lexicon.txt, flac/")
    return 0
