"""fairseq's own manifests of wavs: SPLIT.tsv under a root line, SPLIT.wrd or SPLIT.ltr beside it."""

import os
from collections.abc import Iterator
from itertools import islice

from ...common.inputs import check_file
from .entry import Entry, Refusal, SourceError, own_split, table_lines
from .folder import Folder

_OURS = "refused.tsv"  # beside what `vqw2v manifest` wrote


def fits(folder: Folder) -> bool:
    return bool(_tables(folder))


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """Each manifest a split if its name says so; lengths are the files' own but where rows are pieces."""
    from ..manifest import Manifest, ManifestError  # numpy, which `vqw2v manifest --help` does without

    for name in _tables(folder):
        try:
            manifest = Manifest(folder.join(name))
        except ManifestError as error:
            raise SourceError(str(error)) from None
        stem = os.path.splitext(name)[0]
        texts = _texts(folder, stem, len(manifest))
        for number in range(len(manifest)):
            utterance = manifest[number]
            is_piece = manifest.starts is not None
            yield Entry(
                path=utterance.path.removeprefix(folder.root.rstrip("/") + "/"),
                unit=utterance.path,
                utt=utterance.utt if "utt" in manifest.columns else "",
                begin=utterance.start,
                end=utterance.start + utterance.samples if is_piece else None,
                counted=True,
                speaker=utterance.speaker or "",
                lang=utterance.lang or "",
                subset=utterance.extra.get("subset", ""),
                text=texts[number] if texts else utterance.extra.get("text", ""),
                split=own_split(os.path.basename(stem)),
            )


def _tables(folder: Folder) -> list[str]:
    if folder.is_file:
        return [name for name in folder.files if _is_manifest(folder.join(name))]
    if folder.has(_OURS):
        return []
    return [name for name in folder.at_top(".tsv") if _is_manifest(folder.join(name))]


def _is_manifest(path: str) -> bool:
    """A root line over a path and its number of samples, or over a line of names."""
    try:
        check_file(path)
        lines = [line for _, line in islice(table_lines(path), 2)]
    except (OSError, SourceError):
        return False
    if len(lines) < 2 or "\t" in lines[0] or "\t" not in lines[1]:
        return False
    fields = lines[1].lstrip("#").split("\t")
    names = [field.strip() for field in fields]
    return fields[-1].isdigit() if not lines[1].startswith("#") else "path" in names and "samples" in names


def _texts(folder: Folder, stem: str, num_rows: int) -> list[str]:
    """The words of each row, where fairseq's label files have them."""
    for suffix in (".wrd", ".ltr"):
        path = folder.join(stem + suffix)
        if not os.path.isfile(path):
            continue
        lines = [line for _, line in table_lines(path)]
        if len(lines) != num_rows:
            raise SourceError(
                f"{path}: has {len(lines):,} lines, {os.path.basename(stem)}.tsv {num_rows:,} rows; expected "
                "a line a row: make both anew, or move it away"
            )
        return lines if suffix == ".wrd" else ["".join(line.split()).replace("|", " ") for line in lines]
    return []
