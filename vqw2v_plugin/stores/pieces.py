"""tokens ──BERT──▶ states, with fewer tokens: runs of equal codes, joined to pieces that often come together.

Each code symbol is one private character, so that sentencepiece can find the pieces (unigram model,
arXiv 1804.10959). A piece's own symbol names its codes: `12-207+3-4`. N tokens, M pieces.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.files import write_whole
from .symbols import NUM_SPECIAL, UNK, TokenError, read_dict

Ids = npt.NDArray[np.int64]
MODEL, CODES = "pieces.model", "pieces.codes.txt"
JOINT = "+"  # between the codes of a piece's symbol
_FIRST, _MOST = 0xF0000, 0xFFFE  # the plane for private use
_STRANGE = "?"  # a code that the model has not seen


class Pieces:
    """A model of pieces over the code symbols `codes`, in their order."""

    def __init__(self, model: bytes, codes: Sequence[str]) -> None:
        import sentencepiece

        self.model, self.codes = model, tuple(codes)
        try:
            if not model:
                raise ValueError  # which sentencepiece takes for a model that is loaded later
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError):
            raise TokenError(
                f"{MODEL}: is no sentencepiece model; make it anew with examples/bert/pieces.py"
            ) from None
        self._chars = _chars(self.codes)
        self._pieces = self._made()
        self._ids = {piece: i for i, piece in enumerate(self._pieces, NUM_SPECIAL)}

    def _made(self) -> list[str]:
        """The model's pieces but for its <unk>; each of codes that are there."""
        try:
            named = [self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size())]
        except UnicodeDecodeError as error:
            raise TokenError(f"{MODEL}: a piece of it is no UTF-8 ({error.reason}); make it anew") from None
        made = [piece for piece in named if all(_is_code(char) for char in piece)]
        last = max((ord(char) - _FIRST for piece in made for char in piece), default=-1)
        if last >= len(self.codes):
            raise TokenError(
                f"{MODEL}: has pieces of {last + 1:,} codes, {CODES} has {len(self.codes):,}; the two are "
                "not of one run: make both anew"
            )
        return made

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Pieces:
        """As `save` wrote it."""
        path = Path(folder) / MODEL
        try:
            model = path.read_bytes()
        except OSError as error:
            raise TokenError(
                f"{path}: cannot be read ({error.strerror}); expected a folder of examples/bert/pieces.py"
            ) from error
        return cls(model, read_dict(Path(folder) / CODES))

    def save(self, folder: str | os.PathLike[str]) -> None:
        write_whole(Path(folder) / CODES, "".join(f"{symbol} 1\n" for symbol in self.codes))
        write_whole(Path(folder) / MODEL, self.model)

    @property
    def symbols(self) -> list[str]:
        """What a dict.txt names them."""
        return [JOINT.join(self.codes[ord(char) - _FIRST] for char in piece) for piece in self._pieces]

    def __call__(self, symbols: Sequence[str]) -> tuple[Ids, Ids]:  # N → [M], [M]
        """Ids of the pieces, and how many tokens each is; codes the model has not seen are <unk>."""
        return self._split("".join(self._chars.get(symbol, _STRANGE) for symbol in symbols))

    def join(self, places: Ids) -> tuple[Ids, Ids]:  # [N] → [M], [M]
        """The same of places in `codes`; below 0 a code that is not among them."""
        return self._split("".join(_STRANGE if i < 0 else chr(_FIRST + i) for i in places.tolist()))

    def _split(self, text: str) -> tuple[Ids, Ids]:
        parts: list[str] = self._processor.encode(text, out_type=str) if text else []
        ids = np.array([self._ids.get(part, UNK) for part in parts], dtype=np.int64)
        return ids, np.array([len(part) for part in parts], dtype=np.int64)


def train_pieces(utterances: Iterable[Sequence[str]], codes: Sequence[str], num_pieces: int) -> Pieces:
    """Up to `num_pieces`, each code that occurs among them, of utterances whose runs are joined.

    No piece reaches over a symbol that is none of the codes.
    """
    import sentencepiece

    if len(codes) > _MOST or num_pieces < len(codes):
        raise TokenError(
            f"{num_pieces:,} pieces of {len(codes):,} code symbols: expected at least one piece a symbol, "
            f"and at most {_MOST:,} symbols"
        )
    chars = _chars(codes)
    texts = ("".join(chars.get(symbol, _STRANGE) for symbol in symbols) for symbols in utterances)
    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for text in texts for line in text.split(_STRANGE) if line]),
            model_writer=out,
            **_options(num_pieces),
        )
    except RuntimeError as error:
        raise TokenError(f"sentencepiece says {' '.join(str(error).split())}; ask for fewer pieces") from None
    return Pieces(out.getvalue(), codes)


def _options(num_pieces: int) -> dict[str, Any]:
    """No normalization and no words: only which codes come together counts."""
    return {
        "vocab_size": num_pieces + 1,  # sentencepiece's own <unk>
        "hard_vocab_limit": False,
        "model_type": "unigram",
        "character_coverage": 1.0,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "split_by_unicode_script": False,
        "split_by_number": False,
        "split_by_whitespace": False,
        "max_sentence_length": 1 << 24,
        "bos_id": -1,
        "eos_id": -1,
        "num_threads": 1,
        "minloglevel": 2,
    }


def _chars(codes: Iterable[str]) -> dict[str, str]:
    return {symbol: chr(_FIRST + i) for i, symbol in enumerate(codes)}


def _is_code(char: str) -> bool:
    return ord(char) >= _FIRST
