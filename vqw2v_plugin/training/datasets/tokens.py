"""tokens ──BERT──▶ states, what it is fed: batches of utterances packed one after the other, spans masked.

N tokens of a batch with <s> and </s>, K masked ones. Masks depend on (seed, epoch, index) alone, not on the
worker that draws them. An utterance above the limit becomes several pieces of nearly the same length.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from fairseq.data import FairseqDataset

from ...modules.bert.vocabulary import BOS, EOS, Symbols
from ...modules.layers.masks import check_spans, corrupt, span_mask
from ...stores.symbols import TokenError
from ...stores.tokens import TokenStore

logger = logging.getLogger(__name__)


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
        if min(self.leave_prob, self.random_prob) < 0 or self.leave_prob + self.random_prob > 1:
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


class MaskedTokenDataset(FairseqDataset):  # type: ignore[misc]
    """Pieces of at most `tokens_per_sample` tokens, <s> and </s> among them."""

    def __init__(
        self,
        store: TokenStore,
        symbols: Symbols,
        tokens_per_sample: int,
        masking: Masking,
        seed: int = 1,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        if tokens_per_sample < 3:
            raise ValueError(
                f"`tokens_per_sample` is {tokens_per_sample}; expected 3 at least, <s> and </s> in it"
            )
        self.store, self.symbols, self.masking = store, symbols, masking
        self.seed, self.shuffle = seed, shuffle
        self._rows, self._begins, self._ends = _cut(store.sizes, tokens_per_sample - 2)
        self.sizes = self._ends - self._begins + 2
        if not len(self.sizes):
            raise TokenError(
                f"{store.path}: holds no tokens; expected utterances, made with `vqw2v discretize`"
            )
        self._epoch = _shared(torch.ones(1, dtype=torch.int64))  # workers may outlive an epoch
        logger.info(
            f"{store.path}: {len(store):,} utterances, {int(store.sizes.sum()):,} tokens, "
            f"{len(self):,} pieces of at most {tokens_per_sample}"
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Piece:
        index = int(index)
        inner = self.store[int(self._rows[index])][self._begins[index] : self._ends[index]]
        if inner.max() >= len(self.symbols) or inner.min() < 0:
            raise TokenError(
                f"{self.store.path}: utterance {self._rows[index]} has ids {inner.min()} to {inner.max()}, "
                f"but dict.txt names 0 to {len(self.symbols) - 1}; the two are not of one run: make them anew"
            )
        tokens = torch.from_numpy(inner)  # [T]
        draw = np.random.SeedSequence([abs(self.seed), int(self._epoch), index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(draw[0] >> np.uint64(1)))
        how = self.masking
        mask = span_mask(len(tokens), how.start_prob, how.length, how.stdev, generator)
        seen = corrupt(
            *(tokens, mask, self.symbols.mask, self.symbols.codes, how.leave_prob, how.random_prob, generator)
        )
        return Piece(index, _wrap(seen), _wrap(tokens), torch.nn.functional.pad(mask, (1, 1)))

    def collater(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """One batch; `{}`, which fairseq's trainer passes over, of nothing."""
        if not pieces:
            return {}
        mask = torch.cat([piece.mask for piece in pieces])
        lengths = [len(piece.seen) for piece in pieces]
        return {
            "id": torch.tensor([piece.index for piece in pieces], dtype=torch.int64),
            "net_input": {
                "tokens": torch.cat([piece.seen for piece in pieces]),  # [N]
                "lengths": lengths,  # numbers: whoever slices by them must not wait for a device
                "masked": mask.nonzero().squeeze(1),  # [K]
                "counts": [int(piece.mask.sum()) for piece in pieces],
            },
            "target": torch.cat([piece.tokens for piece in pieces])[mask],  # [K]
            "nsentences": len(pieces),
            "ntokens": sum(lengths),
        }

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: an epoch's batches must depend on that epoch alone, or a resumed run would get others."""
        return False

    def set_epoch(self, epoch: int) -> None:
        """Draws other masks; fairseq always gives validation sets epoch 1, so theirs stay the same."""
        self._epoch[0] = epoch

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> npt.NDArray[np.int64]:
        """Longest first, equally long ones in random order (fairseq seeds numpy around this call)."""
        if not self.shuffle:
            return np.arange(len(self))
        ties = np.random.permutation(len(self))  # noqa: NPY002 (the generator that fairseq seeds)
        return np.lexsort((ties, self.sizes))[::-1]

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """All of them: pieces fit by construction."""
        return indices, []

    def batch_by_size(
        self, indices: Any, max_tokens: int | None = None, max_sentences: int | None = None, **_: Any
    ) -> list[npt.NDArray[np.int64]]:
        """Batches filled up to `max_tokens`: nothing is padded, so nothing but tokens counts."""
        sizes = self.sizes[indices]
        if max_tokens and sizes.max() > max_tokens:
            raise ValueError(
                f"max_tokens ({max_tokens}) must be at least the longest piece's {sizes.max()} tokens: "
                f"raise it, or lower tokens_per_sample"
            )
        ends = sizes.cumsum()
        bounds = [0]
        while bounds[-1] < len(indices):
            begin = bounds[-1]
            end = len(indices) if not max_sentences else min(len(indices), begin + max_sentences)
            if max_tokens:
                before = ends[begin - 1] if begin else 0
                end = min(end, int(np.searchsorted(ends, before + max_tokens, side="right")))
            bounds.append(end)
        return np.split(np.asarray(indices), bounds[1:-1])


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.share_memory_()  # type: ignore[no-untyped-call, no-any-return]


def _wrap(tokens: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.tensor([BOS]), tokens, torch.tensor([EOS])])


def _cut(sizes: npt.NDArray[np.int64], limit: int) -> tuple[npt.NDArray[np.int64], ...]:
    """(utterance, begin, end) of each piece of at most `limit` tokens; empty utterances have none."""
    pieces = -(-sizes // limit)
    rows = np.repeat(np.arange(len(sizes)), pieces)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # 0, 1, … in its utterance
    whole, of = sizes[rows], pieces[rows]
    return rows, whole * number // of, whole * (number + 1) // of
