"""`vqw2v lm`: trains the decoder's n-gram language model from text, without a compiler."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from .labels import add_share_arguments

if TYPE_CHECKING:
    from ..stores.label_share import Share
    from ..text.ngram import NGramModel
    from ..text.ngram_counts import Text

HELP = "train an n-gram language model (ARPA) from text"
DEFAULT_ORDER = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text", metavar="TEXT", help="one sentence a line, may be gzipped; - for standard input"
    )
    parser.add_argument("out", metavar="OUT.arpa", help="file to write")
    parser.add_argument(
        "--order", type=int, default=DEFAULT_ORDER, help="longest n-gram, 1 to 6 (default: %(default)s)"
    )
    parser.add_argument(
        "--prune",
        type=int,
        nargs="+",
        default=[],
        metavar="COUNT",
        help="leave out n-grams seen so often or less, a count an order, the last for all above: `0 0 1`",
    )
    parser.add_argument(
        "--skip-symbols",
        action="store_true",
        help="leave <s>, </s> and <unk> out of the text (default: an error)",
    )
    parser.add_argument(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="WORD",
        help="leave these out of the text, such as the silence of `vqw2v phones`",
    )
    add_share_arguments(parser)
    parser.add_argument(
        "--binary", action="store_true", help="also write OUT.binary with KenLM's build_binary"
    )
    parser.add_argument(
        "--lmplz", action="store_true", help="have KenLM's lmplz do it: for texts larger than memory"
    )


def run(args: argparse.Namespace) -> int:
    from ..common.targets import beside_output, check_output, stream_behind
    from ..stores.label_share import Share
    from ..text.kenlm import find_program, make_binary, run_lmplz
    from ..text.ngram import check_order, pruning, train_ngram, write_arpa

    began, out = time.monotonic(), Path(args.out)
    binary = out.with_suffix(".binary")
    check_order(args.order)
    pruning(args.prune, args.order)
    if args.binary:
        builder = find_program(
            "build_binary", "--binary", f"{out.name} alone will do: every decoder here reads it"
        )
        if args.order == 1:
            raise ValueError("--binary: KenLM reads no model of order 1; expected --order 2 or more")
        if stream_behind(out) is not None:
            raise ValueError(f"--binary: OUT is {out}, beside which no file is written; name a file")
    if not out.parent.is_dir():
        raise ValueError(f"{out}: there is no folder {out.parent}; make it first")
    check_output(out)
    share = Share(args.label_fraction, args.label_hours, args.label_seed)
    if args.lmplz and not share.is_all:
        raise ValueError(
            "--lmplz: takes all of TEXT; leave it out, or `--label-fraction` and `--label-hours`"
        )
    if args.lmplz and args.leave_out:
        raise ValueError("--lmplz: takes TEXT as it is; leave out --lmplz, or `--leave-out`")
    if args.lmplz:
        lmplz = find_program("lmplz", "--lmplz", "without --lmplz the same model is trained in memory")
        run_lmplz(lmplz, args.text, out, args.order, args.prune, args.skip_symbols)
        print(f"{out}: written by {lmplz} in {time.monotonic() - began:.1f} s", file=beside_output(out))
    else:
        text = _read(args, share)
        model = train_ngram(text, args.order, args.prune)
        _warn(text, model)
        write_arpa(model, out)
        with redirect_stdout(beside_output(out)):
            _print_summary(out, text, model, time.monotonic() - began)
    if args.binary:
        make_binary(builder, out, binary)
        print(f"{binary}: {os.path.getsize(binary):,} bytes")
    return 0


def _read(args: argparse.Namespace, share: Share) -> Text:
    """The text, or the lines of a label folder's split that a training with few labels learns from."""
    from ..stores.label_share import draw
    from ..stores.labels import read_words
    from ..text.ngram_counts import number_words, read_text

    if share.is_all:
        return read_text(args.text, args.skip_symbols, args.leave_out)
    drawn = draw(read_words(args.text), share, args.text)
    print(f"{args.text}: {drawn.told()}", file=sys.stderr)
    lines = (f"{line}\n".encode("utf-8", "surrogateescape") for line in drawn.only().words or ())
    return number_words(lines, args.text, args.skip_symbols, args.leave_out)


def _warn(text: Text, model: NGramModel) -> None:
    """What the user should know, and may want to mend."""
    for n, order in enumerate(model.orders, 1):
        if order.discounts.problem:
            values = ", ".join(f"{value:g}" for value in order.discounts.values)
            print(
                f"warning: order {n}: its discounts cannot be estimated ({order.discounts.problem}), as in a "
                f"small or artificial text; {values} are used",
                file=sys.stderr,
            )
    if text.num_empty:
        share = f"{text.num_empty:,} of {text.num_sentences:,}"
        print(f"warning: {share} lines are empty and count as empty sentences", file=sys.stderr)
    if len(model.orders) == 1:
        print("warning: KenLM reads no model of order 1; --order 2 is the least it takes", file=sys.stderr)


def _print_summary(out: Path, text: Text, model: NGramModel, seconds: float) -> None:
    print(
        f"{out}: order {len(model.orders)}, from {text.num_sentences:,} sentences of {text.num_tokens:,} "
        f"words ({len(text.words) - 3:,} different) in {seconds:.1f} s"
    )
    for n, order in enumerate(model.orders, 1):
        pruned = f" ({order.num_pruned:,} pruned)" if order.num_pruned else ""
        discounts = " ".join(f"{value:.3f}" for value in order.discounts.values)
        print(f"  {n}-grams: {len(order):,}{pruned}, discounts {discounts}")
