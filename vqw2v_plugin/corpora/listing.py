"""What was said in wavs, without a look at them: the utterances of a manifest or a table, and its columns."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..audio.reading import AudioError, audio_info
from ..common.inputs import read_bytes
from .manifest import Manifest, ManifestError
from .sources import Refusal, SourceError, open_folder
from .sources.columns import match
from .sources.delimited import Table, open_table, rows


@dataclass(frozen=True)
class Listing:
    """Utterances by their ids, and the columns as they stand in the file."""

    utts: list[str]
    values: dict[str, list[str]]
    digest: str  # of the file's bytes
    seconds: list[float] | None = None  # where it says them
    speakers: list[str] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.values)


def read_listing(path: str | os.PathLike[str]) -> Listing:
    """Of a manifest, with lengths or without, or of a table with a header that names files or ids."""
    table = _table(os.fspath(path))
    if table is None:
        manifest = Manifest(path, lengths=False)
        utts = [manifest[i].utt for i in range(len(manifest))]
        values = {name: manifest.column(name) for name in manifest.columns}
        return Listing(utts, values, manifest.digest, _seconds(manifest), values.get("speaker"))
    held, known = _rows(os.fspath(path), table), match(table.columns)
    utts = [row[known["utt"]] for row in held] if "utt" in known else []
    if not all(count == 1 and utt for utt, count in Counter(utts).items()) or not utts:
        if "path" not in known:
            raise ManifestError(
                f"{path}: ids of its column {known['utt']} are empty or there twice; mend them"
            )
        utts = _names([row[known["path"]] for row in held])
    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    values = {name: [row[name] for row in held] for name in table.columns}
    return Listing(utts, values, digest, speakers=values.get(known.get("speaker", "")))


def _seconds(manifest: Manifest) -> list[float] | None:
    """By the column `rate` or, without one, by the first file; None where neither is there."""
    if "samples" not in manifest.columns or not len(manifest):
        return None
    try:
        rates = audio_info(manifest[0].path).sample_rate if manifest.rates is None else manifest.rates
    except AudioError:
        return None
    return [float(length) for length in manifest.sizes / rates]


def _table(path: str) -> Table | None:
    """None for what is read as a manifest, which has a `path` of its own or a root line."""
    if not os.path.isfile(path):
        return None
    folder = open_folder(path)
    found = open_table(folder, folder.files[0])
    if found is None or (found.delimiter == "\t" and "path" in found.columns):
        return None
    return found if {"path", "utt"} & match(found.columns).keys() else None


def _rows(path: str, table: Table) -> list[dict[str, str]]:
    held = []
    try:
        for item in rows(open_folder(path), table):
            if isinstance(item, Refusal):
                raise ManifestError(f"{os.path.dirname(path)}/{item.path}: {item.reason}".lstrip("/"))
            held.append({name: item[1].get(name, "") for name in table.columns})
    except SourceError as error:
        raise ManifestError(str(error)) from None
    return held


def _names(paths: Sequence[str]) -> list[str]:
    """Ids as manifests make them: the stem or, where two have it, with its folders."""
    stems = [os.path.splitext(path)[0] for path in paths]
    for names in ([os.path.basename(stem) for stem in stems], stems):
        if len(set(names)) == len(names):
            return names
    return [f"{stem}#{number}" for number, stem in enumerate(stems)]
