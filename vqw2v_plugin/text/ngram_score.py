"""letters ──decoder──▶ text: how probable an n-gram model finds a text, without anything to install.

For models of phones, whose n-grams fit into a table. ARPA is read; KenLM's binary needs KenLM.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..common.inputs import UTF8_MARK, lines_of
from ..common.loud import without_chatter
from ..common.words import lines_of as lines_in
from ..stack import StackError
from .model_file import check_model
from .ngram import NGramModel, arpa_blocks, train_ngram
from .ngram_counts import number_words

Score = Callable[[Sequence[str]], float]  # log10 of a sentence's probability, its end included
_SECTION = re.compile(r"\\(\d+)-grams:")
ORDER = 4  # of a model that is made of a text
_WORTH = 0.1
_NOTHING = -99.0  # log10 of no probability, in ARPA


class NGramTable:
    """log10 p(w | context) by backing off (Katz 1987)."""

    def __init__(self, lines: Iterable[str], name: str = "the model") -> None:
        self._rows: dict[tuple[str, ...], tuple[float, float]] = {}
        self.order = 0
        for number, line in enumerate(lines, 1):
            said = line.strip()
            if found := _SECTION.fullmatch(said):
                self.order = int(found[1])
            elif self.order and said and not said.startswith("\\"):
                self._add(said, f"{name}:{number}")
        if ("<unk>",) not in self._rows:
            self._rows[("<unk>",)] = (_NOTHING, 0.0)

    def _add(self, line: str, where: str) -> None:
        try:
            prob, *rest = line.split()
            words, more = tuple(rest[: self.order]), rest[self.order :]
            if len(words) != self.order or len(more) > 1:
                raise ValueError
            self._rows[words] = (float(prob), float(more[0]) if more else 0.0)
        except ValueError:
            raise ValueError(
                f"{where}: {line[:60]!r} is no row of ARPA; expected a probability, {self.order} words and "
                "what backing off costs"
            ) from None

    def __contains__(self, word: str) -> bool:
        return (word,) in self._rows

    def __call__(self, words: Sequence[str]) -> float:
        known = [word if (word,) in self._rows else "<unk>" for word in words]
        total = 0.0
        context: tuple[str, ...] = ("<s>",)
        for word in (*known, "</s>"):
            context = context[-(self.order - 1) :] if self.order > 1 else ()
            total += self._step(context, word)
            context = (*context, word)
        return total

    def _step(self, context: tuple[str, ...], word: str) -> float:
        cost = 0.0
        while context:
            if (row := self._rows.get((*context, word))) is not None:
                return cost + row[0]
            cost += self._rows.get(context, (0.0, 0.0))[1]
            context = context[1:]
        return cost + self._rows.get((word,), (_NOTHING, 0.0))[0]


def score_of(path: str | os.PathLike[str]) -> Score:
    """A model's file: ARPA (gzipped too) by our own table, KenLM's binary by KenLM."""
    check_model(path)
    with open(path, "rb") as file:
        head = file.read(2)
    if head == b"mm":
        return _by_kenlm(path)
    opener = gzip.open if head == b"\x1f\x8b" else open
    with opener(path, "rb") as arpa:
        try:
            lines = (
                (blob.removeprefix(UTF8_MARK) if not number else blob).decode()
                for number, blob in enumerate(lines_of(arpa, path))  # type: ignore[arg-type]
            )
            return NGramTable(lines, os.fspath(path))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not UTF-8 ({error.reason}); write the model anew") from None
        except (EOFError, zlib.error, OSError) as error:
            raise ValueError(f"{path}: is no whole model ({error}); make it anew") from None


def score_by_text(lines: Iterable[Sequence[str]], order: int) -> Score:
    """A model of these lines, made here."""
    model: NGramModel = train_ngram(number_words(" ".join(line).encode() for line in lines), order)
    return NGramTable(line for block in arpa_blocks(model) for line in lines_in(block))


def perplexity(score: Score, lines: Iterable[Sequence[str]]) -> float:
    """Of a text, the ends of its lines counted."""
    total, count = 0.0, 0
    for line in lines:
        total, count = total + score(line), count + len(line) + 1
    return float(10 ** (-total / max(1, count)))


@dataclass(frozen=True)
class TextModel:
    """How probable a text of phones is; no label is needed to ask it."""

    score: Score
    of_text: float  # perplexity of lines that were not learnt from
    of_phones: float  # the same by how frequent each phone is, whatever stands before it

    @property
    def tells(self) -> bool:
        """Whether the order of phones is worth a tenth of what is to be told."""
        return math.log(self.of_text) < (1 - _WORTH) * math.log(self.of_phones)

    def is_text(self, score: float) -> bool:
        """Whether a perplexity is nearer to the text's own than to that of phones in any order."""
        return self.tells and math.log(score) < (math.log(self.of_text) + math.log(self.of_phones)) / 2

    def describe(self) -> str:
        told = (
            f"the phone model's perplexity is {self.of_text:.2f} on lines of text that it has not seen, and "
            f"{self.of_phones:.2f} where it sees no phone before"
        )
        if self.tells:
            return f"{told}; what is recognised should come near the first"
        return (
            f"{told}: one order of phones is hardly likelier than another, so that neither an adversary nor "
            "the score `weighted_lm_ppl` can tell which phone is which; take more text, or another model"
        )


def model_of_text(
    learnt: Sequence[Sequence[str]], unseen: Sequence[Sequence[str]], lm: str | None = None
) -> TextModel:
    """Of a file, or of lines to learn from."""
    score = score_by_text(learnt, ORDER) if lm is None else score_of(lm)
    return TextModel(score, perplexity(score, unseen), perplexity(score_by_text(learnt, 1), unseen))


def _by_kenlm(path: str | os.PathLike[str]) -> Score:
    try:
        import kenlm
    except ImportError as error:
        raise StackError(
            f"{path} is KenLM's binary, and kenlm cannot be imported ({error}): "
            "`pip install 'vqw2v_plugin[decode]'`, or name the model's ARPA file"
        ) from error
    try:
        with without_chatter():
            model = kenlm.Model(os.fspath(path))
    except Exception as error:
        raise ValueError(f"{path}: KenLM cannot read it ({error}); make it anew") from None
    return lambda words: float(model.score(" ".join(words)))
