"""`vqw2v phones`: a text that nobody has spoken as phones with silence, for recognition without labels."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..jobs.phones import PhoneText, PhoneTextSettings

HELP = "turn a text into phones with silence, for recognition without labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("text", metavar="TEXT", help="one sentence a line, may be gzipped")
    add("--save-dir", metavar="DIR", required=True, help="folder for train.phn, valid.phn and dict.phn.txt")
    add(
        "--lexicon",
        metavar="FILE",
        help="pronounce words by lines `word phone phone …` (with neither this nor --espeak: TEXT holds "
        "phones, with | between words)",
    )
    add("--espeak", metavar="LANG", help="pronounce words by espeak-ng, such as en-us")
    add("--fold", choices=("none", "48", "39", "stress"), help="TIMIT's 61 to 48 or 39; or no stress")
    add(
        "--min-count",
        type=int,
        default=1,
        metavar="N",
        help="leave out lines with phones that are there less often (default: %(default)s; the paper: 1000)",
    )
    add(
        "--sil-prob",
        type=float,
        default=0.25,
        metavar="P",
        help="of silence between two words, beside that at both ends; 0: no silence at all "
        "(default: %(default)s)",
    )
    add("--valid", type=float, default=0.01, metavar="SHARE", help="of the lines (default: %(default)s)")
    add("--seed", type=int, default=1, help="of what is drawn for each line (default: %(default)s)")
    add("--case", default="lower", choices=("lower", "upper", "keep"), help="of words (default: lower)")
    add("--keep", default="'", help="punctuation that is part of words (default: the apostrophe)")
    add("--as-is", action="store_true", help="normalize nothing but white space")


def run(args: argparse.Namespace) -> int:
    from ..jobs.phones import PhoneTextSettings, make_phone_text

    settings = PhoneTextSettings(
        **{each.name: getattr(args, each.name) for each in dataclasses.fields(PhoneTextSettings)}
    )
    made = make_phone_text(args.text, args.save_dir, settings)
    _report(made, args.save_dir, settings)
    return 0


def _report(made: PhoneText, out: str, settings: PhoneTextSettings) -> None:
    from ..common.words import some_of
    from ..stores.phone_text import DICTIONARY
    from ..text.units import SILENCE

    silence = f" and {SILENCE}" if SILENCE in made.phones else ""
    print(f"{out}: {len(made.phones.keys() - {SILENCE}):,} phones{silence} in {DICTIONARY}")
    lines, total = made.lines, sum(made.phones.values())
    print(f"  train: {lines['train']:,} lines; valid: {lines['valid']:,}; {total:,} phones")
    if lines["unknown"]:
        named = some_of([f"{word!r} {n:,}" for word, n in made.unknown.most_common()])
        print(
            f"  left out: {lines['unknown']:,} of {lines['read']:,} lines, with words without phones: {named}"
        )
    if made.rare:
        named = some_of([f"{phone} {n:,}" for phone, n in made.rare.items()])
        print(
            f"  left out: {lines['rare']:,} lines, with phones that are there less than "
            f"{settings.min_count:,} times: {named}"
        )
    left_out = f" --leave-out {shlex.quote(SILENCE)}" if silence else ""
    train, arpa = (shlex.quote(str(Path(out) / name)) for name in ("train.phn", "phones.arpa"))
    print(f"next: vqw2v lm {train} {arpa} --order 4{left_out}")
