"""text ──▶ phones of sentences that nobody has spoken: what the output of wav2vec-U is to be like.

Baevski et al. 2021, https://arxiv.org/abs/2105.11084, section 4.2.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .units import BOUNDARY, SILENCE, UNKNOWN

_TAKEN = (SILENCE, UNKNOWN, "<s>", "<pad>", "</s>")
Word = tuple[str, ...]  # its phones


class PhoneLines:
    """A normalized line → its words, each as phones; None where one of them has none."""

    def __init__(
        self, spell: Callable[[str], Sequence[Word]] | None, fold: Callable[[Iterable[str]], list[str]]
    ):
        """`spell` answers a word's pronunciations; without one lines hold phones, with `|` between words."""
        self.unknown: Counter[str] = Counter()
        self._spell, self._fold = spell, fold
        self._known: dict[str, Word] = {}

    def __call__(self, line: str) -> list[Word] | None:
        if self._spell is None:
            parts = (part.split() for part in line.split(BOUNDARY))
            return [_checked(tuple(self._fold(part)), line) for part in parts if part]
        words = [self.word(word) for word in line.split()]
        return None if () in words else words

    def word(self, word: str) -> Word:
        """The usual pronunciation; empty if there is none."""
        if word not in self._known:
            found = next(iter(self._spell(word)), ()) if self._spell and word != UNKNOWN else ()
            self._known[word] = _checked(tuple(found), word)
        if not self._known[word]:
            self.unknown[word] += 1
        return self._known[word]


def _checked(phones: Word, where: str) -> Word:
    if taken := [phone for phone in phones if phone in _TAKEN]:
        raise ValueError(
            f"{where[:80]!r}: {taken[0]!r} cannot be one of its phones, as it is a name of our own; call it "
            f"something else"
        )
    return phones


def line_draws(seed: int, line: int) -> random.Random:
    """What is drawn for a line of the text depends on nothing but these two."""
    return random.Random(f"{seed} {line}")


def with_silence(words: Sequence[Word], probability: float, draws: random.Random) -> list[str]:
    """Silence at both ends and, with this probability, between two words; at 0 there is none at all."""
    if not probability:
        return [phone for word in words for phone in word]
    said = [SILENCE]
    for word in words:
        if len(said) > 1 and draws.random() < probability:
            said.append(SILENCE)
        said += word
    return [*said, SILENCE]
