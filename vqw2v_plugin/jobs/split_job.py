"""A manifest's audio → tokens or features: the way of one split from the manifest over shards to files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..audio.reading import Samples, read_audio
from ..common.files import remove, sweep, writing_text
from ..common.locks import Rank, check_folder, claimed, one_at_a_time
from ..common.words import sentence
from ..corpora.manifest import Manifest, Utterance
from ..stores.folder import SplitFormat
from ..stores.shards import MissingShardError, Rows, ShardFolder, Span, plan
from .shard_run import complete, make_shards
from .work import Ahead, Heard, Together, Work


@dataclass(frozen=True)
class JobOptions:
    """What may be asked of every job."""

    workers: int = 1
    shard_minutes: float = 10.0
    refresh: bool = False
    strict: bool = False
    readers: int = field(default=0, kw_only=True)  # processes that read audio ahead of whoever encodes it


class Refused(NamedTuple):
    """An utterance that gave nothing."""

    utt: str
    path: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What one process of a run has to say at its end."""

    state: str  # published, waiting (for other ranks), or there (since before)
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Encoder:
    """What an utterance's frames [T, width] are, and what encodes them."""

    dtype: npt.DTypeLike
    width: int
    sample_rate: int
    device: torch.device


class SplitJob(ABC):
    """One split, made by one process or several; kills and numbers of processes do not change a byte of it.

    `model` is what the folder's json says of all its splits, `of_split` what it says of this one.
    """

    format: ClassVar[SplitFormat]
    gathers: ClassVar[bool] = False  # shards are moved to where they stay, one after the other
    options: JobOptions

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        options: JobOptions,
        encoder: Encoder,
        model: Mapping[str, Any],
        of_split: Mapping[str, Any],
    ) -> None:
        self.out, self.manifest, self.options = out, manifest, options
        self.split = split_name(manifest)
        self.model, self.of_split = dict(model), dict(of_split)
        self.settings = {**self.model, **self.of_split}
        self.shards = ShardFolder(out / f".{self.split}.parts", encoder.dtype, encoder.width, self.gathers)
        self.spans = plan(manifest.sizes, shard_samples(manifest, options.shard_minutes, encoder.sample_rate))
        prepare = one_thread if encoder.device.type == "cpu" else lambda: None
        read = partial(read_audio, sample_rate=encoder.sample_rate)
        together = Together(self.fits, self.begin)
        ahead = Ahead(options.readers, read, self.encode_read, together) if options.readers else None
        self._work = Work(self.encode, options.workers, prepare, ahead)

    @abstractmethod
    def encode(self, utterance: Utterance) -> Rows:  # [T, width]
        """An utterance's frames; AudioError where it has none."""

    @abstractmethod
    def encode_read(self, utterance: Utterance, audio: Samples) -> Rows:  # [T, width]
        """The same of its audio, which another process has read."""

    def fits(self, samples: Sequence[int]) -> bool:
        """Whether utterances of so many samples are best given to `begin` together."""
        return False

    def begin(self, heard: Heard) -> Callable[[], list[Rows]]:
        """As `encode_read`, of utterances that fit; the device works until what this returns is called."""
        raise NotImplementedError

    @abstractmethod
    def merge(self) -> None:
        """Shards → the split's files and its row in the json, all of them safe on the disk."""

    def run(self, rank: Rank) -> Outcome:
        """Makes what is missing of this rank's share; whoever finds all of it there puts it together."""
        self.check(rank)
        with claimed(self.out, rank):
            if self.options.refresh:
                self.shards.remove()
                self.clear()
            elif self.is_published() and not self.shards.folder.exists():
                self.shards.remove()  # what a killed removal left
                return Outcome("there")
            self.shards.open(self.begun_with())
            make_shards(self.manifest, self.shards, self.spans, self._work, rank)
            with one_at_a_time(self.out):
                if not self.shards.folder.exists():
                    return Outcome("there")
                if not complete(self.shards, self.spans):
                    return Outcome("waiting")
                try:
                    return self._publish()
                except MissingShardError:
                    if rank.total == 1:
                        raise
                    return Outcome("waiting")  # another rank tries again what failed, and publishes then

    def check(self, rank: Rank) -> None:
        """Refuses what cannot go well, before anything is encoded."""
        check_folder(self.out)
        self.format.check_one_model(self.out, self.split, self.model)
        if not self.shards.folder.exists():  # else a run of ours is on its way
            self.format.check_own(self.out, self.split)
        if not len(self.manifest):
            raise ValueError(f"{self.manifest.path}: has no utterances, expected at least one; make it anew")
        self.format.check_outputs(self.out, self.split)
        self.check_names()
        if self.options.refresh and rank.total > 1:
            raise ValueError(
                "`--refresh` is for one process alone: run it once without torchrun, or delete the split"
            )

    def check_names(self) -> None:
        """Each utterance is to have a name of its own, on one line."""
        seen: dict[str, int] = {}
        for row in range(len(self.manifest)):
            utt = self.name(row)
            if not utt or "\r" in utt or seen.setdefault(utt, row) != row:
                fault = "" if not utt or "\r" in utt else f", as in row {seen[utt] + 1}"
                raise ValueError(
                    f"{self.manifest.path}: row {row + 1} names the utterance {utt!r}{fault}; expected "
                    f"names that differ, not empty and without line breaks: mend the column utt"
                )

    def begun_with(self) -> dict[str, Any]:
        """What a run that was begun goes on with alone."""
        begun = {k: v for k, v in self.settings.items() if k not in self.format.later}
        return {**begun, "shard_minutes": self.options.shard_minutes}

    def is_published(self) -> bool:
        return self.format.is_published(self.out, self.split, self.settings)

    def clear(self) -> None:
        """Removes the split as it is."""
        self.format.clear(self.out, self.split)

    def _publish(self) -> Outcome:
        """The shards go last, once what replaces them is safe on the disk."""
        refused_path = self.out / f"{self.split}.refused.tsv"
        for path in (refused_path, self.out / self.format.about):
            sweep(path)
        refused = refused_of(self.shards, self.spans, self.manifest)
        _write_refused(refused_path, refused)
        if refused and (self.options.strict or len(refused) == len(self.manifest)):
            wish = "`--strict` wants all of them" if len(refused) < len(self.manifest) else "that leaves none"
            raise ValueError(
                f"{len(refused)} of {len(self.manifest)} utterances of {self.manifest.path} gave nothing, "
                f"and {wish}: {readable(refused[0].reason)}; {refused_path} names them all: mend them and "
                f"run this again, which tries those alone"
            )
        self.merge()
        for name in self.format.earlier_parts:  # of runs that an earlier version was killed at
            remove(self.out / f".{self.split}.{name}.part")
        if not refused:
            self.shards.remove()
        return Outcome("published", tuple(refused))

    def encoded(self) -> Iterator[tuple[list[str], list[Rows]]]:
        """Of each shard in turn: its utterances that have frames, and their frames [T, width]."""
        for span in self.spans:
            shard = self.shards.whole(span.index)
            if not any(shard.frames):
                continue
            held = np.asarray(self.shards.rows(span.index, shard))
            places = [i for i, frames in enumerate(shard.frames) if frames]
            ends = np.cumsum(shard.frames)
            names = [self.name(span.first + i) for i in places]
            yield names, [held[ends[i] - shard.frames[i] : ends[i]] for i in places]

    def name(self, row: int) -> str:
        """The utterance of a row of the manifest, as SPLIT.ids has it."""
        return readable(self.manifest[row].utt)


def refused_of(shards: ShardFolder, spans: Sequence[Span], manifest: Manifest) -> list[Refused]:
    """The manifest's utterances that gave nothing, in its order."""
    found = []
    for span in spans:
        for i, reason in sorted(shards.whole(span.index).failed.items()):
            utterance = manifest[span.first + i]
            found.append(Refused(utterance.utt, utterance.path, reason))
    return found


def split_name(manifest: Manifest) -> str:
    return Path(manifest.path).stem


def one_thread() -> None:
    """Codes so close that rounding decides must not depend on how a product was shared out."""
    torch.set_num_threads(1)


_MOST_MINUTES = 10_000_000  # twenty years


def shard_samples(manifest: Manifest, minutes: float, sample_rate: int) -> int:
    """Samples of a shard; where a file's rate is not in the manifest it counts as the model's."""
    if not 0 < minutes <= _MOST_MINUTES:
        raise ValueError(
            f"`--shard-minutes` is {minutes:g}; expected a number of minutes above 0, up to {_MOST_MINUTES:,}"
        )
    rate = sample_rate if manifest.rates is None or not len(manifest) else int(manifest.rates[0])
    return max(1, int(minutes * 60 * rate))


def _write_refused(path: Path, refused: list[Refused]) -> None:
    if not refused:
        remove(path)
        return
    with writing_text(path) as file:
        file.write("utt\tpath\treason\n")
        for row in refused:
            file.write("\t".join(map(sentence, row)) + "\n")


def readable(name: str) -> str:
    """A name that is not UTF-8 is written with escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
