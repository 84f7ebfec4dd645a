"""tokens → ids of a dictionary, for a network that reads them: one table of integers, made once.

Shapes: N tokens, G groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor, nn

from ..stores.symbols import in_order_of_use


class CodeIds(nn.Module):
    """Codes [N, G] → the places of their symbols [N], from `first` on; `unknown` where there is none.

    A tree that is walked a group a step, by binary search: no key is larger than symbols × codes, however
    many groups there are. Its tables move with the module and are not in its state.
    """

    def __init__(
        self, symbols: Sequence[str], num_groups: int, num_codes: int, first: int, unknown: int
    ) -> None:
        super().__init__()
        self.num_codes, self.unknown = num_codes, unknown
        parsed = [(i, parse_symbol(symbol)) for i, symbol in enumerate(symbols, first)]
        known = [(i, codes) for i, codes in parsed if len(codes) == num_groups and max(codes) < num_codes]
        rows = torch.tensor([codes for _, codes in known]).reshape(-1, num_groups)  # [V, G]
        places = torch.zeros(len(rows), dtype=torch.int64)
        self._names = [f"keys{group}" for group in range(num_groups)]
        for name, column in zip(self._names, rows.unbind(1), strict=True):
            keys, places = torch.unique(places * num_codes + column, return_inverse=True)
            self.register_buffer(name, keys, persistent=False)
        ids = torch.full((len(rows),), unknown)
        ids[places] = torch.tensor([i for i, _ in known], dtype=torch.int64)
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:  # [N, G] → [N]
        places = codes.new_zeros(len(codes))
        for name, column in zip(self._names, codes.unbind(1), strict=True):
            keys = self.get_buffer(name)
            wanted = places * self.num_codes + column  # below 0, so no key, where the groups before are none
            found = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
            places = torch.where(keys[found] == wanted, found, -1)
        return torch.where(places < 0, self.unknown, self.get_buffer("ids")[places])


def parse_symbol(symbol: str) -> tuple[int, ...]:
    """`12-207` → (12, 207); nothing where it is not the symbol of a code."""
    parts = symbol.split("-")
    is_code = all(part.isascii() and part.isdecimal() and str(int(part)) == part for part in parts)
    return tuple(map(int, parts)) if is_code else ()


def check_dictionary(symbols: Sequence[str], num_groups: int, num_codes: int, name: str) -> None:
    """Refuses a dictionary of other codes than those there can be; a rare code may well be missing in it."""
    example = "-".join(["0"] * num_groups)
    expected = f"expected {num_groups} codes from 0 to {num_codes - 1}, as in {example!r}"
    parsed = [(symbol, parse_symbol(symbol)) for symbol in symbols]
    for symbol, codes in parsed:
        if codes and (len(codes) != num_groups or max(codes) >= num_codes):
            raise ValueError(
                f"{name} has learnt other codes than this checkpoint gives: its dictionary has {symbol!r}; "
                f"{expected}: take the one that was trained on this checkpoint's tokens"
            )
    if not any(codes for _, codes in parsed):
        shown = f"its first symbol is {symbols[0]!r}" if symbols else "it is empty"
        raise ValueError(
            f"{name} has learnt none of the codes that this checkpoint gives: in its dictionary {shown}; "
            f"{expected}: take the one that was trained on this checkpoint's tokens"
        )


class UnknownCodes:
    """Counts the frames whose code a dictionary lacks; threads may share it."""

    def __init__(self) -> None:
        self._lock, self.num_frames, self.counts = Lock(), 0, Counter[str]()

    def add(self, codes: Tensor, frames: Tensor | None, is_unknown: Tensor) -> None:
        """Tokens [N, G], the frames that each lasts [N] (None: one), and which are not known [N]."""
        lasting = torch.ones_like(is_unknown, dtype=torch.int64) if frames is None else frames
        found = Counter[str]()
        for row, n in zip(codes[is_unknown].tolist(), lasting[is_unknown].tolist(), strict=True):
            found["-".join(map(str, row))] += n
        with self._lock:
            self.num_frames += int(lasting.sum())
            self.counts.update(found)

    def sentences(self, dictionary: str) -> list[str]:
        if not self.counts:
            return []
        lost = self.counts.total()
        names = ", ".join(symbol for symbol, _ in in_order_of_use(self.counts)[:5])
        more = " …" if len(self.counts) > 5 else ""
        share = f"{lost:,} of {self.num_frames:,} frames ({lost / self.num_frames:.2%})"
        return [f"{share} have codes that are not in {dictionary} and became <unk>: {names}{more}"]
