"""The list of the picture's wavs: a tab-separated row for each utterance (manifests/README.md).

Only the file's bytes and offsets are kept, and rows are parsed on demand: workers share them uncopied.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..audio.clip import HIGHEST_RATE, Clip
from ..common.files import writing_text
from ..common.inputs import UTF8_MARK, read_bytes

_SHOWN, _MOST_NAMED = 60, 12  # bytes of a value and columns, in messages
PLAIN_COLUMNS = ("path", "samples")
_ALIASES = {"n_samples": "samples"}
_OWN_COLUMNS = ("path", "samples", "utt", "start", "rate", "speaker", "lang")
_MOST = 10**12  # samples: at any rate, what is counted fits into 64 bits
_BOUNDS = {"samples": (0, _MOST), "start": (0, _MOST), "rate": (1, HIGHEST_RATE)}  # whole numbers


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class Utterance(Clip):
    """One row: a clip, its id, and whatever else the row says."""

    samples: int = 0
    utt: str = ""
    speaker: str | None = None
    lang: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


class Manifest:
    """A manifest file: `manifest[i]` is an `Utterance`, `manifest.sizes` the samples of all rows."""

    def __init__(self, path: str | os.PathLike[str], lengths: bool = True) -> None:
        """Without `lengths`, a table that has none may be read too: all its sizes are 0."""
        self.path, self._needed = os.fspath(path), PLAIN_COLUMNS if lengths else PLAIN_COLUMNS[:1]
        self._blob = _read_bytes(self.path)
        self.root, self.columns, first = self._read_head()
        self._begins, self._ends = self._find_rows(first)
        numbers = self._read_numbers()
        self.sizes = numbers.get("samples", np.zeros(len(self), np.int64))
        self.starts, self.rates = numbers.get("start"), numbers.get("rate")
        self._id_depth = 0
        if "utt" in self.columns:
            self._check_given_ids()
        else:
            while self._id_depth < 2 and len({self._made_id(i) for i in range(len(self))}) < len(self):
                self._id_depth += 1

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, index: int) -> Utterance:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, asked for row {index}")
        index %= len(self)
        row = dict(zip(self.columns, self._fields(index), strict=True))
        return Utterance(
            path=os.path.join(self.root, row["path"]),
            samples=int(self.sizes[index]),
            utt=row["utt"] if "utt" in row else self._made_id(index),
            start=0 if self.starts is None else int(self.starts[index]),
            rate=None if self.rates is None else int(self.rates[index]),
            speaker=row.get("speaker"),
            lang=row.get("lang"),
            extra={name: value for name, value in row.items() if name not in _OWN_COLUMNS},
        )

    def column(self, name: str) -> list[str]:
        """All values of one column, as they stand in the file."""
        name = _ALIASES.get(name, name)
        if name not in self.columns:
            raise ManifestError(
                f"{self.path} has no column {name!r}; it has {', '.join(self.columns)}: "
                f"ask for one of these, or add the column to the manifest"
            )
        position = self.columns.index(name)
        return [self._fields(i)[position] for i in range(len(self))]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes, for records of what was made from this manifest."""
        return hashlib.sha256(self._blob).hexdigest()

    @cached_property
    def rows_digest(self) -> str:
        """SHA-256 of the columns' names and the rows: the same for a corpus that lies in another folder."""
        begin = int(self._begins[0]) if len(self) else len(self._blob)
        return hashlib.sha256(_encode("\t".join(self.columns)) + b"\n" + self._blob[begin:]).hexdigest()

    def _read_head(self) -> tuple[str, tuple[str, ...], int]:
        """The root folder, the columns, and where the rows begin."""
        folder = os.path.dirname(os.path.abspath(self.path))
        line, after = self._line_at(0)
        if not line.strip():
            raise ManifestError(
                f"{self.path}:1: got an empty line, expected the root folder of the paths below"
            )
        if "\t" in line:
            return folder, _parse_header(line.split("\t"), f"{self.path}:1", self._needed), after
        below, after_header = self._line_at(after)
        names = below.lstrip("#").split("\t")
        # A path may begin with "#" too, but the last field of a plain row is a number.
        if below.startswith("#") and not names[-1].isdigit():
            return (
                _find_root(line, folder),
                _parse_header(names, f"{self.path}:2", self._needed),
                after_header,
            )
        return _find_root(line, folder), PLAIN_COLUMNS, after

    def _line_at(self, begin: int) -> tuple[str, int]:
        end = self._blob.find(b"\n", begin)
        end = len(self._blob) if end < 0 else end
        return _decode(self._blob[begin:end].removesuffix(b"\r")), end + 1

    def _find_rows(self, first: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where each row begins and ends; blank lines are no rows."""
        text = np.frombuffer(self._blob, dtype=np.uint8)
        ends = np.append(np.flatnonzero(text[first:] == ord("\n")) + first, len(text))
        begins = np.append(min(first, len(text)), ends[:-1] + 1)
        ends = ends - ((ends > begins) & (text[ends - 1] == ord("\r")))
        is_row = ends > begins
        return begins[is_row].astype(np.int64), ends[is_row].astype(np.int64)

    def _read_numbers(self) -> dict[str, npt.NDArray[np.int64]]:
        """The columns of whole numbers; checks every row on the way."""
        positions = [(name, self.columns.index(name)) for name in _BOUNDS if name in self.columns]
        path_position = self.columns.index("path")
        numbers = {name: np.empty(len(self), dtype=np.int64) for name, _ in positions}
        for i in range(len(self)):
            fields = self._bytes(i).split(b"\t")
            if len(fields) != len(self.columns):
                raise ManifestError(
                    f"{self._where(i)}: got {len(fields)} tab-separated fields, expected "
                    f"{len(self.columns)} ({', '.join(self.columns)}); mend the row, or announce further "
                    f"columns in a header line '# path<TAB>samples<TAB>…' under the root line"
                )
            if not fields[path_position]:
                raise ManifestError(
                    f"{self._where(i)}: column path is empty, expected the path of an audio file"
                )
            for name, position in positions:
                value = fields[position]
                least, most = _BOUNDS[name]
                if not value.isdigit() or len(value) > 18 or not least <= int(value) <= most:
                    raise ManifestError(
                        f"{self._where(i)}: column {name} is {_shown(value)}, expected a whole number from "
                        f"{least:,} to {most:,}; is the order of the columns {', '.join(self.columns)}?"
                    )
                numbers[name][i] = int(value)
        return numbers

    def _check_given_ids(self) -> None:
        position = self.columns.index("utt")
        seen: dict[bytes, int] = {}
        for i in range(len(self)):
            utt = self._bytes(i).split(b"\t")[position]
            first = seen.setdefault(utt, i)
            if first != i:
                raise ManifestError(
                    f"{self._where(i)}: column utt is {_decode(utt)!r}, as on line {self._line(first)}; "
                    f"expected an id of its own for every row: rename one, or leave the column out"
                )

    def _made_id(self, index: int) -> str:
        """The path's stem, with its folders if stems clash, and with the row's number if those clash too."""
        stem = os.path.splitext(self._fields(index)[self.columns.index("path")])[0]
        made = os.path.basename(stem) if self._id_depth == 0 else stem
        if self.starts is not None:
            made += f"_{self.starts[index]}-{self.starts[index] + self.sizes[index]}"
        return f"{made}#{index}" if self._id_depth == 2 else made

    def _bytes(self, index: int) -> bytes:
        return self._blob[self._begins[index] : self._ends[index]]

    def _fields(self, index: int) -> list[str]:
        return _decode(self._bytes(index)).split("\t")

    def _line(self, index: int) -> int:
        return self._blob.count(b"\n", 0, int(self._begins[index])) + 1

    def _where(self, index: int) -> str:
        return f"{self.path}:{self._line(index)}"


def write_manifest(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str],
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str] = PLAIN_COLUMNS,
) -> None:
    """Writes rows under a root line, all or nothing; fairseq's own two columns need no header line."""
    target = Path(path)
    _parse_header(list(columns), str(target))
    header = [] if tuple(columns) == PLAIN_COLUMNS else ["# " + "\t".join(columns)]
    with writing_text(target, errors="surrogateescape") as file:
        file.writelines(f"{line}\n" for line in [os.fspath(root), *header])
        for number, row in enumerate(rows, start=2 + len(header)):
            fields = [_field(row, name, f"{target}:{number}") for name in columns]
            file.write("\t".join(fields) + "\n")


def _field(row: Mapping[str, object], name: str, where: str) -> str:
    if name not in row:
        raise ManifestError(f"{where}: the row has no {name!r}, only {', '.join(map(str, row))}")
    value = str(row[name])
    if any(character in value for character in "\t\n\r"):
        raise ManifestError(f"{where}: column {name} is {value!r}, expected no tab and no line break in it")
    return value


def _parse_header(names: list[str], where: str, needed: Sequence[str] = PLAIN_COLUMNS) -> tuple[str, ...]:
    columns = tuple(_ALIASES.get(name.strip(), name.strip()) for name in names)
    got = ", ".join(repr(name.strip()[:_SHOWN]) for name in names[:_MOST_NAMED])
    got += f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ManifestError(
            f"{where}: got the columns {got}, without {' and '.join(missing)}; expected the root folder on "
            f"line 1, or a header row that names path and samples (or n_samples) among its columns"
        )
    if len(set(columns)) < len(columns) or "" in columns:
        raise ManifestError(f"{where}: got the columns {got}; expected each to have a name of its own")
    return columns


def _find_root(line: str, folder: str) -> str:
    """A relative root starts at the manifest's folder or, as with fairseq, at the working folder."""
    beside = os.path.normpath(os.path.join(folder, line))
    return os.path.abspath(line) if os.path.isdir(line) and not os.path.isdir(beside) else beside


def _read_bytes(path: str) -> bytes:
    try:
        blob = read_bytes(path).removeprefix(UTF8_MARK)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(
            f"{path}: {reason}, expected a manifest; correct the path, or make one with `vqw2v manifest`"
        ) from error
    if b"\0" in blob:
        line = blob.count(b"\n", 0, blob.find(b"\0")) + 1
        raise ManifestError(
            f"{path}:{line}: holds a NUL, as text in UTF-16 does, expected a manifest in UTF-8; convert it"
        )
    return blob


def _shown(value: bytes) -> str:
    """For a message: the beginning, if it is long."""
    return repr(_decode(value[:_SHOWN])) + ("…" if len(value) > _SHOWN else "")


def _decode(text: bytes) -> str:
    """File names need not be UTF-8; `surrogateescape` keeps such names openable."""
    return text.decode("utf-8", errors="surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
