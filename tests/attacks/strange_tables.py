"""Tables of a corpus, times beside it, and weights that `tune` found: what people send each other."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from attempts import Case, Works
from damage import FOREIGN, LOST, TURNED, damaged, mutated, text
from odd_places import NAMES, odd_places

_HEAD = "path,text,speaker,offset,duration"
_NUMBERS = ("-1", "nan", "inf", "1e308", "9" * 5_000, "x", "0x10", "1e-300", "١", " ", "1;2", str(2**63))
_PATHS = (
    "/etc/passwd",
    "/dev/zero",
    "x" * 5_000,
    "sub/../clip.wav",
    "clip",
    "http://x/y.wav",
    *NAMES.values(),
)
_SAID = ("columns", "samples", "path")
_LIST = '[[0, 0.1, "a"]]'


def strange_tables(good: Path, seed: int) -> list[Case]:
    wav = f"{good}/clip.wav"
    row = f"{wav},ab cab,s,0,0.5"
    (good / "clip.csv").write_text(f"{_HEAD}\n{row}\n")
    return [
        *_same(row),
        *_heads(row),
        *_rows(wav, row),
        *(_table(f"an offset {v[:12]!r}", f"{_HEAD}\n{wav},ab,s,{v},0.5\n") for v in _NUMBERS),
        *(_table(f"a duration {v[:12]!r}", f"{_HEAD}\n{wav},ab,s,0,{v}\n") for v in _NUMBERS),
        *(_table(f"samples {v[:12]!r}", f"path,start,n_samples\n{wav},0,{v}\n") for v in _NUMBERS),
        *(_table(f"the path {v[:12]!r}, {len(v)}", f"{_HEAD}\n{v},ab,s,0,0.5\n") for v in _PATHS),
        *_times_in_a_column(wav),
        *_json(wav),
        *damaged(good / "clip.csv", {**LOST, **TURNED, **FOREIGN, **mutated(10)}, Works.ANY, seed),
        *odd_places(".csv", works=Works.ANY),  # a folder may hold tables
    ]


def whole_table(good: Path) -> Case:
    return _table("the whole table", f"{_HEAD}\n{good}/clip.wav,ab cab,s,0,0.5\n")


def _table(name: str, content: str | bytes, works: Works = Works.ANY, called: str = "it.csv") -> Case:
    held = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    return text(name, held, called, works=works)._replace(says=_SAID)


def _same(row: str) -> Iterator[Case]:
    table = f"{_HEAD}\n{row}\n"
    yield _table("no last newline", table[:-1], Works.SAME)
    yield _table("CRLF", table.replace("\n", "\r\n"), Works.SAME)
    yield _table("a mark before it", b"\xef\xbb\xbf" + table.encode(), Works.SAME)
    yield _table("blank lines", f"{_HEAD}\n\n{row}\n\n", Works.SAME)
    yield _table(
        "quotation marks", f"{_HEAD}\n" + ",".join(f'"{v}"' for v in row.split(",")) + "\n", Works.SAME
    )
    yield _table("semicolons", table.replace(",", ";"), Works.SAME)
    yield _table("capitals", table.replace("path,text", "PATH,Text"), Works.ANY)
    yield _table("UTF-16", table.encode("utf-16"))
    yield _table("packed", gzip.compress(table.encode()), Works.NEVER)


def _heads(row: str) -> Iterator[Case]:
    yield _table("the head alone", f"{_HEAD}\n", Works.NEVER)
    yield _table("no head", f"{row}\n", Works.NEVER)
    yield _table("a column twice", f"path,{_HEAD}\nx,{row}\n")
    yield _table("a column without a name", f"{_HEAD},\n{row},\n")
    yield _table("no path", "text,speaker\nab,s\n", Works.NEVER)
    yield _table("20,000 columns", ",".join(f"c{i}" for i in range(20_000)) + "\n1\n", Works.NEVER)
    yield _table("a head of 3 million", "path," + "x" * 3_000_000 + f"\n{row}\n")
    yield _table("escapes in the head", _HEAD.replace("speaker", "\x1b[31m") + f"\n{row}\n")
    yield _table("NUL in the head", _HEAD.replace("speaker", "a\0b") + f"\n{row}\n")


def _rows(wav: str, row: str) -> Iterator[Case]:
    head = f"{_HEAD}\n"
    yield _table("a field too few", f"{head}{wav},ab,s,0\n", Works.NEVER)
    yield _table("a field too many", f"{head}{row},x\n", Works.NEVER)
    yield _table("half a quotation", f'{head}{wav},"ab,s,0,0.5\n', Works.NEVER)
    yield _table("quotation marks inside", f'{head}{wav},a"b"c,s,0,0.5\n')
    yield _table("a line break in a value", f'{head}{wav},"ab\ncab",s,0,0.5\n')
    yield _table("a row twice", f"{head}{row}\n{row}\n")
    yield _table("20,000 rows of nothing", head + "none.wav,ab,s,0,0.5\n" * 20_000, Works.NEVER)
    yield _table("a text of a million", f"{head}{wav},{'ab ' * 1_000_000},s,0,0.5\n")
    yield _table("odd words", f"{head}{wav},\x1b[31m <s> | \u2028 \u0301,s,0,0.5\n")
    yield _table("odd speakers", f"{head}{wav},ab,../\x1b\u2028 x,0,0.5\n")
    yield _table("NUL", f"{head}{wav},a\0b,s,0,0.5\n")
    yield _table("latin-1", f"{head}{wav},".encode() + b"caf\xe9,s,0,0.5\n")
    yield _table("splits of every kind", f"path,split\n{wav},../../x\n{wav},\x1b\n{wav},train\n")


def _times_in_a_column(wav: str) -> Iterator[Case]:
    def timed(name: str, value: str) -> Case:
        quoted = value.replace('"', '""')
        return _table(f"times: {name}", f'path,utt,word_times\n{wav},u,"{quoted}"\n')

    yield timed("right", _LIST)
    yield timed("no json", "0 0.1 a")
    yield timed("nested", "[" * 50_000)
    yield timed("no list", "{}")
    yield timed("backwards", '[[1, 0, "a"]]')
    yield timed("nan", '[[NaN, Infinity, "a"]]')
    yield timed("a huge number", f'[[0, 1{"0" * 5_000}, "a"]]')
    yield timed("half a character", '[[0, 0.1, "\\ud800"]]')
    yield timed("a tab and a line", '[[0, 0.1, "a\\tb\\nc"]]')
    yield timed("a million", json.dumps([[0, 0.1, "a"]] * 100_000))


def _json(wav: str) -> Iterator[Case]:
    def lines(name: str, *rows: object, works: Works = Works.ANY) -> Case:
        held = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        return _table(f"json: {name}", held, works, "it.jsonl")

    good = {"audio_filepath": wav, "text": "ab"}
    yield lines("right", good)
    yield lines("one that is none", good, "{", works=Works.NEVER)
    yield lines("nested", good, "[" * 100_000, works=Works.NEVER)
    yield lines("a list", [good])
    yield lines("a number for a path", {**good, "audio_filepath": 5})
    yield lines("an object for a path", {**good, "audio_filepath": {"path": wav}})
    yield lines("a list for a text", {**good, "text": ["ab"]})
    yield lines("true for an offset", {**good, "offset": True, "duration": None})
    yield lines("a huge offset", {**good, "offset": 10**400})
    yield lines("half a character", {**good, "text": "\ud800"})
    yield lines("nan", f'{{"audio_filepath": {json.dumps(wav)}, "offset": NaN, "duration": Infinity}}')
    yield lines("a key twice", f'{{"audio_filepath": "x", "audio_filepath": {json.dumps(wav)}}}')


# TextGrids


def _grid(xmin: str = "0", xmax: str = "0.6", tiers: str = "1", size: str = "2", first: str = '"ab"') -> str:
    return (
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n{xmin}\n{xmax}\n<exists>\n{tiers}\n'
        f'"IntervalTier"\n'
        f'"words"\n0\n0.6\n{size}\n0\n0.3\n{first}\n0.3\n0.6\n"cab"\n'
    )


def strange_grids(good: Path, seed: int) -> list[Case]:
    (good / "clip.TextGrid").write_text(_grid())
    huge = ("-1", "0", "1e3", "99999999999", "nan", "inf", "9" * 5_000, "x", "1e400")
    return [
        *(_called_clip(name, content) for name, content in {
            "CRLF": _grid().replace("\n", "\r\n"),
            "UTF-16": _grid().encode("utf-16"),
            "a mark before it": "\ufeff" + _grid(),
            "half a quotation": _grid(first='"ab'),
            "escapes": _grid(first='"\x1b[31m\u2028"'),
            "a tab": _grid(first='"a\tb"'),
            "NUL": _grid(first='"a\0b"'),
            "two tiers of words": _grid(tiers="2") + _grid().split("<exists>\n1\n")[1],
            "no tier": _grid(tiers="0"),
            "no words": _grid().replace('"words"', '"notes"'),
            "points": _grid().replace("IntervalTier", "TextTier"),
            "a label of a million": _grid(first='"' + "a" * 1_000_000 + '"'),
            "quotation marks alone": '"' * 100_000,
            "latin-1": _grid(first='"é"').encode("latin-1"),
        }.items()),
        *(_called_clip(f"{what} {v[:12]!r}, {len(v)}", _grid(**{what: v}))
          for what in ("tiers", "size", "xmax") for v in huge),
        *damaged(good / "clip.TextGrid", {**LOST, **TURNED, **FOREIGN, **mutated(6)}, Works.ANY, seed),
    ]  # fmt: skip


def whole_grid() -> Case:
    return _called_clip("the whole grid", _grid())


def _called_clip(name: str, content: str | bytes) -> Case:
    return text(name, content, "clip.TextGrid")


# weights

_WEIGHTS = {"best": [{"lm_weight": 1.5, "word_score": -0.5, "sil_score": 0.0}]}


def strange_weights() -> list[Case]:
    def weights(name: str, content: object, works: Works = Works.NEVER) -> Case:
        held = content if isinstance(content, str | bytes) else json.dumps(content)
        return text(name, held, "it.json", works=works)

    best = _WEIGHTS["best"][0]
    return [
        weights("other fields beside them", {**_WEIGHTS, "note": [1, {"a": None}]}, Works.SAME),
        weights("CRLF", json.dumps(_WEIGHTS, indent=1).replace("\n", "\r\n"), Works.SAME),
        weights("nothing", ""),
        weights("no json", "best: 1"),
        weights("nested", "[" * 200_000),
        weights("a list", [best]),
        weights("none of best", {"best": []}),
        weights("a number of best", {"best": 5}),
        weights("text of best", {"best": "ab"}),
        weights("one that lacks", {"best": [{"lm_weight": 1}]}),
        *(
            weights(f"a beam {v!r:.20}", {**_WEIGHTS, "options": ["--beam", v]})
            for v in ("many", "1" * 5000, "-1", "0", "nan", [1], None)
        ),
        *(weights(f"a weight {v!r:.20}", {"best": [{**best, "lm_weight": v}]})
          for v in (None, "1", True, [1], {}, float("nan"), float("inf"))),
        weights("a weight of 400 figures", json.dumps(_WEIGHTS).replace("1.5", "1" * 400)),
        weights("a weight of 5,000 figures", json.dumps(_WEIGHTS).replace("1.5", "1" * 5_000)),
        weights("a weight of 1e300", json.dumps(_WEIGHTS).replace("1.5", "1e300"), Works.ANY),
        weights("UTF-16", json.dumps(_WEIGHTS).encode("utf-16"), Works.ANY),
        weights("300 MB of blanks", " " * 300_000_000),
        *odd_places(".json"),
    ]  # fmt: skip


def whole_weights() -> Case:
    return text("the whole weights", json.dumps(_WEIGHTS), "it.json")
