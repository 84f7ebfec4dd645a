"""Shorter sequences for BERT: tokens → runs of equal codes → pieces of several codes (sentencepiece).

    python examples/bert/pieces.py TOKENS OUT --pieces 4000

TOKENS is a folder of `vqw2v discretize`, with or without --run-length. OUT is a token folder too, which
`vq_token_pretraining` reads; SPLIT.durations.npy has the frames of each piece. `vqw2v features --layer bert
--pieces OUT` repeats the states of a BERT that was trained on OUT to frames.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqw2v_plugin.checkpoints.files import sha256
from vqw2v_plugin.stores.pieces import MODEL, Pieces, train_pieces
from vqw2v_plugin.stores.symbols import (
    DICT,
    TOKENS,
    TokenError,
    read_dict,
    runs,
    write_dict,
)
from vqw2v_plugin.stores.token_extras import read_durations
from vqw2v_plugin.stores.tokens import TokenStore, TokenWriter

Ids = npt.NDArray[np.int64]
UNSEEN = "?"  # for a token that the dictionary lacks


def utterances(folder: Path, split: str, names: list[str]) -> Iterator[tuple[list[str], Ids]]:
    """The codes of each utterance, runs of equal ones as one, and the frames of each."""
    store, path = TokenStore(folder, split), folder / f"{split}.durations.npy"
    durations = read_durations(folder, split, store) if path.is_file() else None
    begin = 0
    for i in range(len(store)):
        ids = store[i]
        if durations is None:
            frames = runs(ids[:, None])
            ids = ids[np.cumsum(frames) - frames]
        else:
            frames = durations[begin : begin + len(ids)].astype(np.int64)
            begin += len(ids)
        yield [names[i] for i in ids.tolist()], frames


def write_split(out: Path, folder: Path, split: str, pieces: Pieces, names: list[str]) -> Counter[int]:
    """OUT/SPLIT.bin, .idx, .ids and .durations.npy; returns how often each piece is used."""
    uses, durations = Counter[int](), []
    rows = TokenStore(folder, split).rows
    with TokenWriter(out, split, len(pieces.symbols) + 5) as writer:
        for (utt, num_frames), (codes, frames) in zip(rows, utterances(folder, split, names), strict=True):
            ids, counts = pieces(codes)
            begins = np.cumsum(counts) - counts
            durations.append(np.add.reduceat(frames, begins) if len(ids) else frames)
            writer.add(utt, num_frames, ids)
            uses.update(ids.tolist())
    np.save(out / f"{split}.durations.npy", np.concatenate(durations).astype("<i4"))
    return uses


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("tokens", type=Path, metavar="TOKENS", help="folder of `vqw2v discretize`")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; new or empty")
    parser.add_argument(
        "--pieces", type=int, default=4000, metavar="N", help="at most (default: %(default)s)"
    )
    parser.add_argument("--train", default="train", help="split to find pieces in (default: %(default)s)")
    return parser.parse_args()


def make(args: argparse.Namespace) -> None:
    if args.out.exists() and any(args.out.iterdir()):
        raise TokenError(f"{args.out}: is not empty; name a new folder, or delete it")
    codes = read_dict(args.tokens / DICT)
    names = [UNSEEN] * 4 + list(codes)
    pieces = train_pieces((u for u, _ in utterances(args.tokens, args.train, names)), codes, args.pieces)
    args.out.mkdir(parents=True, exist_ok=True)
    splits = TOKENS.splits(args.tokens)
    uses = {split: write_split(args.out, args.tokens, split, pieces, names) for split in splits}
    counts = uses[args.train]
    write_dict(args.out / DICT, [(symbol, counts[i]) for i, symbol in enumerate(pieces.symbols, 4)])
    pieces.save(args.out)
    known = TOKENS.read_about(args.tokens)
    about = {name: value for name, value in known.items() if name not in ("splits", "dictionary")}
    about["pieces"] = {"of": len(codes), "sha256": sha256(args.out / MODEL), "symbols": len(pieces.symbols)}
    TOKENS.write_about(args.out, about)
    for split, used in uses.items():
        frames = sum(n for _, n in TokenStore(args.tokens, split).rows)
        count = used.total()
        print(
            f"{args.out}/{split}: {frames:,} frames, {count:,} pieces of {frames / max(count, 1):.2f} frames"
        )


def main() -> int:
    args = parse_args()
    try:
        make(args)
    except ValueError as error:
        raise SystemExit(f"pieces.py: error: {error}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
