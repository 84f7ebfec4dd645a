"""tokens ──BERT──▶ states, what it is fed: batches of utterances packed one after the other, spans masked.

N tokens of a batch with <s> and </s>, K masked ones. An utterance above the limit becomes several pieces of
nearly the same length.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...common.bounds import LONGEST, check_between
from ...corpora.batches import BatchLimits, Ints, cut_packed
from ...modules.bert.vocabulary import BOS, EOS, Symbols
from ...modules.layers.masks import check_spans, corrupt, span_mask
from ...stores.symbols import TOKENS, TokenError
from ...stores.tokens import TokenStore
from .base import BatchDataset, digest_of

logger = logging.getLogger(__name__)

_DIGESTED = 1000  # utterances whose ids a digest is made of
_A_SECOND = 100  # tokens, of the paper's models


@dataclass(frozen=True)
class Masking:
    """The paper's p and M; and what stands in for masked tokens."""

    start_prob: float = 0.05
    length: int = 10
    stdev: float = 0.0
    leave_prob: float = 0.1
    random_prob: float = 0.1

    def __post_init__(self) -> None:
        check_spans(self.start_prob, self.length, self.stdev)
        shares = (self.leave_prob, self.random_prob, self.leave_prob + self.random_prob)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(
                f"`leave_unmasked_prob` ({self.leave_prob}) and `random_token_prob` ({self.random_prob}) "
                f"must be shares of the masked tokens, together at most 1"
            )


@dataclass(frozen=True)
class Piece:
    """An utterance, or a part of it, between <s> and </s>: what is seen, what it was, the mask [T + 2]."""

    index: int
    seen: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor


class MaskedTokenDataset(BatchDataset[Piece]):
    """Pieces of at most `tokens_per_sample` tokens, <s> and </s> among them."""

    unit = "piece"

    def __init__(
        self,
        store: TokenStore,
        symbols: Symbols,
        tokens_per_sample: int,
        masking: Masking,
        seed: int = 1,
        shuffle: bool = True,
    ) -> None:
        check_between("tokens_per_sample", tokens_per_sample, 3, LONGEST)  # <s> and </s> in it
        self.store, self.symbols, self.masking = store, symbols, masking
        self._rows, self._begins, self._ends = _cut(store.sizes, tokens_per_sample - 2)
        super().__init__(str(store.path), self._ends - self._begins + 2, seed, shuffle)
        if not len(self):
            raise TokenError(
                f"{store.path}: holds no tokens; expected utterances, made with `vqw2v discretize`"
            )
        logger.info(
            f"{store.path}: {len(store):,} utterances, {int(store.sizes.sum()):,} tokens, "
            f"{len(self):,} pieces of at most {tokens_per_sample}"
        )

    def load(self, index: int) -> Piece:
        inner = self.store[int(self._rows[index])][self._begins[index] : self._ends[index]]
        if inner.max() >= len(self.symbols) or inner.min() < 0:
            raise TokenError(
                f"{self.store.path}: utterance {self._rows[index]} has ids {inner.min()} to {inner.max()}, "
                f"but dict.txt names 0 to {len(self.symbols) - 1}; the two are not of one run: make them anew"
            )
        tokens = torch.from_numpy(inner)  # [T]
        generator = self.generator(index)
        how = self.masking
        mask = span_mask(len(tokens), how.start_prob, how.length, how.stdev, generator)
        seen = corrupt(
            *(tokens, mask, self.symbols.mask, self.symbols.codes, how.leave_prob, how.random_prob, generator)
        )
        return Piece(index, _wrap(seen), _wrap(tokens), torch.nn.functional.pad(mask, (1, 1)))

    def collate(self, items: Sequence[Piece], num_skipped: int) -> dict[str, Any]:
        mask = torch.cat([piece.mask for piece in items])
        lengths = [len(piece.seen) for piece in items]
        return {
            "id": torch.tensor([piece.index for piece in items], dtype=torch.int64),
            "net_input": {
                "tokens": torch.cat([piece.seen for piece in items]),  # [N]
                "lengths": lengths,  # numbers: whoever slices by them must not wait for a device
                "masked": mask.nonzero().squeeze(1),  # [K]
                "counts": [int(piece.mask.sum()) for piece in items],
            },
            "target": torch.cat([piece.tokens for piece in items])[mask],  # [K]
            "nsentences": len(items),
            "ntokens": sum(lengths),
        }

    def cut_sized(self, indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
        """Nothing is padded, so nothing but tokens counts."""
        return cut_packed(indices, sizes, limits)

    def hours(self, items: Ints) -> tuple[float, float]:
        """By the number of tokens, where all of them are of so many hours."""
        share = float((self._ends - self._begins)[items].sum() / self.store.sizes.sum())
        return (share * hours_of(self.store),) * 2

    def digest(self) -> str:
        return digest_of_tokens(self.store)

    def too_long(self, index: int) -> str:
        return "tokens: raise it, or lower tokens_per_sample"


def digest_of_tokens(store: TokenStore) -> str:
    """Of the utterances' sizes and of the ids of some, evenly spread: all of them may be gigabytes."""
    step = max(1, -(-len(store) // _DIGESTED))
    return digest_of(store.sizes, *(store[i] for i in range(0, len(store), step)))


def hours_of(store: TokenStore) -> float:
    """Of the audio that tokens are of; where the folder does not tell, as if there were 100 a second."""
    about = TOKENS.read_about(store.folder)
    stride, rate = (about.get(name) for name in ("stride", "sample_rate"))
    if not (isinstance(stride, int) and isinstance(rate, int) and stride > 0 and rate > 0):
        return float(store.sizes.sum() / _A_SECOND / 3600)
    return sum(frames for _, frames in store.rows) * stride / rate / 3600


def _wrap(tokens: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.tensor([BOS]), tokens, torch.tensor([EOS])])


def _cut(sizes: Ints, limit: int) -> tuple[Ints, ...]:
    """(utterance, begin, end) of each piece of at most `limit` tokens; empty utterances have none."""
    pieces = -(-sizes // limit)
    rows = np.repeat(np.arange(len(sizes)), pieces)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # 0, 1, … in its utterance
    whole, of = sizes[rows], pieces[rows]
    return rows, whole * number // of, whole * (number + 1) // of
