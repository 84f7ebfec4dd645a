"""TIMIT (LDC93S1): TRAIN and TEST, in each DR1 … DR8/SPEAKER/SENTENCE.WAV, .TXT, .PHN and .WRD beside it.

The standard sets: train is every speaker of TRAIN, valid ("dev") 50 and test ("core test") 24 speakers of
TEST, all without the two dialect sentences SA1 and SA2, which everybody reads: 3,696, 400, 192 utterances.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ...audio.sphere import shorten_refusal
from .entry import Entry, Refusal, Timed, table_lines
from .folder import Folder

RATE = 16_000  # of the samples in which .PHN and .WRD count
# Of each dialect region two men and a woman.
CORE_TEST = frozenset(
    "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 "
    "mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0".split()
)
DEV = frozenset(
    "fadg0 faks0 fcal1 fcmh0 fdac1 fdms0 fdrw0 fedw0 fgjd0 fjem0 fjmg0 fjsj0 fkms0 fmah0 fmml0 fnmr0 frew0 "
    "fsem0 majc0 mbdg0 mbns0 mbwm0 mcsh0 mdlf0 mdls0 mdvc0 mers0 mgjf0 mglb0 mgwt0 mjar0 mjfc0 mjsw0 mmdb1 "
    "mmdm2 mmjr0 mmwh0 mpdf0 mrcs0 mreb0 mrjm4 mrjr0 mroa0 mrtk0 mrws1 mtaa0 mtdt0 mteb0 mthc0 mwjg0".split()
)
_PLACE = re.compile(r"/(train|test)/dr([1-8])/([fm][a-z]{3}[0-9])/(s[aix][0-9]+)\.[^/]*$", re.IGNORECASE)


class _Place(NamedTuple):
    part: str
    region: str
    speaker: str
    sentence: str


def fits(folder: Folder) -> bool:
    return not folder.is_file and any(
        name.lower().endswith(".phn") and _place(folder, name) for name in folder.files
    )


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """An entry for each utterance of the standard sets; the others are refused, set by set."""
    beside = {_stem(name) + os.path.splitext(name)[1].lower(): name for name in folder.files}
    taken: dict[str, str] = {}
    for name in folder.audio():
        place = _place(folder, name)
        if place is None:
            yield Refusal(name, "does not lie in TRAIN or TEST/DRn/SPEAKER/SENTENCE; restore the folders")
            continue
        first = taken.setdefault(_stem(name), name)
        split = _split(place)
        if first != name:
            yield Refusal(name, f"is there as another file, too ({first}); that one is taken")
        elif isinstance(split, Refusal):
            yield split._replace(path=name)
        else:
            yield _entry(folder, name, place, split, beside)


def _place(folder: Folder, name: str) -> _Place | None:
    # From the whole path, so that TRAIN or one region may be named as the corpus, too.
    found = _PLACE.search(folder.join(name))
    return _Place(*(part.lower() for part in found.groups())) if found else None


def _stem(name: str) -> str:
    """The path up to the sentence: some copies hold SX1.WAV and SX1.WAV.wav."""
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition('.')[0].lower()}"


def _split(place: _Place) -> str | Refusal:
    if place.sentence.startswith("sa"):
        return Refusal("", "is a dialect sentence, the same of every speaker; the standard sets leave it out")
    if place.part == "train":
        return "train"
    if place.speaker in DEV:
        return "valid"
    if place.speaker in CORE_TEST:
        return "test"
    return Refusal("", "is of a speaker of TEST beside the standard sets; they leave it out")


def _entry(folder: Folder, name: str, place: _Place, split: str, beside: dict[str, str]) -> Entry | Refusal:
    refusal = shorten_refusal(folder.join(name))
    if refusal:
        return Refusal(name, refusal)
    timed = []
    for suffix in (".phn", ".wrd"):
        if _stem(name) + suffix not in beside:
            return Refusal(name, f"has no {suffix.upper()} beside it; restore the file")
        path = beside[_stem(name) + suffix]
        try:
            timed.append(tuple(_times(folder.join(path))))
        except ValueError as error:
            return Refusal(name, f"has a {suffix.upper()} that cannot be read ({path}: {error}); restore it")
    utt = f"{place.speaker}_{place.sentence}"
    subset = f"{place.part}/dr{place.region}"
    text = _sentence(folder, beside.get(_stem(name) + ".txt"))
    phones, words = timed
    return Entry(
        name,
        utt,
        utt,
        speaker=place.speaker,
        subset=subset,
        text=text,
        split=split,
        phones=phones,
        words=words,
    )


def _times(path: str) -> Iterator[Timed]:
    """Lines `first sample, sample after the last, label`."""
    for number, line in table_lines(path):
        fields = line.split()
        if len(fields) != 3 or not all(text.isdecimal() and len(text) < 16 for text in fields[:2]):
            raise ValueError(f"line {number} is {line!r}, expected `begin end label`")
        begin, end = map(int, fields[:2])
        if end < begin:
            raise ValueError(f"line {number} is {line!r}, which ends before it begins")
        yield Timed(begin / RATE, end / RATE, fields[2])


def _sentence(folder: Folder, name: str | None) -> str:
    """`0 46797 She had your …`: the sentence as it was written for the speaker."""
    lines = [] if name is None else [line.split(maxsplit=2) for _, line in table_lines(folder.join(name))]
    return " ".join(line[2] for line in lines if len(line) == 3)
