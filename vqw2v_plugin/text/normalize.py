"""text ──▶ letters: what is done to transcripts, and to a language model's text, before spelling."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from .units import UNKNOWN

CASES = ("lower", "upper", "keep")
DEFAULT_KEEP = "'"
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032`\u00b4"), "'")
_NO_WORD = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # <unk>, [noise]


@dataclass(frozen=True)
class Normalizer:
    """Composed characters (NFC), one apostrophe, one case; punctuation outside of `keep` becomes spaces.

    `<unk>`, `<NOISE>`, `[laughter]` become `<unk>`. Numbers stay as they are: nothing is spelled out.
    """

    case: str = "lower"
    keep: str = DEFAULT_KEEP
    enabled: bool = True  # else only white space is normalized

    def __post_init__(self) -> None:
        if self.case not in CASES:
            raise ValueError(f"`case` is {self.case!r}; expected one of {', '.join(CASES)}")

    def __call__(self, text: str) -> str:
        if not self.enabled:
            return " ".join(text.split())
        return " ".join(word for part in text.split() for word in _words(self, part))

    def _word(self, word: str) -> str:
        if _NO_WORD.fullmatch(word):
            return UNKNOWN
        word = unicodedata.normalize("NFC", word).translate(_APOSTROPHES)
        if self.case != "keep":
            word = word.lower() if self.case == "lower" else word.upper()
            word = unicodedata.normalize("NFC", word)
        parts = [_unquoted(part) for part in "".join(map(self._kept, word)).split()]
        return " ".join(part for part in parts if any(unicodedata.category(c)[0] in "LMN" for c in part))

    def _kept(self, character: str) -> str:
        """Keeps letters, marks, digits and what `keep` names; invisible characters inside a word vanish."""
        category = unicodedata.category(character)
        if character in self.keep or category[0] in "LMN":
            return character
        return "" if category == "Cf" else " "

    def describe(self) -> dict[str, object]:
        """What labels.json records."""
        if not self.enabled:
            return {"enabled": False}
        return {"case": self.case, "keep": self.keep}


@functools.lru_cache(maxsize=1 << 16)
def _words(normalizer: Normalizer, part: str) -> tuple[str, ...]:
    """What becomes of a word; most are said again and again."""
    return tuple(normalizer._word(part).split())


def _unquoted(word: str) -> str:
    return word.strip("'") if word[0] == word[-1] == "'" else word
