"""`vqw2v labels`: transcripts as letters, phones, pieces or words, or classes of utterances."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from ..text.units import KINDS

if TYPE_CHECKING:
    from ..jobs.labels import LabelFolder

HELP = "make label files and a dictionary from transcripts or classes"
_ONLY_FOR = {
    "lexicon": "phones",
    "espeak": "phones",
    "fold": "phones",
    "alphabet": "letters",
    "vocab_size": "pieces",
    "model": "pieces",
    "column": "class",
}
_OF_TEXT = {"case": "lower", "keep": "'", "as_is": False, "boundary": True, "min_count": 1, "text": None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "manifests",
        metavar="MANIFEST",
        nargs="+",
        help="manifests or tables; those named train* make the dictionary",
    )
    add("out", metavar="OUT", help="folder to write; its dictionary is reused if it has one")
    add(
        "--text",
        metavar="COLUMN",
        help="column of the transcripts, or a file `utt⇥text` (default: text, sentence, words or the like)",
    )
    add(
        "--column",
        metavar="COLUMN",
        help="for `--unit class`: the column of the classes, such as speaker or lang, or a file `utt⇥class`",
    )
    add(
        "--unit",
        required=True,
        choices=(*KINDS, "class"),
        help="what the model is to say; words: a small vocabulary's, each as it is; class: one of each "
        "utterance, for the task `vq_utterance`",
    )
    add("--dict", metavar="FILE", help="use this dictionary")
    add("--strict", action="store_true", help="write nothing if any text is missing or not known whole")
    add("--min-count", type=int, default=1, metavar="N", help="rarer labels become <unk> (default: 1)")
    add_share_arguments(parser)
    text = parser.add_argument_group("text")
    text.add_argument("--case", default="lower", choices=("lower", "upper", "keep"), help="default: lower")
    text.add_argument("--keep", default="'", help="punctuation that is spelled (default: the apostrophe)")
    text.add_argument("--as-is", action="store_true", help="normalize nothing but white space")
    letters = parser.add_argument_group("letters")
    letters.add_argument("--alphabet", metavar="CHARACTERS", help="these and no others (default: all found)")
    phones = parser.add_argument_group("phones (default: COLUMN holds phones)")
    phones.add_argument("--lexicon", metavar="FILE", help="pronounce words by lines `word phone phone …`")
    phones.add_argument("--espeak", metavar="VOICE", help="pronounce words by espeak-ng, such as en-us")
    phones.add_argument(
        "--fold",
        choices=("none", "48", "39", "stress"),
        help="TIMIT's 61 to 48 or 39; or no stress",
    )
    phones.add_argument("--no-boundary", dest="boundary", action="store_false", help="no | behind words")
    pieces = parser.add_argument_group("pieces")
    pieces.add_argument("--vocab-size", type=int, metavar="N", help="train a sentencepiece model of N pieces")
    pieces.add_argument("--model", metavar="FILE", help="use this sentencepiece model")


def add_share_arguments(parser: argparse.ArgumentParser) -> None:
    """`label_fraction` and its like, as the task `vq_acoustic` has them."""
    share = parser.add_argument_group("few labels (the same utterances as the task's options of these names)")
    share.add_argument(
        "--label-fraction",
        type=float,
        default=1.0,
        metavar="SHARE|N",
        help="of training, this share or so many utterances alone (default: all)",
    )
    share.add_argument("--label-hours", type=float, metavar="HOURS", help="or so many hours")
    share.add_argument("--label-seed", type=int, default=1, metavar="SEED", help="which ones (default: 1)")


def run(args: argparse.Namespace) -> int:
    from ..jobs.labels import LabelSettings, make_labels

    _check(args)
    chosen = {each.name: getattr(args, each.name) for each in dataclasses.fields(LabelSettings)}
    chosen["text"] = args.column or args.text
    made = make_labels(args.manifests, args.out, LabelSettings(**chosen))
    for line in made.warnings:
        print(f"warning: {line}", file=sys.stderr)
    if made.warnings and args.strict:
        raise ValueError("`--strict`, and there are warnings: nothing was written")
    made.write(args.out)
    _report(made, args.out)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses settings of another unit, and settings that exclude each other."""
    for name, unit in _ONLY_FOR.items():
        if getattr(args, name) is not None and args.unit != unit:
            raise ValueError(f"`--{name.replace('_', '-')}` belongs to `--unit {unit}`, not to {args.unit}")
    for one, other in (("lexicon", "espeak"), ("vocab_size", "model"), ("alphabet", "dict")):
        if getattr(args, one) is not None and getattr(args, other) is not None:
            one, other = one.replace("_", "-"), other.replace("_", "-")
            raise ValueError(f"`--{one}` and `--{other}` exclude each other; take one")
    of_text = [name for name, usual in _OF_TEXT.items() if getattr(args, name) != usual]
    if args.unit == "class" and (args.column is None or of_text):
        named = [("no-" if name == "boundary" else "") + name.replace("_", "-") for name in of_text]
        more = "".join(f"; `--{name}` is for what is said" for name in named)
        raise ValueError(
            "`--unit class` takes `--column COLUMN`, the column of the classes as they are, such as speaker "
            f"or lang{more}"
        )
    if args.min_count < 1:
        raise ValueError(f"`--min-count` is {args.min_count}; expected 1 or more")
    if args.dict and args.unit == "pieces":
        raise ValueError("`--dict`: pieces are those of their model; give `--model`")


def _report(made: LabelFolder, out: str) -> None:
    from collections import Counter

    from ..common.words import some_of
    from ..stores.labels import dict_name

    settings = made.settings
    origin = f"{dict_name(settings.unit)} ({made.origin})"
    print(f"{out}: {len(made.counts):,} {'classes' if made.is_class else settings.unit} in {origin}")
    if settings.text is None:
        print(f"  from {', '.join(dict.fromkeys(each.source for each in made.splits))} of the tables")
    for each in made.splits:
        if each.drawn:
            print(f"  {each.split}: drawn are {each.drawn}")
        said = f"{sum(map(len, each.labels)):,} labels"
        if settings.has_words:
            said = f"{sum(len(text.split()) for text in each.texts):,} words, {said}"
        if made.is_class:
            counts = Counter(label for labels in each.labels for label in labels)
            said = some_of([f"{name} {count:,}" for name, count in counts.most_common()])
        print(f"  {each.split}: {len(each.utts):,} utterances, {said}")
