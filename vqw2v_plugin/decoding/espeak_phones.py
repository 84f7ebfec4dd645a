"""text ──▶ phones: espeak-ng's pronunciation of words, through its C API."""

from __future__ import annotations

import ctypes
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..stack import StackError

# Constants of speak_lib.h, the public header of espeak-ng.
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_IPA, _SEPARATOR = 0x02, "_"
_MOST_PATH = 160  # characters of the data folder's name that espeak-ng keeps
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
        while text.value:  # espeak answers a clause and moves the pointer behind it
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, mode)
            found.append((clause or b"").decode(errors="replace"))
        phones = re.split(rf"[{_SEPARATOR}\s]+", " ".join(_NOT_A_PHONE.sub("", clause) for clause in found))
        return tuple(phone for phone in phones if phone)


@lru_cache(maxsize=1)
def _library() -> Any:
    """espeak-ng, opened: it has one state a process."""
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
