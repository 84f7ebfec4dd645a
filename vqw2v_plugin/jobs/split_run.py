"""A manifest's audio → tokens or features, the run as a whole: locked, resumed, ended by one of its ranks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..common.locks import Rank, claimed, one_at_a_time
from ..corpora.manifest import Manifest
from ..stores.shards import Shard, ShardFolder, Span
from .shard_run import Work, complete, make_shards


class Refused(NamedTuple):
    """An utterance that gave nothing."""

    utt: str
    path: str
    reason: str


@dataclass(frozen=True)
class SplitRun:
    """One split on its way into a folder; its functions know whether of tokens or features."""

    out: Path
    manifest: Manifest
    shards: ShardFolder
    spans: list[Span]
    settings: dict[str, object]
    work: Work
    published: Callable[[], bool]  # with these very settings; raises where it is with others
    merge: Callable[[], None]
    clear: Callable[[], None]

    @property
    def split(self) -> str:
        return split_name(self.manifest)

    def name(self, row: int) -> str:
        return readable(self.manifest[row].utt)

    def refused(self) -> list[Refused]:
        found = []
        for span in self.spans:
            for i, reason in sorted((self.shards.read(span.index) or Shard()).failed.items()):
                utterance = self.manifest[span.first + i]
                found.append(Refused(utterance.utt, utterance.path, reason))
        return found


@dataclass(frozen=True)
class Outcome:
    """What one process of a run has to say at its end."""

    state: str  # published, waiting (for other ranks), or there (since before)
    refused: tuple[Refused, ...] = ()


def split_name(manifest: Manifest) -> str:
    return Path(manifest.path).stem


def shard_folder(out: Path, manifest: Manifest) -> Path:
    return out / f".{split_name(manifest)}.parts"


def run_split(run: SplitRun, rank: Rank, refresh: bool = False, strict: bool = False) -> Outcome:
    """Makes what is missing of this rank's share; whoever finds all of it there puts it together."""
    if not len(run.manifest):
        raise ValueError(f"{run.manifest.path}: has no utterances, expected at least one; make it anew")
    if refresh and rank.total > 1:
        raise ValueError(
            "`--refresh` is for one process alone: run it once without torchrun, or delete the split"
        )
    with claimed(run.out, rank):
        if refresh:
            run.shards.remove()
            run.clear()
        elif run.published() and not run.shards.folder.exists():
            run.shards.remove()  # what a killed removal left
            return Outcome("there")
        run.shards.open(run.settings)
        make_shards(run.manifest, run.shards, run.spans, run.work, rank)
        with one_at_a_time(run.out):
            if not run.shards.folder.exists():
                return Outcome("there")
            if not complete(run.shards, run.spans):
                return Outcome("waiting")
            return _publish(run, strict)


def _publish(run: SplitRun, strict: bool) -> Outcome:
    for name in ("dict.txt", "tokens.json", "features.json", f"{run.split}.refused.tsv"):
        for path in run.out.glob(f".{name}.*"):  # what a killed run was writing: it is done here alone
            path.unlink()
    refused = run.refused()
    _write_refused(run.out / f"{run.split}.refused.tsv", refused)
    if refused and (strict or len(refused) == len(run.manifest)):
        wish = "`--strict` wants all of them" if len(refused) < len(run.manifest) else "that leaves none"
        raise ValueError(
            f"{len(refused)} of {len(run.manifest)} utterances of {run.manifest.path} gave nothing, and "
            f"{wish}: {readable(refused[0].reason)}; {run.out / run.split}.refused.tsv names them all: "
            f"mend them and run this again, which tries those alone"
        )
    run.merge()
    if not refused:
        run.shards.remove()
    return Outcome("published", tuple(refused))


def _write_refused(path: Path, refused: list[Refused]) -> None:
    if not refused:
        path.unlink(missing_ok=True)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with open(part, "w", encoding="utf-8", newline="\n") as file:
        file.write("utt\tpath\treason\n")
        for row in refused:
            file.write(
                "\t".join(readable(field).replace("\t", " ").replace("\n", " ") for field in row) + "\n"
            )
    os.replace(part, path)


def readable(name: str) -> str:
    """A name that is not UTF-8 is written with escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
