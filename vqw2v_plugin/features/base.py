"""wav → features: which layers there are, and how they are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYERS = ("z", "c", "q", "bert", "logmel", "mfcc")


_NUMBERED = {"bert": -1, "mfcc": 13}  # the number where none is given


# code symbols whose runs are joined, N → BERT's ids [M], and how many of the symbols each stands for [M]
Segment = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layer:
    """`z`, `c`, `q`, `logmel`, `mfcc:N` (N cepstra), or `bert:N` (0 the embeddings, -1 the last layer)."""

    name: str
    number: int = -1

    @property
    def is_spectral(self) -> bool:
        """Of the audio alone: no checkpoint."""
        return self.name in ("logmel", "mfcc")

    @classmethod
    def parse(cls, text: str, option: str = "--layer") -> Layer:
        name, colon, number = text.partition(":")
        if name not in LAYERS or (colon and (name not in _NUMBERED or not number.lstrip("-").isdecimal())):
            raise ValueError(
                f"`{option}` is {text!r}; expected z, c, q, logmel, mfcc, mfcc:N for N cepstra, bert, or "
                f"bert:N for its N-th layer"
            )
        return cls(name, int(number) if colon else _NUMBERED.get(name, -1))

    def __str__(self) -> str:
        return f"{self.name}:{self.number}" if self.name in _NUMBERED else self.name
