"""How models learn, what they are fed: what the data sets of audio, of tokens and of labels share.

B batch, S samples, T frames, D features. An item is drawn by (seed, epoch, index) alone, not by the worker
that draws it; items that cannot be read are named, counted and skipped.
"""

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from fairseq.data import FairseqDataset
from torch import Tensor

from ...audio.reading import AudioError
from ...common.words import sentence
from ...corpora.batches import BatchLimits, Ints, cut_padded
from ...modules.layers.padding import padding

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Unreadable:
    """An item that could not be read."""

    index: int
    reason: str


class BatchDataset(FairseqDataset, Generic[Item]):
    """A split of items by number, each of a size.

    A data set of its own says how an item is read (`load`) and how items become a batch (`collate`), and
    may say in which order they come, how batches are cut, and what is to be done where one does not fit.
    """

    unit = "utterance"  # what an item is called
    digested = "its content"  # what its digest is of

    def __init__(
        self, name: str, sizes: Ints, seed: int = 1, shuffle: bool = True, strict: bool = False
    ) -> None:
        """`sizes` count in samples, frames or tokens; `strict`: stop where an item cannot be read."""
        super().__init__()
        self.name, self.sizes = name, sizes
        self.seed, self.shuffle, self.strict = seed, shuffle, strict
        # Shared with the worker processes: they may outlive an epoch, and what they find is counted here.
        self._epoch = _shared(torch.ones(1, dtype=torch.int64))
        self._is_bad = _shared(torch.zeros(len(sizes), dtype=torch.bool))
        self._num_reported = 0

    def load(self, index: int) -> Item:
        """One item; an `AudioError` where it cannot be read."""
        raise NotImplementedError

    def collate(self, items: Sequence[Item], num_skipped: int) -> dict[str, Any]:
        """One batch, of one item at least."""
        raise NotImplementedError

    def cut(self, indices: Ints, limits: BatchLimits) -> list[Ints]:
        """Batches of neighbours, as many in each as fit."""
        return self.cut_sized(indices, self.num_tokens_vec(indices), limits)

    def cut_sized(self, indices: Ints, sizes: Ints, limits: BatchLimits) -> list[Ints]:
        """The same, where the sizes are known; padding counts."""
        return cut_padded(indices, sizes, limits)

    def drawn(self) -> Ints:
        """What an epoch consists of: each item once."""
        return np.arange(len(self))

    def order(self, indices: Ints) -> npt.NDArray[Any]:
        """What items are sorted by, the largest first; equal ones come in random order."""
        return self.num_tokens_vec(indices)

    def hours(self, items: Ints) -> tuple[float, float]:
        """Of audio that so many items are of, and as much of it as is heard in a pass."""
        raise NotImplementedError

    def column(self, name: str) -> list[str]:
        """What the manifest says of each item."""
        raise ValueError(f"{self.name}: has no manifest, so no column {name!r}")

    def too_long(self, index: int) -> str:
        """Behind the size of the longest item, where it is above `max_tokens`: of what, and the remedy."""
        raise NotImplementedError

    def digest(self) -> str:
        """The same for data sets with the same content, wherever it lies."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Item | Unreadable:
        index = int(index)
        try:
            return self.load(index)
        except AudioError as error:
            self.note_unreadable(index, error)
            return Unreadable(index, str(error))

    def collater(self, samples: Sequence[Item | Unreadable]) -> dict[str, Any]:
        """One batch; `{}`, which fairseq's trainer passes over, if nothing in it could be read."""
        items = [sample for sample in samples if not isinstance(sample, Unreadable)]
        return self.collate(items, len(samples) - len(items)) if items else {}

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: an epoch's batches must depend on that epoch alone, or a resumed run would get others."""
        return False

    def set_epoch(self, epoch: int) -> None:
        """Other draws; fairseq always gives validation sets epoch 1, so theirs stay the same."""
        self.report_skipped()
        self._epoch[0] = epoch

    def in_epoch(self, epoch: int) -> "BatchDataset[Item]":
        """The same items, as that epoch draws them."""
        seen = copy.copy(self)
        seen._epoch = torch.tensor([epoch])
        return seen

    def draw_key(self, index: int) -> list[int]:
        """What an item's draws depend on."""
        return [abs(self.seed), int(self._epoch), index]

    def draw_seed(self, index: int) -> int:
        """Of an item's masks."""
        draw = np.random.SeedSequence(self.draw_key(index)).generate_state(1, np.uint64)
        return int(draw[0] >> np.uint64(1))

    def generator(self, index: int) -> torch.Generator:
        """For an item's masks."""
        return torch.Generator().manual_seed(self.draw_seed(index))

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: Ints) -> Ints:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> Ints:
        """The largest first, equal ones in random order (fairseq seeds numpy around this call)."""
        indices = self.drawn()
        if not self.shuffle:
            return indices
        ties = np.random.permutation(len(indices))  # noqa: NPY002 (the generator that fairseq seeds)
        return indices[np.lexsort((ties, self.order(indices)))[::-1]]

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """All of them: what does not fit has been cut or left out, by name."""
        return indices, []

    def batch_by_size(
        self,
        indices: Ints,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[Ints]:
        """Batches, the first a readable one: fairseq's trainer stands it in wherever a batch is empty."""
        indices = np.asarray(indices)
        if not len(indices):
            return []
        if max_tokens:
            self.check_fits(indices, max_tokens)
        limits = BatchLimits(max_tokens, max_sentences, required_batch_size_multiple)
        return self._readable_first(self.cut(indices, limits))

    def check_fits(self, indices: Ints, max_tokens: int) -> None:
        """Refuses an item that is longer than a batch may be."""
        sizes = self.num_tokens_vec(indices)
        longest = int(sizes.argmax())
        if sizes[longest] > max_tokens:
            raise ValueError(
                f"max_tokens ({max_tokens}) must be at least the longest {self.unit}'s "
                f"{sizes[longest]} {self.too_long(int(indices[longest]))}"
            )

    @property
    def num_skipped(self) -> int:
        """How many different items could not be read so far, in all worker processes."""
        return int(self._is_bad.sum())

    def report_skipped(self) -> None:
        """Logs the number of unreadable items if it has grown."""
        if self.num_skipped > self._num_reported:
            self._num_reported = self.num_skipped
            logger.warning(
                "%s: %d of %d utterances could not be read so far and were skipped (each is named above)",
                *(self.name, self._num_reported, len(self)),
            )

    def note_unreadable(self, index: int, error: AudioError) -> None:
        """Names an unreadable item, once, and counts it."""
        if self.strict:
            raise error
        if not self._is_bad[index]:
            self._is_bad[index] = True
            logger.warning("skipped: %s", sentence(str(error)))

    def _readable_first(self, batches: list[Ints]) -> list[Ints]:
        reason = ""
        for i, batch in enumerate(batches):
            for index in batch:
                sample = self[index]
                if not isinstance(sample, Unreadable):
                    batches[0], batches[i] = batches[i], batches[0]
                    return batches
                reason = reason or sample.reason
        raise AudioError(
            f"{self.name}: none of its {len(self)} utterances could be read; "
            f"the first of these errors: {reason}"
        )


@dataclass(frozen=True)
class Padded:
    """Sequences of different lengths as one tensor."""

    values: Tensor  # [B, T, …]
    lengths: Tensor  # [B]

    @property
    def mask(self) -> Tensor:
        """[B, T], True on padding."""
        return padding(self.lengths, self.values.size(1))


def digest_of(*parts: str | npt.NDArray[Any]) -> str:
    """SHA-256 of texts and arrays, each with its length, so that none runs over into the next."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part.tobytes()
        found.update(f"{len(content)} ".encode() + content)
    return found.hexdigest()


def pad_batch(sequences: Sequence[Tensor], value: float = 0) -> Padded:
    """Sequences [S] or [T, D], with `value` behind their ends."""
    values = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=value)
    return Padded(values, torch.tensor([len(sequence) for sequence in sequences]))


def _shared(tensor: Tensor) -> Tensor:
    return tensor.share_memory_()  # type: ignore[no-untyped-call, no-any-return]
