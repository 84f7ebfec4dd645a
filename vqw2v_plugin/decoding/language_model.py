"""letters ──decoder──▶ text: KenLM's n-gram models as flashlight asks them."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ..common.loud import without_chatter
from ..common.words import some_of
from ..stack import StackError
from ..text.model_file import check_model
from ..text.units import UNKNOWN

logger = logging.getLogger(__name__)
MOST_ALIKE = 6  # flashlight's limit of words that are spelled the same
EXTRA = "pip install 'vqw2v_plugin[decode]'"


def import_flashlight() -> Any:
    """flashlight's decoders, or a sentence that says how to get them."""
    try:
        import flashlight.lib.text.decoder as decoder
    except ImportError as error:
        raise StackError(
            f"beam search needs flashlight-text, which cannot be imported ({error}): `{EXTRA}`; "
            "`--decoder greedy` works without"
        ) from error
    return decoder


def load_language_model(path: str | os.PathLike[str] | None, words: Sequence[str]) -> Any:
    """flashlight's language model over `words` (by their position) and `<unk>` behind them.

    Without a path every word costs nothing.
    """
    decoder = import_flashlight()
    if path is None:
        return decoder.ZeroLM()
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError as error:
        raise StackError(
            f"a language model needs kenlm, which cannot be imported ({error}): `{EXTRA}`"
        ) from error
    check_model(path)
    try:
        with without_chatter():
            return KenLM(os.fspath(path), Dictionary([*words, UNKNOWN]))
    except Exception as error:
        raise ValueError(
            f"{path}: KenLM cannot read it ({_reason(error)}); expected ARPA of order 2 or more, or KenLM's "
            "binary"
        ) from None


def _reason(error: Exception) -> str:
    """What KenLM says, without the places in its own files."""
    said = " ".join(str(error).split())
    return re.sub(r"^\S+ in .*? threw \w+?(Exception)?( because `.*?'(?=[.:]))?[.:]* ", "", said)[:200]


def make_trie(spelled: Iterable[tuple[str, Sequence[int]]], words: Sequence[str], lm: Any, width: int) -> Any:
    """Spellings (word, columns) as flashlight's tree, each branch with the best LM score below it."""
    decoder = import_flashlight()
    trie, start = decoder.Trie(width, 0), lm.start(False)
    position = {word: i for i, word in enumerate(words)}
    scores = [lm.score(start, i)[1] for i in range(len(words))]
    alike: Counter[tuple[int, ...]] = Counter()
    for word, columns in spelled:
        trie.insert(list(columns), position[word], scores[position[word]])
        alike[tuple(columns)] += 1
    if lost := sum(max(0, count - MOST_ALIKE) for count in alike.values()):
        logger.warning(f"{lost:,} spellings are never found: flashlight takes {MOST_ALIKE} words of one")
    trie.smear(decoder.SmearingMode.MAX)
    return trie


def check_knows_words(path: str | os.PathLike[str], vocabulary: Sequence[str]) -> None:
    """Refuses a language model of other words, and names those that it lacks."""
    missing = _missing(path, vocabulary)
    if len(missing) == len(vocabulary):
        raise ValueError(
            f"{path}: knows none of the lexicon's {len(vocabulary):,} words ({some_of(missing)}); "
            "expected one spelling of words in both, upper or lower case"
        )
    if missing:
        share = f"{len(missing):,} of the lexicon's {len(vocabulary):,} words"
        logger.warning(f"{path}: knows not {share} ({some_of(missing)}): they count as {UNKNOWN}")


def check_knows_labels(path: str | os.PathLike[str], labels: Sequence[str]) -> None:
    """Refuses a language model that is not one of these labels."""
    if missing := _missing(path, labels):
        raise ValueError(
            f"{path}: knows no {some_of(missing)}; expected a model of labels, trained on label files "
            "(ASG's with repetition symbols, as `Units.encode` packs them)"
        )


def _missing(path: str | os.PathLike[str], words: Iterable[str]) -> list[str]:
    try:
        import kenlm
    except ImportError as error:
        raise StackError(
            f"a language model needs kenlm, which cannot be imported ({error}): `{EXTRA}`"
        ) from error
    with without_chatter():
        model = kenlm.Model(os.fspath(path))
    return [word for word in words if word not in model]
