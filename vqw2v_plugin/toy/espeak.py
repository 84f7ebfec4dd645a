"""The toy corpus' voice (text to wav): espeak-ng's C API through ctypes, with word and phone events."""

from __future__ import annotations

import ctypes
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Constants of speak_lib.h, the public header of espeak-ng.
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_CHARACTERS, _UTF8 = 1, 1
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_LABEL_BYTES = 8


@dataclass(frozen=True)
class Event:
    """A word (label empty, `position` its first character from 0) or a phone beginning at `sample`."""

    is_word: bool
    sample: int
    position: int
    label: str


@dataclass(frozen=True)
class Speech:
    """One spoken text: 16-bit samples at espeak's own rate, and its events in order."""

    samples: NDArray[np.int16]  # [S]
    sample_rate: int
    events: tuple[Event, ...]


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * _LABEL_BYTES)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def _loader() -> Any:
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise ValueError(
            "the toy corpus speaks through `espeakng-loader`, which is not installed; "
            "run `pip install espeakng-loader` (or install this package with its extra `[demo]`)"
        ) from error


def data_folder() -> Path:
    """Where espeak-ng's languages and voices lie."""
    return Path(_loader().get_data_path())


def variants() -> frozenset[str]:
    """Names of the voice variants that espeak-ng has (the `m3` of `en-us+m3`)."""
    return frozenset(path.name for path in (data_folder() / "voices" / "!v").iterdir())


def check_voice(voice: str) -> None:
    """Refuse a variant that does not exist: espeak-ng itself would silently speak without it."""
    _, plus, variant = voice.partition("+")
    if plus and variant not in variants():
        raise ValueError(
            f"voice `{voice}`: espeak-ng has no variant `{variant}`; "
            f"expected one of {', '.join(sorted(variants()))}"
        )


class Espeak:
    """The library, opened; a process has one state of it, and each text shifts the timing of the next."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_loader().get_library_path())
        folder = data_folder()
        # espeak-ng keeps only 160 characters of this path.
        data = folder.name if Path.cwd() == folder.parent else str(folder)
        options = _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), options))
        if self.sample_rate <= 0:
            raise ValueError(
                f"espeak-ng found no data in `{data}` ({len(data)} characters; it reads at most 160); "
                "reinstall `espeakng-loader`, in a folder of a shorter name if that is long"
            )
        self._samples: list[NDArray[np.int16]] = []
        self._events: list[Event] = []
        self._callback = _Callback(self._receive)  # kept, since ctypes frees what nothing refers to
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, rate: int = 170, pitch: int = 50, pitch_range: int = 50) -> Speech:
        """Speak `text` at `rate` words a minute; `pitch` and `pitch_range` go from 0 to 100."""
        check_voice(voice)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(
                f"espeak-ng has no voice `{voice}`; expected a language such as `en-us` or `de+m3`"
            )
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._samples, self._events = [], []
        data = text.encode()
        status = self._library.espeak_Synth(data, len(data) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        if status != 0 or not self._samples:
            raise ValueError(f"espeak-ng spoke nothing for `{text}` with voice `{voice}` (status {status})")
        return Speech(np.concatenate(self._samples), self.sample_rate, tuple(self._events))

    def _receive(self, wave: Any, num_samples: int, events: Any) -> int:
        if wave and num_samples > 0:
            self._samples.append(np.ctypeslib.as_array(wave, (num_samples,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            event = events[index]
            if event.type in (_WORD, _PHONEME):
                label = _label(event) if event.type == _PHONEME else ""
                self._events.append(Event(event.type == _WORD, event.sample, event.text_position - 1, label))
            index += 1
        return 0


def _label(event: Any) -> str:
    # Read all eight bytes: a label that fills them has no final zero.
    raw = ctypes.string_at(ctypes.addressof(event.id), _LABEL_BYTES)
    return raw.split(b"\0")[0].decode(errors="ignore")
