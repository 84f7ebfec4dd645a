"""tokens ──BERT──▶ states, both ends of it: symbols become vectors, and states become scores of symbols.

Either each joint code such as 12-207 is one symbol (the paper), or each group has its own table and softmax,
which know every pair; a group's softmax is told the codes of the groups before it. Shapes: N tokens, K masked
ones, D model, V symbols, G groups, V_g symbols of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.apart import Apart, owners, sums_of

BOS, PAD, EOS, UNK = range(4)  # fairseq's first four symbols, in its order
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
_FILLER = "madeupword"  # symbols that fairseq pads a dictionary with


class VocabularyError(ValueError):
    """A dictionary that does not fit; the message says which symbol or number and why."""


@dataclass(frozen=True)
class Symbols:
    """A dictionary's lines in their order; fairseq's four special symbols come before, <mask> behind them."""

    lines: tuple[str, ...]

    @cached_property
    def all(self) -> tuple[str, ...]:
        return (*SPECIAL, *self.lines) if MASK in self.lines else (*SPECIAL, *self.lines, MASK)

    @property
    def mask(self) -> int:
        return self.all.index(MASK)

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def codes(self) -> Tensor:
        """Ids of what an utterance may hold: all but special symbols and fillers."""
        names = self.all
        places = range(len(SPECIAL), len(names))
        ids = [i for i in places if names[i] != MASK and not names[i].startswith(_FILLER)]
        return torch.tensor(ids, dtype=torch.int64, device="cpu")

    @cached_property
    def ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.all)}


@dataclass(frozen=True)
class Prediction:
    """Summed over masked tokens: cross-entropy in nats, and how many were the likeliest symbol."""

    loss: Tensor
    num_correct: Tensor
    apart: Apart | None = None  # what of it is each utterance's, if it was asked for


class JointVocabulary(nn.Module):
    """One table for the joint symbols, read both ways unless `untied`."""

    def __init__(self, symbols: Symbols, dim: int, untied: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(len(symbols), dim, padding_idx=PAD)
        self.output = nn.Parameter(torch.empty(len(symbols), dim)) if untied else None
        self.bias = nn.Parameter(torch.zeros(len(symbols)))

    def embed(self, tokens: Tensor) -> Tensor:  # [N] → [N, D]
        return self.table(tokens)  # type: ignore[no-any-return]

    def scores(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, ...]:  # [K, D] → [K, V]
        return (F.linear(x, self.table.weight if self.output is None else self.output, self.bias),)

    def targets(self, tokens: Tensor) -> Tensor:  # [K] → [K, 1]
        return tokens[:, None]


class GroupVocabulary(nn.Module):
    """One table for each group; a token's vector is the sum of its groups' vectors.

    Codes of one frame depend on each other, so p(a, b) = p(a) · p(b | a): the state that scores b has a
    vector of a added. These vectors begin at zero, where the groups are independent.
    """

    codes: Tensor

    def __init__(self, symbols: Symbols, dim: int) -> None:
        super().__init__()
        codes = split_codes(symbols)  # [V, G]
        self.register_buffer("codes", codes, persistent=False)
        sizes = (codes.max(0).values + 1).tolist()
        self.tables = nn.ModuleList(nn.Embedding(size, dim, padding_idx=PAD) for size in sizes)
        self.biases = nn.ParameterList(torch.zeros(size) for size in sizes)
        self.told = nn.ParameterList(torch.zeros(size, dim) for size in sizes[:-1])

    def embed(self, tokens: Tensor) -> Tensor:  # [N] → [N, D]
        parts = self.codes[tokens].unbind(-1)
        return torch.stack([table(part) for table, part in zip(self.tables, parts, strict=True)]).sum(0)

    def scores(
        self, x: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, ...]:  # [K, D] → G of [K, V_g]
        """Of each group, given the codes before it: those of `targets` [K, G], or else the likeliest."""
        found: list[Tensor] = []
        for group, (table, bias) in enumerate(zip(self.tables, self.biases, strict=True)):
            if group:
                before = found[-1].detach().argmax(-1) if targets is None else targets[:, group - 1]
                x = x + F.embedding(before, self.told[group - 1])
            found.append(F.linear(x, table.get_parameter("weight"), bias))
        return tuple(found)

    def targets(self, tokens: Tensor) -> Tensor:  # [K] → [K, G]
        return self.codes[tokens]

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
        """In checkpoints from before the groups were told of each other they are independent."""
        for name, value in self.told.named_parameters(f"{prefix}told"):
            state.setdefault(name, torch.zeros_like(value))
        super()._load_from_state_dict(state, prefix, *others)


def split_codes(symbols: Symbols) -> Tensor:
    """Each symbol's index in each group's table [V, G]; special symbols and <mask> come first in all."""
    code_ids = set(symbols.codes.tolist())
    first = len(SPECIAL) + 1  # behind <mask>
    rows: list[list[int]] = []
    num_groups = 0
    for i in sorted(code_ids):
        parts = symbols.all[i].split("-")
        num_groups = num_groups or len(parts)
        if len(parts) != num_groups or not all(part.isdecimal() for part in parts):
            raise VocabularyError(
                f"dict.txt: symbol {symbols.all[i]!r} is no code of {num_groups} groups such as "
                f"{'-'.join(['12', '207', '5'][:num_groups])}; take vocabulary=joint"
            )
    for i, symbol in enumerate(symbols.all):
        if i in code_ids:
            rows.append([first + int(part) for part in symbol.split("-")])
        else:
            rows.append([len(SPECIAL) if symbol == MASK else min(i, UNK)] * num_groups)
    return torch.tensor(rows, dtype=torch.int64, device="cpu")


def predict(
    vocabulary: JointVocabulary | GroupVocabulary,
    x: Tensor,
    tokens: Tensor,
    apart: Sequence[int] | None = None,
) -> Prediction:
    """Scores masked tokens [K] from their states [K, D]; the groups' cross-entropies add up to the pair's.

    A pair is right if each group is, given those before: just then it is what they would guess in turn.
    `apart`: tokens of each utterance, whose own sums are asked for.
    """
    targets = vocabulary.targets(tokens)  # [K, G]
    losses, right = [], torch.ones_like(tokens, dtype=torch.bool)
    each = torch.zeros(len(tokens), device=tokens.device)
    for scores, target in zip(vocabulary.scores(x, targets), targets.unbind(-1), strict=True):
        losses.append(F.cross_entropy(scores.float(), target, reduction="sum"))
        right &= scores.detach().argmax(-1) == target
        if apart is not None:
            each += F.cross_entropy(scores.detach().float(), target, reduction="none")
    told = None
    if apart is not None:
        rows = owners(apart, tokens.device)
        told = Apart(sums_of(each, right, torch.ones_like(each), rows, len(apart)))
    return Prediction(torch.stack(losses).sum(), right.sum(), told)


def make_vocabulary(
    kind: str, symbols: Symbols, dim: int, untied: bool = False
) -> JointVocabulary | GroupVocabulary:
    if kind == "groups":
        if untied:
            raise VocabularyError("`untie_weights_roberta` needs `vocabulary=joint`; got vocabulary=groups")
        return GroupVocabulary(symbols, dim)
    if kind != "joint":
        raise VocabularyError(f"`vocabulary` is {kind!r}; expected joint or groups")
    return JointVocabulary(symbols, dim, untied)
