"""The Wall Street Journal (LDC93S6, LDC94S13): wsj0 and wsj1, each disc by itself or all in one folder.

train is si284 (si_tr_s of both, 37,416 utterances), valid dev93 (wsj1's si_dt_20, 503) and test eval92
(wsj0's si_et_20, 333), as the corpora's own index files list them; where one is missing, what lies in the
folder of that name. The audio is .wv1, the first microphone, or what that was unpacked to: .wav, .flac.
"""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ...audio.sphere import shorten_refusal
from .entry import Entry, Refusal, table_lines
from .folder import Folder

_SUFFIXES = (".flac", ".wav", ".wv1")  # the first that is there is taken
_TRANSCRIPTS = (".dot", ".lsn")  # detailed transcripts; if missing, those reduced for scoring
_PLACE = re.compile(r"/(wsj[01]/[a-z]+_[a-z0-9_]+)/(?:[^/]+/)*([0-9a-z]{8})(\.[a-z0-9.]+)$")
_LINE = re.compile(r"(.*)\(\s*([0-9a-zA-Z]{8})\s*\)\s*")


class _Set(NamedTuple):
    split: str
    listing: str  # how the index file's path ends
    subset: str  # the folder, where there is no index
    kind: str = ""  # the letter of the kind of speech in its utterances' names


SETS = (
    _Set("train", "wsj0/doc/indices/train/tr_s_wv1.ndx", "wsj0/si_tr_s"),
    _Set("train", "wsj1/doc/indices/si_tr_s.ndx", "wsj1/si_tr_s"),
    _Set("valid", "wsj1/doc/indices/h1_p0.ndx", "wsj1/si_dt_20", "c"),  # c: read, no punctuation said
    _Set("test", "wsj0/doc/indices/test/nvp/si_et_20.ndx", "wsj0/si_et_20", "c"),
)
_BROKEN = "401"  # a speaker of wsj0's training discs whom si284 leaves out


class _Audio(NamedTuple):
    name: str
    subset: str
    utt: str


def fits(folder: Folder) -> bool:
    return (
        not folder.is_file
        and any(name.lower().endswith(_TRANSCRIPTS) for name in folder.files)
        and any(_audio(folder, name) for name in folder.files)
    )


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """The three sets; every other audio file is refused, by the part of the corpus it belongs to."""
    listed = _listed(folder)
    transcripts = _transcripts(folder)
    missing = {utt: index for index, utts in listed.items() for utt in utts}
    taken: dict[tuple[str, str], str] = {}
    audio = [found for found in (_audio(folder, name) for name in folder.files) if found is not None]
    for each in sorted(audio, key=lambda each: (_SUFFIXES.index(_suffix(each.name)), each.name)):
        split = _split(each, listed)
        first = taken.setdefault((each.subset, each.utt), each.name)
        if not split:
            yield Refusal(each.name, f"is of {each.subset} and of none of the sets si284, dev93, eval92")
        elif first != each.name:
            yield Refusal(each.name, f"is there as another file, too ({first}); that one is taken")
        else:
            missing.pop(each.utt, None)
            yield _entry(folder, each, split, transcripts)
    for utt, index in sorted(missing.items()):
        yield Refusal(utt, f"is listed but has no audio file (in {index}); restore the file")


def _audio(folder: Folder, name: str) -> _Audio | None:
    if not name.lower().endswith(_SUFFIXES):
        return None
    # From the whole path, so that wsj0 itself may be named as the corpus, too.
    found = _PLACE.search(folder.join(name).lower())
    return _Audio(name, found[1], found[2]) if found else None


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _listed(folder: Folder) -> dict[str, set[str]]:
    """The utterances of each index file that exists: lines `disc:path`, comments after a semicolon."""
    found: dict[str, set[str]] = {}
    for name in folder.files:
        for each in SETS:
            if folder.join(name).lower().endswith("/" + each.listing):
                rows = [line for _, line in table_lines(folder.join(name)) if not line.startswith(";")]
                stems = {os.path.basename(line.strip()).partition(".")[0].lower() for line in rows}
                found[each.listing] = {utt for utt in stems if not _is_broken(each.subset, utt)}
    return found


def _is_broken(subset: str, utt: str) -> bool:
    return subset == "wsj0/si_tr_s" and utt.startswith(_BROKEN)


def _split(audio: _Audio, listed: dict[str, set[str]]) -> str:
    """The set whose index names the utterance, or whose folder it lies in; empty if there is none."""
    for each in SETS:
        if each.listing in listed:
            is_of = audio.utt in listed[each.listing] and audio.subset.startswith(each.subset[:5])
        else:
            is_of = audio.subset == each.subset and audio.utt[3:4] in (each.kind or audio.utt[3:4])
        if is_of and not _is_broken(audio.subset, audio.utt):
            return each.split
    return ""


def _transcripts(folder: Folder) -> dict[str, str]:
    """Utterance: its words, of lines `words (utterance)`."""
    found: dict[str, str] = {}
    for suffix in _TRANSCRIPTS:
        for name in folder.files:
            if name.lower().endswith(suffix):
                matches = (_LINE.fullmatch(line) for _, line in table_lines(folder.join(name)))
                for match in matches:
                    if match:
                        found.setdefault(match[2].lower(), match[1])
    return found


def _entry(folder: Folder, audio: _Audio, split: str, transcripts: dict[str, str]) -> Entry | Refusal:
    refusal = shorten_refusal(folder.join(audio.name))
    if refusal:
        return Refusal(audio.name, refusal)
    if audio.utt not in transcripts:
        return Refusal(audio.name, f"has no transcript in any .dot or .lsn file ({audio.utt}); restore it")
    text = plain_words(transcripts[audio.utt])
    if not text:
        return Refusal(audio.name, f"has a transcript without a word ({transcripts[audio.utt].strip()})")
    utt, speaker = audio.utt, audio.utt[:3]
    return Entry(audio.name, utt, utt, speaker=speaker, subset=audio.subset, text=text, split=split)


_PUNCTUATION = frozenset(
    "ampersand brace close-brace close-paren close-quote close_paren close_quote colon comma dash decimal "
    "dollar-sign double-quote ellipsis end-of-quote end-quote exclamation-point hyphen in-parentheses "
    "left-brace left-paren open-brace open-paren open-quote paren parens parentheses percent period point "
    "question-mark quote right-brace right-paren semi-colon sharp-sign single-close-quote single-quote slash "
    "unquote".split()
)
_ESCAPE = re.compile(r"\\(.)")
_EVENT = re.compile(r"\[[^\[\]]*\]")  # [cough], [<door_slam], [door_slam>], [phone_ring/], [/phone_ring]
_UNSAID = re.compile(r"(?<=\w)\(\w+\)|\(\w+\)(?=\w)")  # in(ternational): what a broken word lacks
_MARKS = str.maketrans("", "", "*<>")  # *mispronounced*, <marked as deleted, yet heard>
_SIGNS = "!\"$%&'(),-./:;?`{}#"


def plain_words(transcript: str) -> str:
    """In lower case, a blank between words."""
    words = [_word(token) for token in _EVENT.sub(" ", _ESCAPE.sub(r"\1", transcript)).lower().split()]
    return " ".join(word for word in words if word)


def _word(token: str) -> str:
    token = token.translate(_MARKS)
    bare = token.lstrip(_SIGNS)
    if bare in _PUNCTUATION and bare != token:
        return bare.replace("_", "-")
    token = _UNSAID.sub("", token)
    token = token.strip('!"(),-:;?`{}~#')  # !stressed, frag-, a ~ where the recording is cut
    token = token.replace(":", "")  # le:ngthened
    return token if any(character.isalnum() for character in token) else ""  # a lone . is a pause
