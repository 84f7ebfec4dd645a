"""text ──▶ phones: TIMIT's 61 phones folded to 48 and 39 (Lee and Hon 1989), ARPAbet without stress."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..stack import StackError

# The 61 phones of TIMIT's transcripts, by what they become among the 48 for training.
_TO_48 = {
    "uw": "ux",
    "er": "axr",
    "ax": "ax-h",
    "m": "em",
    "n": "nx",
    "ng": "eng",
    "hh": "hv",
    "cl": "pcl tcl kcl",
    "vcl": "bcl dcl gcl",
    "sil": "h# pau #h",
}
# The 48, by what they become among the 39 for scoring.
_TO_39 = {
    "aa": "ao",
    "ah": "ax",
    "ih": "ix",
    "l": "el",
    "n": "en",
    "sh": "zh",
    "sil": "cl vcl epi",
}
_KEPT_48 = (
    "aa ae ah ao aw ax ay b ch cl d dh dx eh el en epi er ey f g hh ih ix iy jh k l m n ng ow oy p r s sh "
    "sil t th uh uw v vcl w y z zh"
)
GLOTTAL_STOP = "q"  # both foldings drop it
_STRESS = re.compile(r"(?<=[A-Za-z])[0-2]$")


def _inverse(table: dict[str, str]) -> dict[str, str]:
    return {old: new for new, olds in table.items() for old in olds.split()}


FOLD_48 = {phone: phone for phone in _KEPT_48.split()} | _inverse(_TO_48)
_FOLD_48_TO_39 = {phone: phone for phone in _KEPT_48.split()} | _inverse(_TO_39)
FOLD_39 = {phone: _FOLD_48_TO_39[folded] for phone, folded in FOLD_48.items()}


def fold_timit(phones: Iterable[str], to: int = 39) -> list[str]:
    """Folds TIMIT's 61 phones, or the 48, to the 48 or the 39; `|` between words stays."""
    table = _table(to)
    return [table.get(phone, phone) for phone in _known(phones, table)]


def _table(to: int) -> dict[str, str]:
    if to not in (39, 48):
        raise ValueError(f"TIMIT's phones are folded to 48 or 39; got {to}")
    return FOLD_39 if to == 39 else FOLD_48


def _known(phones: Iterable[str], table: dict[str, str]) -> list[str]:
    kept = [phone for phone in phones if phone != GLOTTAL_STOP]
    strange = sorted({phone for phone in kept if phone not in table and phone not in ("|", "<unk>")})
    if strange:
        raise ValueError(f"{', '.join(strange[:8])}: no phones of TIMIT's 61; fold none, or mend the text")
    return kept


def strip_stress(phones: Iterable[str]) -> list[str]:
    """ARPAbet's `AH0` as `AH`."""
    return [_STRESS.sub("", phone) for phone in phones]


FOLDS: dict[str, Callable[[Iterable[str]], list[str]]] = {
    "none": list,
    "48": lambda phones: fold_timit(phones, 48),
    "39": lambda phones: fold_timit(phones, 39),
    "stress": strip_stress,
}


# Constants of speak_lib.h, the public header of espeak-ng.
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_IPA, _SEPARATOR = 0x02, "_"
_MOST_PATH = 160  # characters of the data folder's path that espeak-ng keeps
_NOT_A_PHONE = re.compile(r"\([a-z-]+\)|[ˈˌ‖|]")  # a change of language, stress


class EspeakPhones:
    """`EspeakPhones("en-us")("hello")` is `("h", "ə", "l", "oʊ")`: a word at a time, without stress."""

    def __init__(self, voice: str) -> None:
        self.voice = voice
        self._library = _library()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice `{voice}`; expected a language such as `en-us` or `de`")
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            self._known[word] = self._speak(word)
        return self._known[word]

    def _speak(self, word: str) -> tuple[str, ...]:
        self._library.espeak_SetVoiceByName(self.voice.encode())  # another instance may have set its own
        text = ctypes.c_char_p(word.encode())
        mode, found = _IPA | ord(_SEPARATOR) << 8, []
        # espeak returns one clause and moves the pointer past it: to the end where another is still to come
        while text.value is not None:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, mode)
            found.append((clause or b"").decode(errors="replace"))
        phones = re.split(rf"[{_SEPARATOR}\s]+", " ".join(_NOT_A_PHONE.sub("", clause) for clause in found))
        return tuple(phone for phone in phones if phone)


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library, opened; a process has one state of it."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise StackError(
            "`--espeak` needs `espeakng-loader`, which is not installed: `pip install espeakng-loader` (or "
            "this package's extra `[demo]`); a pronunciation lexicon, `--lexicon FILE`, works without"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    folder = Path(espeakng_loader.get_data_path())
    data = os.fspath(folder)
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT) <= 0:
        raise ValueError(
            f"espeak-ng found no data in `{data}` ({len(data)} characters; it reads at most {_MOST_PATH}); "
            "reinstall `espeakng-loader`, in a folder of a shorter name if that is long"
        )
    return library
