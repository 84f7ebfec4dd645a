"""The words that users and settings in files have for on and off."""

from __future__ import annotations

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def is_on(name: str, value: bool | str) -> bool:
    """What the word says; `name` is the setting's."""
    word = str(value).lower()
    if word not in _WORDS:
        raise ValueError(f"`{name}` is {value!r}; expected true or false")
    return _WORDS[word]
