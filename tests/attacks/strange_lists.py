"""Manifests: what no row can say, rows without end, files that are no table."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attempts import Case, Works
from damage import FOREIGN, LOST, TURNED, damaged, mutated, text
from odd_places import NAMES, fifo, odd_places

_COUNTS = (
    "-1",
    "0",
    "1",
    "500",
    "99999",
    "1e3",
    "3.5",
    "nan",
    "",
    " ",
    "9" * 5_000,
    str(2**63),
    "0x10",
    "١",
    "+5",
)
_STARTS = ("-5", "1e18", str(2**63 - 1), str(10**30), "nan", "x", "")
_PATHS = (
    *(
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "a\\tb",
        "x" * 5_000,
        "clip.wav/",
        "//",
        "sub/../clip.wav",
    ),
    *(
        "\x1b[31m.wav",
        "\u202e.wav",
        "http://x/y",
        "clip.wav:0:100",
        "clip.wav\u2028",
        "pipe.wav",
        *NAMES.values(),
    ),
)
_UTTS = (
    "a/b",
    "../x",
    ".",
    "",
    "a b",
    "\x1b",
    "a\u2028b",
    "a" * 5_000,
    "/abs",
    "<s>",
    "-x",
    "a\\n",
    "\ufeff",
)
_ROOTS = ("/nowhere", "", "/dev", "relative", "/proc", "\x1b", "x" * 5_000)


def strange_lists(good: Path, seed: int) -> list[Case]:
    root = str(good)
    head, row = (
        f"{root}\n# path\tsamples\ttext\n",
        good.joinpath("clip.tsv").read_text().split("\n")[2] + "\tab cab",
    )
    samples = row.split("\t")[1]
    fifo(good / "pipe.wav") if not (good / "pipe.wav").exists() else None
    return [
        *_same(head, row),
        *_rows(root, head, row),
        *(_list(f"{v[:12]!r} samples", f"{head}clip.wav\t{v}\tab\n") for v in _COUNTS),
        *(_list(f"starts at {v[:12]!r}", _segment(root, v)) for v in _STARTS),
        *(
            _list(f"the path {v[:12]!r}, {len(v)}", f"{head}{v}\t{samples}\tab\n")
            for v in _PATHS
            if "\0" not in v
        ),
        *(_list(f"called {v[:12]!r}", _called(root, v, samples)) for v in _UTTS),
        *(_list(f"the root {v[:12]!r}", f"{v}\n# path\tsamples\ttext\n{row}\n") for v in _ROOTS),
        *damaged(good / "clip.tsv", {**LOST, **TURNED, **FOREIGN, **mutated(10)}, Works.ANY, seed),
        *odd_places(".tsv", works=Works.NEVER),
    ]


def whole(good: Path) -> Case:
    row = good.joinpath("clip.tsv").read_text().split("\n")[2] + "\tab cab"
    return _list("the whole list", f"{good}\n# path\tsamples\ttext\n{row}\n")


def _list(name: str, content: str | bytes, works: Works = Works.ANY) -> Case:
    held = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    return text(name, held, "it.tsv", works=works)._replace(says=("samples", "start", "path", "utt", "root"))


def _same(head: str, row: str) -> Iterator[Case]:
    """Written otherwise."""
    table = f"{head}{row}\n"
    yield _list("no last newline", table[:-1], Works.SAME)
    yield _list("CRLF", table.replace("\n", "\r\n"), Works.SAME)
    yield _list("a mark before it", b"\xef\xbb\xbf" + table.encode(), Works.SAME)
    yield _list("blank lines", f"{head}\n\n{row}\n\n", Works.SAME)
    yield _list("CR", table.replace("\n", "\r"), Works.SAME)
    yield _list("UTF-16", table.encode("utf-16"), Works.SAME)
    yield _list("UTF-32", table.encode("utf-32"), Works.SAME)
    yield _list("packed", gzip.compress(table.encode()), Works.SAME)


def _rows(root: str, head: str, row: str) -> Iterator[Case]:
    path, samples, _ = row.split("\t")
    yield _list("the root alone", f"{root}\n", Works.NEVER)
    yield _list("the head alone", head)
    yield _list("stock's", f"{root}\n{path}\t{samples}\n")
    yield _list("a column too few", f"{head}clip.wav\n", Works.NEVER)
    yield _list("columns too many", f"{head}{row}\tx\ty\n", Works.NEVER)
    yield _list("a row twice", f"{head}{row}\n{row}\n")
    yield _list("a column twice", f"{root}\n# path\tsamples\tsamples\n{row}\n")
    yield _list("no samples", f"{root}\n# path\ttext\nclip.wav\tx\n", Works.NEVER)
    yield _list("columns without names", f"{root}\n# path\tsamples\t\t\n{path}\t{samples}\t\t\n")
    yield _list("NUL", f"{head}clip\0.wav\t3\tx\n")
    yield _list("latin-1", head.encode() + b"clip\xe9.wav\t3\tx\n")
    yield _list(
        "20,000 columns", f"{root}\n# " + "\t".join(f"c{i}" for i in range(20_000)) + "\n", Works.NEVER
    )
    yield _list("a line of 3 million", f"{head}{path}\t{samples}\t{'x' * 3_000_000}\n")
    yield _list("a million words", f"{head}{path}\t{samples}\t{'ab ' * 1_000_000}\n")
    yield _list("20,000 rows", head + "".join(f"none{i}.wav\t5\tx\n" for i in range(20_000)))
    yield _list("odd words", f"{head}{path}\t{samples}\t\x1b[31m <s> | <unk> \u0301\n")
    yield _list("no words", f"{head}{path}\t{samples}\t\n")
    yield _list("json", '{"a": 1}')
    yield _list("HTML", "<html>")


def _segment(root: str, start: str) -> str:
    return f"{root}\n# path\tsamples\tstart\tutt\ttext\nclip.wav\t1000\t{start}\tu\tab\n"


def _called(root: str, utt: str, samples: str) -> str:
    rows = "".join(f"clip.wav\t{samples}\t{name}\ts\tab\n" for name in (utt, "other"))
    return f"{root}\n# path\tsamples\tutt\tspeaker\ttext\n{rows}"


def beside(split: str, good: Path, path: str, folder: Path) -> Path:
    """A folder in which the file is the manifest of this split, and the other is whole."""
    folder.mkdir(parents=True)
    other = "valid" if split == "train" else "train"
    (folder / f"{other}.tsv").symlink_to(good / f"data/{other}.tsv")
    (folder / f"{split}.tsv").symlink_to(path)
    return folder


link_as_train = partial(beside, "train")
