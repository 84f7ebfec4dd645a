"""Bytes → other bytes over which a reader may stumble; structure or not, nothing is out of bounds."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

NUMBERS = (
    *(0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**18, 10**30, 10**400),
)
WORDS = (
    *"0 -1 -0 1e999 -1e999 1e-999 nan inf NaN Infinity 0x10 1_000 ٣ ² é 𝄞 / .. . ~ | # <unk> <s>".split(),
    *"</s> null true [] {} [1] ${x} (1,2) %s \\ ' \" /dev/zero /dev/stdin".split(),
    *(
        "",
        " ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\x0b",
        "\x1c",
        "\x1b[2J",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
    ),
    *("a" * 300, "[" * 3000, "../" * 40 + "etc/passwd"),
)
TOKENS = tuple(word.encode("utf-8", "surrogatepass") for word in WORDS)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_MOST = 1 << 20  # bytes of a file; a longer one is slow and shows nothing new


def mutate_bytes(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to four changes; `other` is what pieces are taken from."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        content = rng.choice(_CHANGES)(content, other, rng)
    return content[:_MOST]


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    """A stretch, mostly a short one."""
    begin = rng.randrange(len(content) + 1)
    return begin, min(len(content), begin + rng.choice((1, 2, 4, 8, 16, 64, 512)))


def _flip(content: bytes, other: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _integer(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """An interesting number over the bytes that are there, as headers hold them."""
    width = rng.choice((1, 2, 4, 8))
    place = rng.randrange(len(content) + 1)
    number = (rng.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "little", "big")))
    return content[:place] + number + content[place + width :]


def _number(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Another number in place of one that is written in digits."""
    found = list(_NUMBER.finditer(content[:_MOST]))
    if not found:
        return _token(content, other, rng)
    at = rng.choice(found)
    new = rng.choice((str(rng.choice(NUMBERS)).encode(), *TOKENS[:14], at[0] + b"0", b"-" + at[0]))
    return content[: at.start()] + new + content[at.end() :]


def _token(content: bytes, other: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + rng.choice(TOKENS) + content[rng.choice((begin, end)) :]


def _truncate(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _delete(content: bytes, other: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + content[end:]


def _repeat(content: bytes, other: bytes, rng: random.Random) -> bytes:
    begin, end = _span(content, rng)
    return content[:begin] + content[begin:end] * rng.choice((2, 2, 3, 50)) + content[end:]


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    begin, end = _span(other, rng)
    first, last = _span(content, rng)
    return content[:first] + other[begin : rng.choice((end, len(other)))] + content[last:]


def _lines(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """A line is dropped, doubled, moved, or taken from another file."""
    lines = content.split(b"\n")
    place, target = rng.randrange(len(lines)), rng.randrange(len(lines) + 1)
    change = rng.randrange(4)
    if change == 0:
        del lines[place]
    elif change == 1:
        lines.insert(target, lines[place])
    elif change == 2:
        lines.insert(target, rng.choice(other.split(b"\n")))
    else:
        lines[place] = lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _fields(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """The same with a line's fields, and with what is in one."""
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    mark = b"\t" if b"\t" in lines[place] else b" "
    fields = lines[place].split(mark)
    field, change = rng.randrange(len(fields)), rng.randrange(4)
    if change == 0:
        del fields[field]
    elif change == 1:
        fields.insert(field, fields[rng.randrange(len(fields))])
    elif change == 2:
        fields[field] = rng.choice(TOKENS)
    else:
        fields[field] = str(rng.choice(NUMBERS)).encode()
    lines[place] = mark.join(fields)
    return b"\n".join(lines)


_CHANGES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    *(_flip, _integer, _number, _token, _truncate, _delete, _repeat, _splice),
    *(_lines, _fields),
)
