"""The folder of unpaired text: SPLIT.phn, a sentence of phones a line, with its dictionary.

train.phn and valid.phn hold phones between blanks, `<SIL>` where there is silence; train.wrd and valid.wrd
the words of the same lines where the text was words, and lexicon.phn.txt how these are spelled; dict.phn.txt
a line `phone count` each; phones.json how all was made.
"""

from __future__ import annotations

import os
from pathlib import Path

from .folder import SplitFormat, StoreError, text_lines
from .labels import dict_name, lexicon_name, read_symbol_file

SPLITS = ("train", "valid")
DICTIONARY, LEXICON = dict_name("phones"), lexicon_name("phones")


class PhoneTextError(StoreError):
    """A folder of unpaired text that cannot be used; the message names the file and the reason."""


PHONE_TEXT = SplitFormat(
    about="phones.json", files=("phn", "wrd"), made_with="vqw2v phones", error=PhoneTextError
)


def read_phone_lines(folder: str | os.PathLike[str], split: str) -> list[list[str]]:
    """The sentences of a split; a phone that the dictionary lacks is an error."""
    path = Path(folder) / f"{split}.phn"
    try:
        lines = [line.split() for line in text_lines(path)]
    except FileNotFoundError:
        raise PHONE_TEXT.missing(path) from None
    except OSError as error:
        raise PhoneTextError(f"{path}: {error.strerror}, expected lines of phones; name another") from None
    except UnicodeDecodeError as error:
        raise PhoneTextError(
            f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from None
    known = {*read_symbol_file(Path(folder) / DICTIONARY)}
    for number, line in enumerate(lines, 1):
        if strange := [phone for phone in line if phone not in known]:
            raise PhoneTextError(
                f"{path}:{number}: the phone {strange[0][:40]!r} is not in {DICTIONARY}; the two are not of "
                f"one run: make both anew with `vqw2v phones`"
            )
    return lines
