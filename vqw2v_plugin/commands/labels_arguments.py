"""`vqw2v labels`: its arguments, and what they choose."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..text.normalize import Normalizer
    from .labels import Split

_UNITS = ("letters", "phones", "pieces")
_ONLY_FOR = {
    "lexicon": "phones",
    "espeak": "phones",
    "fold": "phones",
    "alphabet": "letters",
    "vocab_size": "pieces",
    "model": "pieces",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("manifests", metavar="MANIFEST", nargs="+", help="manifests; those named train* make the dictionary")
    add("out", metavar="OUT", help="folder to write; its dictionary is reused if it has one")
    add("--text", required=True, metavar="COLUMN", help="column of the transcripts, or a file `utt⇥text`")
    add("--unit", required=True, choices=_UNITS, help="what the model is to say")
    add("--dict", metavar="FILE", help="use this dictionary")
    add("--strict", action="store_true", help="write nothing if any text is missing or holds <unk>")
    add("--min-count", type=int, default=1, metavar="N", help="rarer labels become <unk> (default: 1)")
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


def check(args: argparse.Namespace) -> None:
    """Settings that another unit would need, or that exclude each other."""
    for name, unit in _ONLY_FOR.items():
        if getattr(args, name) is not None and args.unit != unit:
            raise ValueError(f"`--{name.replace('_', '-')}` belongs to `--unit {unit}`, not to {args.unit}")
    for one, other in (("lexicon", "espeak"), ("vocab_size", "model"), ("alphabet", "dict")):
        if getattr(args, one) is not None and getattr(args, other) is not None:
            one, other = one.replace("_", "-"), other.replace("_", "-")
            raise ValueError(f"`--{one}` and `--{other}` exclude each other; take one")
    if args.min_count < 1:
        raise ValueError(f"`--min-count` is {args.min_count}; expected 1 or more")
    if args.dict and args.unit == "pieces":
        raise ValueError("`--dict`: pieces are those of their model; give `--model`")


def make_normalizer(args: argparse.Namespace) -> Normalizer:
    """A column of phones is left as it is."""
    from ..text.normalize import Normalizer

    holds_phones = args.unit == "phones" and not (args.lexicon or args.espeak)
    return Normalizer(args.case, args.keep, enabled=not (args.as_is or holds_phones))


def make_speller(args: argparse.Namespace, training: Sequence[str]) -> Any:
    """Text to labels, by what was chosen."""
    from ..text import spelling

    if args.unit == "letters":
        return spelling.LetterSpeller()
    if args.unit == "pieces":
        return _piece_speller(args, training)
    from ..text.phones import FOLDS

    fold = FOLDS[args.fold or "none"]
    if args.lexicon:
        from ..text.lexicon import read_lexicon

        spellings = read_lexicon(args.lexicon, make_normalizer(args))
        return spelling.PhoneSpeller(spelling.lexicon_variants(spellings), fold, args.boundary)
    if args.espeak:
        from ..text.phones import EspeakPhones

        espeak = EspeakPhones(args.espeak)
        return spelling.PhoneSpeller(lambda word: [espeak(word)], fold, args.boundary)
    return spelling.PhonesAsTheyAre(fold, args.boundary)


def _piece_speller(args: argparse.Namespace, training: Sequence[str]) -> Any:
    from ..stores.labels import PIECES
    from ..text import spelling

    own = Path(args.out) / PIECES
    if args.vocab_size is not None:
        if own.exists():
            raise ValueError(f"{own} is there; leave `--vocab-size` out to use it, or name another OUT")
        return spelling.PieceSpeller(spelling.train_pieces(training, args.vocab_size))
    if args.model is None and not own.exists():
        raise ValueError("`--unit pieces` needs `--vocab-size N` to train a model, or `--model FILE`")
    return spelling.read_pieces(args.model or own)


def choose_counts(
    args: argparse.Namespace, splits: Sequence[Split], speller: Any
) -> tuple[list[tuple[str, int]], str]:
    """The dictionary and where it comes from: given, found in OUT, the alphabet's, or the training text's."""
    from ..stores.labels import dict_name, read_symbol_file
    from ..text.units import BOUNDARY
    from .labels import label_counts, training_splits

    training = training_splits(splits)
    counts = Counter(label for split in training for labels in split.labels for label in labels)
    own = Path(args.out) / dict_name(args.unit)
    if args.unit == "pieces":
        symbols, origin = tuple(speller.symbols()), "the model's"
    elif args.alphabet:
        letters = sorted(set(args.alphabet) - {BOUNDARY, " "})
        symbols, origin = (BOUNDARY, *letters), "the alphabet's"
    elif args.dict or own.exists():
        symbols, origin = read_symbol_file(args.dict or own), f"reused from {args.dict or own}"
    else:
        return label_counts(training, args.min_count), f"made from {', '.join(s.name for s in training)}"
    return [(symbol, counts[symbol]) for symbol in symbols], origin
