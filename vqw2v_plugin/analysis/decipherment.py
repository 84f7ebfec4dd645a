"""clusters ──▶ phones without an adversary, for feature folders: what the adversary's result is held against.

Rows of a feature folder go to k-means clusters, whose order is deciphered by that of the text's phones;
beside it stands the guess by frequencies alone. Labels are read where they are given for measuring, and never
before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..decoding.scoring import Errors, count_errors
from ..modules.quantizers.base import nearest_entries
from ..modules.quantizers.lloyd import cells_of, first_centres
from ..modules.unpaired.decipher import Effort, Solution, by_frequency, decipher, read_out
from ..stores.features import FeatureStore
from ..stores.labels import read_labels, read_symbol_file
from ..stores.phone_text import DICTIONARY, read_phone_lines
from ..text.units import SILENCES

WAYS = ("decipherment", "unigram guess")
_SAMPLE = 50_000  # rows that centres are found of
_PASSES = 20  # over them, when the best start is known
_SILENT = {*SILENCES}

Said = dict[str, list[str]]  # phones of each utterance, without silence


@dataclass(frozen=True)
class Deciphered:
    """What was found of one folder, and what is needed to read others of it."""

    phones: tuple[str, ...]  # the dictionary
    centres: Tensor  # [1, K, D]
    solution: Solution
    guess: Tensor  # [K] a phone for each cluster, by frequency
    text: list[Tensor]

    def read(self, folder: str | os.PathLike[str], split: str) -> dict[str, Said]:
        """The phones of a split, by each way."""
        store = FeatureStore(folder, split)
        said: dict[str, Said] = {way: {} for way in WAYS}
        for i, (utt, _) in enumerate(store.rows):
            clusters = _clusters(store[i], self.centres)
            found = {
                WAYS[0]: read_out(clusters, self.solution, self.text, len(self.phones)),
                WAYS[1]: torch.unique_consecutive(self.guess[clusters]).tolist(),
            }
            for way, phones in found.items():
                said[way][utt] = _spoken(self.phones[phone] for phone in phones)
        return said


def decipher_folder(
    folder: str | os.PathLike[str],
    split: str,
    text: str | os.PathLike[str],
    effort: Effort,
    num_codes: int | None = None,
) -> Deciphered:
    """Of a feature folder's split and a folder of unpaired text; by default two clusters for each phone."""
    phones = read_symbol_file(os.path.join(text, DICTIONARY))
    index = {phone: i for i, phone in enumerate(phones)}
    lines = [
        torch.tensor([index[phone] for phone in line]) for line in read_phone_lines(text, "train") if line
    ]
    store = FeatureStore(folder, split)
    size = num_codes or 2 * len(phones)
    if len(store.frames) < size:
        raise ValueError(
            f"{folder}/{split}: has {len(store.frames):,} rows, expected at least as many as clusters "
            f"({size:,}): take fewer `--codes`"
        )
    centres = _centres(store, size, effort.seed)
    clusters = [_clusters(store[i], centres) for i in range(len(store))]
    solution = decipher(clusters, size, lines, len(phones), effort)
    counts = torch.bincount(torch.cat(clusters), minlength=size)
    guess = by_frequency(counts, torch.bincount(torch.cat(lines), minlength=len(phones)))
    return Deciphered(phones, centres, solution, guess, lines)


def measured(said: Mapping[str, Said], labels: str | os.PathLike[str], split: str) -> dict[str, Errors]:
    """The true errors of each way, of the utterances that have labels."""
    held = read_labels(labels, split, "phones")
    found = {}
    for way, spoken in said.items():
        errors = Errors()
        for utt, phones in zip(held.utts, held.labels, strict=True):
            if utt in spoken:
                errors += count_errors(_spoken(phones), spoken[utt])
        if not errors.utterances:
            raise ValueError(
                f"{labels}: none of its utterances of {split} is in the features; name their labels"
            )
        found[way] = errors
    return found


def summary(said: Said) -> dict[str, Any]:
    lengths = [len(phones) for phones in said.values()]
    used = {phone for phones in said.values() for phone in phones}
    return {"utterances": len(said), "phones": sum(lengths), "different": len(used)}


def _spoken(phones: Any) -> list[str]:
    return [phone for phone in phones if phone not in _SILENT]


def _rows(x: Any) -> Tensor:
    return torch.from_numpy(np.array(x, np.float32))


def _clusters(x: Any, centres: Tensor) -> Tensor:  # [N, D] → [N]
    return nearest_entries(_rows(x)[:, None], centres)[:, 0]


def _centres(store: FeatureStore, size: int, seed: int) -> Tensor:  # [1, K, D]
    """K-means of rows drawn by the seed."""
    total = len(store.frames)
    drawn: Sequence[int] | Any = np.arange(total)
    if total > _SAMPLE:
        drawn = np.sort(np.random.default_rng(seed).choice(total, _SAMPLE, replace=False))
    sample = _rows(store.frames[drawn])
    centres = first_centres(sample, 1, size, seed)
    for _ in range(_PASSES):
        centres = cells_of(sample, centres).centres
    return centres
