"""A run as the page's sections see it: its trainings' curves, its codes and what they say about phones.

Shapes: T frames, N frames of all utterances, G groups, V codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..common.words import lines_of
from ..corpora.ctm import Segments
from ..corpora.manifest import Utterance
from ..recipes.folder import HYDRA_LOG, LOG, TRAIN_LOG, RunFolder, StageFolder, read_text
from ..stores.symbols import symbols_of
from .code_sources import CodeSource, find_sources
from .corpus_splits import Split, find_splits
from .curves import Curves, best_log
from .phone_codes import Bitrate, Codes, CodeUsage, PhoneCodeTable, code_usage, frame_phones, phone_code_table
from .pictures import Picture
from .run_results import (
    Abx,
    ErrorRates,
    MapRow,
    UsageRow,
    read_abx,
    read_errors,
    read_hypotheses,
    read_maps,
    read_usage,
)

_MOST_FRAMES = 2_000_000  # of existing tokens: five and a half hours


@dataclass(frozen=True)
class PageOptions:
    """What a user may ask the page to show."""

    utts: tuple[str, ...] = ()  # to be shown, in this order; some are chosen if there are none
    num_clips: int = 4
    clip_seconds: float = 6.0
    encode_minutes: float = 5.0  # of audio, if a checkpoint has to encode; 0: never
    corpus: str | None = None
    split: str | None = None  # for counts of codes
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class CodeStatistics:
    """How one source's codes are used over a split."""

    source: CodeSource
    split: str
    num_utterances: int
    counts: Codes  # [G, V]
    usage: CodeUsage
    bitrate: Bitrate
    table: PhoneCodeTable | None
    ranks: list[tuple[str, float]]  # (token, share of frames), the most frequent first


class RunView:
    """Everything is read when it is first asked for."""

    def __init__(
        self, run: RunFolder, options: PageOptions, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.run, self.options, self._say = run, options, say
        self.troubles: list[str] = []  # sentences about what could not be used

    @cached_property
    def trainings(self) -> dict[str, Curves]:
        """The curves of every stage with a log of fairseq."""
        found: dict[str, Curves] = {}
        for stage in self.run.stages:
            texts = [read_text(stage.path / name) for name in (HYDRA_LOG, TRAIN_LOG, LOG)]
            curves = best_log(texts)
            if curves.points or curves.settings:
                found[stage.name] = curves
        return found

    @cached_property
    def splits(self) -> list[Split]:
        return find_splits(self.run, self.options.corpus)

    @cached_property
    def sources(self) -> list[CodeSource]:
        found, troubles = find_sources(self.run, encode=self.options.encode_minutes > 0 and bool(self.splits))
        self.troubles += troubles
        return found

    @cached_property
    def statistics(self) -> list[CodeStatistics]:
        splits = self._counted_splits()
        found = []
        for source in self.sources:
            tried = (self._count(source, s.name, list(s.utterances.values()), s.phones) for s in splits)
            each = next((t for t in tried if t is not None), None)
            if each is None and source.known and self.options.split is None:  # its corpus was not found
                name, rows = max(source.known.items(), key=lambda item: len(item[1]))
                each = self._count(source, name, rows, {})
            if each is None:
                names = ", ".join(split.name for split in splits) or "any split"
                self.troubles.append(f"{source.name} has no codes for {names}: is it of another corpus?")
            else:
                found.append(each)
        return found

    @cached_property
    def errors(self) -> list[ErrorRates]:
        return read_errors(self.run, self.troubles)

    @cached_property
    def usage(self) -> list[UsageRow]:
        return read_usage(self.run, self.troubles)

    @cached_property
    def maps(self) -> list[MapRow]:
        return read_maps(self.run, self.troubles)

    @cached_property
    def abx(self) -> list[Abx]:
        return read_abx(self.run, self.troubles)

    @cached_property
    def hypotheses(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        return read_hypotheses(self.run, self.troubles)

    @property
    def planned(self) -> list[str]:
        """Stages that others need, or that the recipe's last stage lists, and that have not begun."""
        there = {stage.name for stage in self.run.stages}
        named = [name for stage in self.run.stages for name in stage.needs]
        return [name for name in dict.fromkeys([*self.run.listed, *named]) if name not in there]

    def state(self, stage: StageFolder) -> str:
        """As the stage's marks say; `failed` where its log ends in an exception."""
        if stage.state == "unfinished" and self.failure(stage):
            return "failed"
        return stage.state

    def failure(self, stage: StageFolder) -> str:
        """The sentence with which an unfinished stage ended."""
        if stage.state == "done":
            return ""
        text = read_text(stage.path / LOG)
        own = next((line for line in reversed(lines_of(text)[-5:]) if line.startswith("vqw2v: error:")), "")
        return own or best_log([text]).failure

    def _counted_splits(self) -> list[Split]:
        """The one that was asked for, or all: those with phone times first, the largest first."""
        if self.options.split is not None:
            named = [split for split in self.splits if split.name == self.options.split]
            if not named:
                there = ", ".join(split.name for split in self.splits) or "none"
                raise ValueError(f"`--split` is {self.options.split!r}; the run's splits are: {there}")
            return named[:1]

        def rank(split: Split) -> tuple[bool, int]:
            return not split.times_file("phones").is_file(), -int(split.manifest.sizes.sum())

        return sorted(self.splits, key=rank)

    def _count(
        self, source: CodeSource, split: str, rows: list[Utterance], segments: Mapping[str, Segments]
    ) -> CodeStatistics | None:
        rows = self._budget(source, rows)
        if source.encodes:
            self._say(f"encoding {len(rows)} utterances with {self.run.short(source.origin)}")
        codes = {utt: part for utt, part in source.codes(rows).items() if len(part)}
        together = np.concatenate([np.zeros((0, source.num_groups), np.int64), *codes.values()])  # [N, G]
        together = together[(together >= 0).all(axis=1)]  # without tokens that the dictionary lacks
        if not len(together):
            return None
        usage = code_usage(together, source.num_codes)
        kept, phones = frame_phones(codes, segments, source.times)
        names, counts = _ranked(together)
        return CodeStatistics(
            source=source,
            split=split,
            num_utterances=len(codes),
            counts=np.stack([np.bincount(column, minlength=source.num_codes) for column in together.T]),
            usage=usage,
            bitrate=Bitrate.of(codes.values(), usage, source.times.rate),
            table=phone_code_table(kept, phones) if phones else None,
            ranks=list(zip(names, (counts / len(together)).tolist(), strict=True)),
        )

    def _budget(self, source: CodeSource, rows: list[Utterance]) -> list[Utterance]:
        """As many utterances as there is time for, spread over the split."""
        seconds = np.array([row.samples / (row.rate or source.times.sample_rate) for row in rows])
        most = self.options.encode_minutes * 60 if source.encodes else _MOST_FRAMES / source.times.rate
        if seconds.sum() <= most:
            return rows
        order = np.argsort(
            np.arange(len(rows)) * 0.6180339887 % 1.0
        )  # evenly, also over speakers who follow each other
        enough = int(np.searchsorted(np.cumsum(seconds[order]), most)) + 1
        return [rows[i] for i in np.sort(order[:enough]).tolist()]


def _ranked(codes: Codes) -> tuple[list[str], Codes]:  # [N, G]
    """Tokens and their counts, the most frequent first."""
    names, ids = symbols_of(codes)
    counts = np.bincount(ids)
    order = np.argsort(-counts, kind="stable")
    return [names[i] for i in order.tolist()], counts[order]
