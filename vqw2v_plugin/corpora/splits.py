"""Which utterances are for training and which are held out, by a hash of their names.

A name's place in [0, 1) depends on the seed and the name alone, not on the order or on other names.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .sources import Entry

DEFAULT_VALID = 0.05


class SplitError(ValueError):
    """Splits that cannot be made as asked; the message names the remedy."""


@dataclass(frozen=True)
class SplitPlan:
    """Shares of the whole; `valid` None means the corpus' own split or, if it has none, the default share."""

    valid: float | None = None
    test: float = 0.0
    seed: int = 1
    speaker_disjoint: bool = False
    anew: bool = False  # ignore the corpus' own splits

    def __post_init__(self) -> None:
        for name, share in (("--valid", self.valid), ("--test", self.test)):
            if share is not None and not 0 <= share < 1:
                raise SplitError(
                    f"`{name}` is {share:g}, expected a share of the whole from 0 to less than 1"
                )
        valid = DEFAULT_VALID if self.valid is None else self.valid
        if valid + self.test >= 1:
            raise SplitError(f"`--valid` and `--test` ({valid:g} + {self.test:g}) leave nothing to train on")


def place_of(name: str, seed: int) -> float:
    """A number in [0, 1) for a name: uniform over names, and another for every seed."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def divide(names: Iterable[str], valid: float, test: float, seed: int) -> dict[str, str]:
    """A split for every name; adding names to two or more moves none of them.

    With one exception: where valid or train would stay empty, the name nearest to it is moved there.
    """
    places = sorted((place_of(name, seed), name) for name in set(names))
    splits = {
        name: "valid" if place < valid else "test" if place < valid + test else "train"
        for place, name in places
    }
    if valid and len(places) > 1 and "valid" not in splits.values():
        splits[places[0][1]] = "valid"
    if places and "train" not in splits.values():
        splits[places[-1][1]] = "train"
    return splits


def assign(entries: Sequence[Entry], plan: SplitPlan) -> list[str]:
    """Each entry's split: the corpus' own if it has one, else by its speaker or its recording."""
    if plan.speaker_disjoint:
        _need_speakers(entries)
    splits = [("" if plan.anew else entry.split) for entry in entries]
    own = set(splits) - {"", "train"}
    if "valid" in own and plan.valid is not None:
        raise SplitError(
            "the corpus has validation data of its own, so `--valid` has nothing to divide; "
            "leave it out, or add `--resplit` to forget the corpus' own splits"
        )
    keys = [entry.speaker if plan.speaker_disjoint else entry.unit for entry in entries]
    valid = DEFAULT_VALID if plan.valid is None else plan.valid
    free = [key for key, split in zip(keys, splits, strict=True) if split in ("", "train")]
    shares = divide(free, 0.0 if "valid" in own else valid, plan.test, plan.seed)
    assigned = [split if split in own else shares[key] for key, split in zip(keys, splits, strict=True)]
    if plan.speaker_disjoint and own:
        _check_disjoint(keys, assigned)
    return assigned


def _need_speakers(entries: Sequence[Entry]) -> None:
    missing = [entry.path for entry in entries if not entry.speaker]
    if missing:
        raise SplitError(
            f"`--speaker-disjoint` needs to know the speakers, and {len(missing):,} of {len(entries):,} "
            f"utterances have none (the first is of {missing[0]}); say where the path names them, with "
            f"`--speaker-from 1` (its first folder) or `--speaker-from '(spk[0-9]+)_'` (a regular expression)"
        )


def _check_disjoint(speakers: Sequence[str], splits: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for speaker, split in zip(speakers, splits, strict=True):
        first = seen.setdefault(speaker, split)
        if first != split:
            raise SplitError(
                f"in the corpus' own splits the speaker {speaker} is in {first} and in {split}; "
                f"add `--resplit` to divide it anew, or leave `--speaker-disjoint` out"
            )
