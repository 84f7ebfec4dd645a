"""Common Voice: clips/ with train.tsv, dev.tsv and test.tsv, or with validated.tsv alone."""

from collections.abc import Iterator

from .entry import Entry, Refusal, own_split, table_lines
from .folder import Folder

_SPLITS = ("train.tsv", "dev.tsv", "test.tsv")
_WHOLE = ("validated.tsv",)
_NEEDED = ("client_id", "path", "sentence")


def fits(folder: Folder) -> bool:
    return not folder.is_file and bool(_tables(folder))


def read(folder: Folder) -> Iterator[Entry | Refusal]:
    """The rows of the corpus' own tables; client_id is the speaker."""
    for table in _tables(folder):
        lines = table_lines(folder.join(table))
        columns = next(lines)[1].split("\t")
        split = own_split(table.removesuffix(".tsv")) if table in _SPLITS else ""
        for number, line in lines:
            fields = line.split("\t")
            if len(fields) != len(columns):
                yield Refusal(
                    f"{table}:{number}",
                    f"row has another number of fields than the table's header ({len(fields)} for "
                    f"{len(columns)}); mend the row",
                )
                continue
            row = dict(zip(columns, fields, strict=True))
            name = row["path"] if "." in row["path"] else f"{row['path']}.mp3"  # releases before the fourth
            yield Entry(
                path=f"clips/{name}",
                unit=name,
                utt=name.rpartition(".")[0],
                speaker=row["client_id"],
                lang=row.get("locale", ""),
                text=row["sentence"],
                split=split,
            )


def _tables(folder: Folder) -> list[str]:
    for names in (_SPLITS, _WHOLE):
        tables = [name for name in names if folder.has(name) and _is_ours(folder.join(name))]
        if tables:
            return tables
    return []


def _is_ours(path: str) -> bool:
    columns = next(table_lines(path), (0, ""))[1].split("\t")
    return all(name in columns for name in _NEEDED)
