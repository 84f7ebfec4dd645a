"""text ──▶ letters, phones, pieces or words: the labels of a transcript, as label files hold them."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ..common.inputs import read_bytes
from .lexicon import Spellings
from .units import BLANK, BOUNDARY, SILENCE, UNKNOWN

Fold = Callable[[Iterable[str]], list[str]]
Variants = Callable[[str], Sequence[Sequence[str]]]  # a word's pronunciations, the usual one first
_FAIRSEQ = ("<s>", "<pad>", "</s>", UNKNOWN)  # in its dictionaries already
_NO_WORDS = (*_FAIRSEQ, BLANK, BOUNDARY, SILENCE)


class Speller(Protocol):
    """Normalized text in, labels out; `unknown` counts what each `<unk>` among them stands for."""

    unknown: Counter[str]

    def __call__(self, text: str) -> list[str]: ...

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        """A word's labels for the decoder's lexicon, without the boundary."""
        ...


class LetterSpeller:
    """`h e l l o | w o r l d |`."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()

    def __call__(self, text: str) -> list[str]:
        labels: list[str] = []
        for word in text.split():
            for letter in [word] if word == UNKNOWN else word:
                if letter in (UNKNOWN, BOUNDARY):
                    self.unknown[letter] += 1
                    letter = UNKNOWN
                labels.append(letter)
            labels.append(BOUNDARY)
        return labels

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        return [] if word == UNKNOWN or BOUNDARY in word else [tuple(word)]


class PhoneSpeller:
    """`HH AH L OW | W ER L D |`, or without the boundaries; words through a lexicon or espeak-ng."""

    def __init__(self, variants: Variants, fold: Fold, boundary: bool) -> None:
        self.unknown: Counter[str] = Counter()
        self._variants, self._fold, self._boundary = variants, fold, boundary

    def __call__(self, text: str) -> list[str]:
        labels: list[str] = []
        for word in text.split():
            usual = next(iter(self.spellings(word)), ())
            if not usual:
                self.unknown[word] += 1
            labels += usual or [UNKNOWN]
            labels += [BOUNDARY] if self._boundary else []
        return labels

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        found = [] if word == UNKNOWN else [tuple(self._fold(phones)) for phones in self._variants(word)]
        return list(dict.fromkeys(phones for phones in found if phones))


class WordSpeller:
    """`hello world`: each word as it is, for few that are often said."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()

    def __call__(self, text: str) -> list[str]:
        return [self._label(word) for word in text.split()]

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        return [] if word in _NO_WORDS else [(word,)]

    def _label(self, word: str) -> str:
        if word in _NO_WORDS:
            self.unknown[word] += 1
            return UNKNOWN
        return word


class PhonesAsTheyAre:
    """The transcript holds phones already, with ` | ` between words or without."""

    def __init__(self, fold: Fold, boundary: bool) -> None:
        self.unknown: Counter[str] = Counter()
        self._fold, self._boundary = fold, boundary

    def __call__(self, text: str) -> list[str]:
        phones = self._fold(text.split())
        self.unknown.update(phone for phone in phones if phone == UNKNOWN)
        if not self._boundary:
            return [phone for phone in phones if phone != BOUNDARY]
        if BOUNDARY in phones and phones[-1] != BOUNDARY:
            phones.append(BOUNDARY)
        return phones[1:] if phones[:1] == [BOUNDARY] else phones

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        return []


class ClassSpeller:
    """The class of a whole utterance, which is no text: one label, without spaces."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self._called: dict[str, str] = {}

    def __call__(self, text: str) -> list[str]:
        name = "_".join(text.split())
        if name in _FAIRSEQ:
            raise ValueError(f"the class {name!r} bears a name of fairseq's own; expected another name")
        if (other := self._called.setdefault(name, text)) != text:
            raise ValueError(f"the classes {other!r} and {text!r} are both {name!r}; rename one")
        return [name]

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        return []


class PieceSpeller:
    """`▁he llo ▁wor ld`, by a sentencepiece model."""

    def __init__(self, model: bytes) -> None:
        self.unknown: Counter[str] = Counter()
        self.model = model
        self._pieces = _sentencepiece().SentencePieceProcessor(model_proto=model)

    def __call__(self, text: str) -> list[str]:
        labels = []
        for piece in self._pieces.encode(text, out_type=str):
            if self._is_known(piece):
                labels.append(piece)
            else:
                self.unknown[piece] += 1
                labels.append(UNKNOWN)
        return labels

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        pieces = tuple(self._pieces.encode(word, out_type=str))
        return [pieces] if pieces and all(map(self._is_known, pieces)) else []

    def symbols(self) -> list[str]:
        """The pieces in the model's order, without `<unk>` and control symbols."""
        p = self._pieces
        return [p.id_to_piece(i) for i in range(len(p)) if not (p.is_unknown(i) or p.is_control(i))]

    def _is_known(self, piece: str) -> bool:
        return bool(self._pieces.piece_to_id(piece) != self._pieces.unk_id())


def lexicon_variants(spellings: Spellings) -> Variants:
    """Each word's pronunciations; none if the lexicon lacks it."""
    return lambda word: spellings.get(word, [])


def train_pieces(texts: Iterable[str], vocab_size: int) -> bytes:
    """A sentencepiece model (unigram) of `vocab_size` pieces, `<unk>` among them."""
    written = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter([text for text in texts if text]),
            model_writer=written,
            vocab_size=vocab_size,
            character_coverage=1.0,
            normalization_rule_name="identity",  # the text is already normalized
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # so that the same text gives the same model
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`--vocab-size` {vocab_size}: sentencepiece says {reason}") from None
    return written.getvalue()


def read_pieces(path: str | os.PathLike[str]) -> PieceSpeller:
    """A sentencepiece model from its file."""
    try:
        return PieceSpeller(read_bytes(path))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{path}: {reason}, expected a sentencepiece model") from error
    except RuntimeError:
        raise ValueError(f"{path}: is no sentencepiece model; make one with `--vocab-size`") from None


def _sentencepiece() -> Any:
    import sentencepiece

    return sentencepiece
