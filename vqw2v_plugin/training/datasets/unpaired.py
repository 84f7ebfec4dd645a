"""features ──generator──▶ phones, what it is fed: utterances, and as many lines of text that nobody has said.

Shapes: B batch, T frames of D features, N phones of a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...common.words import some_of
from ...corpora.batches import Ints
from ...stores.frames import TokenFrames
from ...stores.symbols import TokenError
from .base import BatchDataset, digest_of, pad_batch
from .label_join import UnequalRows
from .labelled import Source

NO_CLUSTER = -1
_MOST_OFF = 2  # frames by which an utterance's clusters may be fewer or more
_NAMED = 3


class Clusters:
    """An auxiliary cluster of each frame of features: of a token folder, every `step`-th."""

    def __init__(self, tokens: TokenFrames, step: int, count: int) -> None:
        if step < 1:
            raise ValueError(f"`target_downsample_rate` is {step}; expected 1 or more")
        self.tokens, self.step = tokens, step
        tokens.check_codes(1, count)

    def of(self, utt: str, frames: int) -> Tensor:  # [T]
        codes = self.tokens[utt][:: self.step, 0].astype(np.int64)
        if abs(len(codes) - frames) > _MOST_OFF:
            raise TokenError(
                f"{self.tokens.folder / self.tokens.split}: has {len(codes):,} clusters of {utt!r}, whose "
                f"features are {frames:,} frames, with `target_downsample_rate` {self.step}; expected as "
                "many: make both of the same audio"
            )
        found = np.full(frames, NO_CLUSTER, np.int64)
        size = min(frames, len(codes))
        found[:size] = codes[:size]
        return torch.from_numpy(found)


@dataclass(frozen=True)
class UnpairedUtterance:
    """What is heard, and a line of text that has nothing to do with it."""

    index: int
    utt: str
    source: Tensor  # [T, D]
    text: Tensor | None  # [N]
    clusters: Tensor | None  # [T]


class UnpairedDataset(BatchDataset[UnpairedUtterance]):
    """The line of an utterance is drawn by (seed, epoch, index), so that a killed run goes on with the same.

    `rows`: which utterances of the source there are; whatever belongs to one is found by it or its name.
    """

    def __init__(
        self,
        split: str,
        source: Source,
        rows: Ints,
        lines: UnequalRows | None = None,
        clusters: Clusters | None = None,
        **options: Any,
    ) -> None:
        super().__init__(source.name, source.sizes[rows], **options)
        self.split, self.source, self.rows = split, source, rows
        self.lines, self.clusters = lines, clusters
        self._check_clusters()

    def _check_clusters(self) -> None:
        if self.clusters is None:
            return
        utts = [self.utt(index) for index in range(len(self))]
        if without := [utt for utt in utts if utt not in self.clusters.tokens.places]:
            tokens = self.clusters.tokens
            raise TokenError(
                f"{tokens.folder / tokens.split}: has no clusters of {len(without):,} of the {len(utts):,} "
                f"utterances in {self.name} ({some_of(without, _NAMED)}); make them of the same audio"
            )

    def utt(self, index: int) -> str:
        return self.source.utts[int(self.rows[index])]

    def load(self, index: int) -> UnpairedUtterance:
        row, utt = int(self.rows[index]), self.utt(index)
        heard = torch.from_numpy(self.source.read(row))
        text = None
        if self.lines is not None:
            draw = np.random.default_rng(self.draw_key(index))
            text = torch.from_numpy(self.lines[int(draw.integers(len(self.lines)))])
        clusters = None if self.clusters is None else self.clusters.of(utt, len(heard))
        return UnpairedUtterance(index, utt, heard, text, clusters)

    def collate(self, items: Sequence[UnpairedUtterance], num_skipped: int) -> dict[str, Any]:
        """Zeros behind the ends."""
        heard = pad_batch([item.source for item in items])  # [B, T, D]
        inputs: dict[str, Any] = {"source": heard.values, "lengths": heard.lengths}
        texts = [item.text for item in items if item.text is not None]
        if texts:
            said = pad_batch(texts)  # [B, N]
            inputs |= {"text": said.values, "text_lengths": said.lengths}
        clusters = [item.clusters for item in items if item.clusters is not None]
        if clusters:
            inputs["targets"] = pad_batch(clusters, NO_CLUSTER).values  # [B, T]
        return {
            "id": torch.tensor([item.index for item in items], dtype=torch.int64),
            "utts": [item.utt for item in items],
            "split": self.split,
            "nsentences": len(items),
            "ntokens": int(heard.lengths.sum()),
            "net_input": inputs,
        }

    def order(self, indices: Ints) -> npt.NDArray[Any]:
        """Any: a batch is to hold utterances of all lengths, as it holds lines of all."""
        return np.zeros(len(indices), np.int64)

    def too_long(self, index: int) -> str:
        return f"({self.utt(index)}): raise it, or leave longer ones out by `max_frames`"

    def digest(self) -> str:
        """Of what is heard, and of the text."""
        text = () if self.lines is None else (self.lines.ends, self.lines.values)
        return digest_of(self.source.digest(), self.rows, *text)


def chosen_rows(source: Source, min_frames: int, max_frames: int | None) -> Ints:
    """Those that are neither too short nor too long."""
    keep = source.sizes >= max(1, min_frames)
    if max_frames is not None:
        keep &= source.sizes <= max_frames
    rows: Ints = np.flatnonzero(keep)
    return rows
