"""How models learn, of each language and domain by itself: a table behind an epoch and a validation.

A kind is a language in a domain. Sums go the way of all logs, over batches and ranks; C kinds, G groups,
V codes a group.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.logging import metrics
from torch import Tensor

from ..common.words import aligned
from ..modules.layers.apart import Apart
from ..modules.quantizers.base import count_perplexity
from .datasets.mixture import MixtureDataset
from .metrics import log_rounded

_SUMS, _COUNTS = "kind_sums", "kind_counts"  # [C, 3], [C, G, V] in logs
_MOST_CELLS = 1 << 17  # C · G · V, as many as of joint codes: beyond them codes are not told apart


def asked_of(sample: Mapping[str, Any]) -> Dict[str, Any]:
    """What a criterion asks of its model besides."""
    return {"apart": True} if "kinds" in sample else {}


def kind_logs(sample: Mapping[str, Any], apart: Optional[Apart]) -> Dict[str, Tensor]:
    """What a criterion adds to its logging output: each kind's sums, as they are of several kinds."""
    if apart is None:
        return {}
    kinds = torch.tensor(sample["kinds"], device="cpu").to(apart.sums.device, non_blocking=True)
    found = {_SUMS: _by_kind(apart.sums, kinds, sample["num_kinds"])}
    if apart.counts is not None and sample["num_kinds"] * apart.counts[0].numel() <= _MOST_CELLS:
        found[_COUNTS] = _by_kind(apart.counts, kinds, sample["num_kinds"])
    return found


def _by_kind(rows: Tensor, kinds: Tensor, num_kinds: int) -> Tensor:
    return rows.new_zeros(num_kinds, *rows.shape[1:]).index_add_(0, kinds, rows)


class KindTable:
    """Collects logs; its lines are a table of languages, and one of domains, where there are several."""

    def __init__(self, name: str, kinds: Sequence[Tuple[str, str]]) -> None:
        self.name, self.kinds = name, kinds
        self._sums: Optional[Tensor] = None
        self._counts: Optional[Tensor] = None

    @classmethod
    def of(cls, dataset: Any) -> "Optional[KindTable]":
        """None where there are no kinds; of one alone it has no lines, but columns to choose by."""
        return cls(dataset.name, dataset.kinds) if isinstance(dataset, MixtureDataset) else None

    def add(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Of an update or a batch, summed over ranks; and the columns of those of which each counts alike."""
        for log in logs:
            if _SUMS not in log:
                continue
            sums, counts = log[_SUMS].double().cpu(), log.get(_COUNTS)
            self._sums = sums if self._sums is None else self._sums + sums
            metrics.log_scalar_sum(f"_{_SUMS}", sums)
            if counts is not None:
                counts = counts.double().cpu()
                self._counts = counts if self._counts is None else self._counts + counts
        if self._sums is not None:
            names = 0 if len({lang for lang, _ in self.kinds}) > 1 else 1
            for column, place, digits in (("even_loss", 0, 3), ("even_accuracy", 1, 4)):
                log_rounded(column, lambda meters, place=place: self._even(meters, names, place), digits)  # type: ignore[misc]

    def _even(self, meters: Any, names: int, place: int) -> Tensor:
        """The mean over languages (or domains) that were heard, each counting alike."""
        _, sums = self._grouped(meters[f"_{_SUMS}"].sum, names)
        heard = sums[sums[:, 2] > 0]
        means = (heard[:, place] / heard[:, 2]).mean()
        return means / math.log(2) if place == 0 else means

    def _grouped(self, rows: Tensor, names: int) -> Tuple[List[str], Tensor]:
        """Kinds with the same language (0) or domain (1) as one."""
        found = sorted({kind[names] for kind in self.kinds})
        place = torch.tensor([found.index(kind[names]) for kind in self.kinds])
        return found, _by_kind(rows, place, len(found))

    def lines(self) -> List[str]:
        """Nothing where nothing was heard."""
        lines: List[str] = []
        for names, head in enumerate(("lang", "domain")):
            if self._sums is not None and len({kind[names] for kind in self.kinds}) > 1:
                lines += [f"{self.name}, by {head}:", *self._table(head, names)]
        return lines

    def _table(self, head: str, names: int) -> List[str]:
        assert self._sums is not None
        found, sums = self._grouped(self._sums, names)
        columns = [head, "of all", "loss", "accuracy"]
        rows = [
            [
                name or "-",
                f"{made / sums[:, 2].sum():.1%}",
                f"{loss / max(made, 1) / math.log(2):.3f}",
                f"{right / max(made, 1):.4f}",
            ]
            for name, (loss, right, made) in zip(found, sums.tolist(), strict=True)
        ]
        if self._counts is not None:
            columns += ["perplexity", "codes in use"]
            for row, counts in zip(rows, self._grouped(self._counts, names)[1], strict=True):
                row += [f"{count_perplexity(counts).mean():.1f}", f"{(counts > 0).double().mean():.1%}"]
        return aligned([columns, *rows], range(1, len(columns)))
