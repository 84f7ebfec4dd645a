"""Language models and lexicons. KenLM's binaries are left out: their bodies are mapped as they are, and the
README says to take none from a stranger; what is tried of them is heads that are refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path

from attempts import Case, Works
from damage import FOREIGN, LOST, TURNED, damaged, mutated, text
from odd_places import odd_places

_SMALL = (
    "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1\t<unk>\n-1\t<s>\t-0.3\n-1\t</s>\n-1\tab\t-0.3\n\n"
    "\\2-grams:\n-1\t<s> ab\n-1\tab </s>\n\n\\end\\\n"
)
_COUNTS = ("-6", "0", "1", "5", "99999999999", "4294967297", "18446744073709551617", "x", "", "4.5")
_NUMBERS = ("nan", "inf", "-inf", "1e400", "-1e400", "1", "x", "", "-99", "--1", "0x1p3")
_BINARY = b"mmap lm http://kheafield.com/code format version 5\n\0"


def strange_arpas(good: Path, seed: int) -> list[Case]:
    return [
        *(_arpa(f"{n}-grams: {v[:9]!r}", _SMALL.replace(f"ngram {n}={c}", f"ngram {n}={v}"))
          for n, c in ((1, 4), (2, 2)) for v in _COUNTS),
        *(_arpa(f"a probability {v!r}", _SMALL.replace("-1\tab", f"{v}\tab", 1)) for v in _NUMBERS),
        *(_arpa(f"a backoff {v!r}", _SMALL.replace("ab\t-0.3", f"ab\t{v}")) for v in _NUMBERS),
        *_changed(),
        *_packed((good / "lm.arpa").read_bytes()),
        *damaged(good / "lm.arpa", {**LOST, **TURNED, **FOREIGN, **mutated(10)}, Works.ANY, seed),
        *odd_places(".arpa"),
    ]  # fmt: skip


def whole_arpa(good: Path) -> Case:
    return _arpa("the whole model", (good / "lm.arpa").read_bytes())


def _arpa(name: str, content: str | bytes, works: Works = Works.ANY) -> Case:
    return text(name, content, "it.arpa", works=works)


def _changed() -> Iterator[Case]:
    """The small model with something in it replaced, and the first count with it."""
    for name, old, new, unigrams in (
        ("no end", "\\end\\", "", 4),
        ("no data", "\\data\\\n", "", 4),
        ("no <s>", "<s>", "<x>", 4),
        ("no <unk>", "-1\t<unk>\n", "", 3),
        ("a word twice", "-1\tab\t-0.3\n", "-1\tab\t-0.3\n-1\tab\t-0.3\n", 5),
        ("a bigram of no word", "-1\t<s> ab", "-1\tzz ab", 4),
        ("order 7", "ngram 2=2\n", "ngram 2=2\n" + "".join(f"ngram {i}=1\n" for i in range(3, 8)), 4),
        ("order 200", "ngram 2=2\n", "".join(f"ngram {i}=1\n" for i in range(2, 200)), 4),
        ("no order 2", "ngram 2", "ngram 3", 4),
        ("three words of two", "<s> ab\n", "<s> ab ab\n", 4),
        ("one word of two", "-1\t<s> ab\n", "-1\tab\n", 4),
        ("CRLF", "\n", "\r\n", 4),
        ("NUL", "ab", "a\0b", 4),
        ("half a character", "ab", "a\ud800", 4),
        ("a word of 2 million", "ab", "a" * 2_000_000, 4),
        ("blanks", "\t", " ", 4),
        ("two tabs", "\t", "\t\t", 4),
        ("more than certain", "-1\t<s> ab", "3\t<s> ab", 4),
        ("text before it", "\\data", "junk\n\\data", 4),
        ("text behind it", "\\end\\\n", "\\end\\\n" + "junk\n" * 10, 4),
    ):
        yield _arpa(name, _SMALL.replace(old, new).replace("ngram 1=4", f"ngram 1={unigrams}"))
    yield _arpa("a mark before it", "\ufeff" + _SMALL)
    yield _arpa("UTF-16", _SMALL.encode("utf-16"))
    yield _arpa("latin-1", _SMALL.replace("ab", "é").encode("latin-1"))


def _packed(content: bytes) -> Iterator[Case]:
    yield _arpa("gzip", gzip.compress(content), Works.SAME)
    yield _arpa("bzip2", bz2.compress(content), Works.SAME)
    yield _arpa("xz", lzma.compress(content), Works.SAME)
    yield _arpa("a gzip of 300 MB", gzip.compress(bytes(300_000_000)), Works.NEVER)
    for name, body in {"nothing": b"", "zeros": bytes(500), "ones": b"\xff" * 500}.items():
        yield _arpa(f"a binary's head and {name}", _BINARY + body, Works.NEVER)
    yield _arpa("a binary of version 9", _BINARY.replace(b"5", b"9") + bytes(500), Works.NEVER)
    yield _arpa(
        "a binary never finished", b"mmap lm http://kheafield.com/code incomplete\n" + bytes(400), Works.NEVER
    )


def strange_lexicons(good: Path, seed: int) -> list[Case]:
    found = _lexicons(good / "labels/lexicon.ltr.txt", seed)
    return [case._replace(says=(*case.says, "the lexicon's word", "--min-count")) for case in found]


def _lexicons(path: Path, seed: int) -> list[Case]:
    held = path.read_text()
    return [
        *(text(name, content, "it.txt") for name, content in _LEXICONS.items()),
        text("CRLF", held.replace("\n", "\r\n"), works=Works.SAME),
        text("a mark before it", "\ufeff" + held, works=Works.SAME),
        text("UTF-16", held.encode("utf-16"), works=Works.SAME),
        text("every word twice", held + held, works=Works.SAME),
        text("a word of other letters", held + "zz\tz z\n"),
        *damaged(path, {**LOST, **TURNED, **FOREIGN, **mutated(10)}, Works.ANY, seed),
        *odd_places(".txt"),
    ]


def whole_lexicon(good: Path) -> Case:
    return text("the whole lexicon", (good / "labels/lexicon.ltr.txt").read_bytes())


_LEXICONS: dict[str, str | bytes] = {
    "nothing": "",
    "blank lines": "\n\n\n",
    "a word alone": "ab\n",
    "other letters": "ab\tx y z\n",
    "latin-1": "é\ta b\n".encode("latin-1"),
    "NUL": "a\0b\ta b\n",
    "half a character": "\ud800\ta b\n",
    "400 words of one spelling": "x\ta b\ny\ta b\n" * 200,
    "a word of a million": "a" * 1_000_000 + "\ta b\n",
    "a spelling of a million": "ab\t" + "a b " * 500_000 + "\n",
    "50,000 words": "".join(f"w{i}\t{' '.join('abc'[int(d) % 3] for d in str(i))}\n" for i in range(50_000)),
    "a line of a million words": "ab " * 1_000_000 + "\n",
    "words of ours": "<unk>\ta\n<s>\tb\n</s>\tc\n|\t|\n",
    "a boundary alone": "ab\t|\n",
    "a blank": "ab\t<blank> a\n",
    "two tabs": "ab\t\ta b\n",
    "blanks": "ab a b\n",
    "a probability": "ab 0.5 a b\n",
    "a line that breaks": "a\u2028b\ta b\n",
    "escapes": "\x1b[31m\ta b\n",
    "repeats": "aa\ta 1\n",
    "json": "{}",
    "tabs alone": "\t\n",
    "CR": "ab\ta b\rc\tc\r",
}
