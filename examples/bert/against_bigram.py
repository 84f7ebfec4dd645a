"""What BERT knows beyond the neighbouring tokens: its cross-entropy on masked tokens, beside that of counts.

    python examples/bert/against_bigram.py TOKENS BERT.pt [BERT.pt …] --train train --test test

TOKENS is a folder of `vqw2v discretize`. All see the same test tokens with the same spans masked, by the
paper's p and M.
The bigram model is given the nearest visible tokens on both sides and their distances: see bigram.py.
"""

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from bigram import Bigram, Masked, find_neighbours, join, score

from vqw2v_plugin.checkpoints.bert import load_bert
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import UNK, Symbols
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.stores.symbols import DICT, read_dict
from vqw2v_plugin.stores.tokens import TokenStore
from vqw2v_plugin.training.datasets.tokens import MaskedTokenDataset, Masking, Piece

APART = 10  # every tenth training utterance chooses the bigram model's smoothing
MOST = 20_000  # masked tokens to choose it by


def read_pieces(folder: Path, split: str, symbols: Symbols, args: argparse.Namespace) -> MaskedTokenDataset:
    """Every masked token is hidden; none is left as it is or replaced by another code."""
    how = Masking(args.mask_start_prob, args.mask_length, leave_prob=0, random_prob=0)
    return MaskedTokenDataset(TokenStore(folder, split), symbols, args.tokens_per_sample, how, seed=args.seed)


def masked_tokens(pieces: Iterable[Piece]) -> Masked:
    """Without tokens that the dictionary lacks: they have no code that could be guessed."""
    found = join([find_neighbours(piece.tokens.numpy(), piece.mask.numpy()) for piece in pieces])
    return found[found.target != UNK]


def measure_bigram(folder: Path, symbols: Symbols, args: argparse.Namespace) -> float:
    """Prints the rows of unigram and bigram, tuned on a tenth of `train`; returns the bigram's bits."""
    train, test = (read_pieces(folder, split, symbols, args) for split in (args.train, args.test))
    pieces = [train[i] for i in range(len(train))]
    inner = Bigram([p.tokens.numpy() for i, p in enumerate(pieces) if i % APART], len(symbols))
    how = inner.tune(masked_tokens(pieces[::APART])[:MOST])
    bigram = Bigram([piece.tokens.numpy() for piece in pieces], len(symbols))
    masked = masked_tokens(test[i] for i in range(len(test)))
    num_tokens = sum(len(piece.tokens) - 2 for piece in pieces)  # without <s> and </s>
    together = "no" if how.together is None else f"{how.together:g}"
    print(
        f"{folder}: {num_tokens:,} training tokens, {len(symbols.lines)} symbols; "
        f"{len(masked):,} masked tokens of {args.test}; bigram: "
        f"k = {how.one_side:g}, a = {how.power:g}, j = {together}",
        flush=True,
    )
    unigram = np.broadcast_to(np.log(bigram.unigram), (len(masked), len(symbols)))
    print("\n| model | bits a masked token | accuracy | below the bigram |\n|---|---|---|---|")
    print_row("unigram", *score(unigram, masked.target), math.nan)
    least, accuracy = bigram.bits(masked, how)
    print_row("bigram, nearest visible on both sides", least, accuracy, math.nan)
    return least


def print_row(name: str, bits: float, accuracy: float, bigram: float) -> None:
    below = "" if math.isnan(bigram) else f"{1 - bits / bigram:.1%}"
    print(f"| {name} | {bits:.3f} | {accuracy:.3f} | {below} |", flush=True)


@torch.no_grad()
def bert_bits(bert: Bert, dataset: MaskedTokenDataset) -> tuple[float, float]:
    """BERT's two figures; with groups a token is right if all its codes are."""
    loss, right, count = 0.0, 0, 0
    for batch in dataset.batch_by_size(dataset.ordered_indices(), max_tokens=8192):
        sample = dataset.collater([dataset[i] for i in batch])
        told, given = sample["net_input"], sample["target"] != UNK
        counts = [int(part.sum()) for part in given.split(told["counts"])]
        rows = Rows(told["masked"][given], counts)
        found = bert(told["tokens"], told["lengths"], rows, sample["target"][given])
        loss, right, count = loss + float(found.loss), right + int(found.num_correct), count + sum(counts)
    return loss / count / math.log(2), right / count


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("tokens", type=Path, metavar="TOKENS", help="folder of `vqw2v discretize`")
    parser.add_argument("berts", nargs="*", type=Path, metavar="BERT.pt", help="BERTs trained on its tokens")
    parser.add_argument("--train", default="train", help="split that is counted (default: %(default)s)")
    parser.add_argument("--test", default="test", help="split that is masked (default: %(default)s)")
    parser.add_argument("--mask-start-prob", type=float, default=0.05, help="p (default: %(default)s)")
    parser.add_argument("--mask-length", type=int, default=10, help="M (default: %(default)s)")
    parser.add_argument(
        "--tokens-per-sample", type=int, default=1024, help="longest piece (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the masks (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        symbols = Symbols(read_dict(args.tokens / DICT))
        berts = {path: load_bert(path) for path in args.berts}
        for path, bert in berts.items():
            if bert.symbols.lines != symbols.lines:
                raise ValueError(f"{path}: was trained with another dictionary than {args.tokens / DICT}")
        least = measure_bigram(args.tokens, symbols, args)
        dataset = read_pieces(args.tokens, args.test, symbols, args)
        for path, bert in berts.items():
            name = f"{path.parent.name}/{path.name}: {bert.config.vocabulary}"
            print_row(name, *bert_bits(bert, dataset), least)
    except ValueError as error:
        raise SystemExit(f"against_bigram.py: error: {error}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
