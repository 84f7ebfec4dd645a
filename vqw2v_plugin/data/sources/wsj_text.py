"""The Wall Street Journal's detailed transcripts (.dot) → the words that were said.

What is a mark goes, what was said stays: `,COMMA` is a comma that the speaker read aloud, so it becomes the
word `comma`. Full stops of abbreviations (`mr.`, `u. s.`), apostrophes and hyphens inside words stay:
`vqw2v labels` decides on these.
"""

import re

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
