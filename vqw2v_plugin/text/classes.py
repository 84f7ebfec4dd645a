"""states ──head──▶ class: what the columns of a head for whole utterances stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_MOST = 100_000


@dataclass(frozen=True)
class Classes:
    """The classes in the order of the scores [N]; each utterance is of one."""

    names: tuple[str, ...]
    kind: str = "class"  # as label folders call it

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= _MOST:
            raise ValueError(f"there are {len(self.names):,} classes; expected 2 to {_MOST:,} to tell apart")
        for name in self.names:
            if not isinstance(name, str) or not name or name.split() != [name]:
                raise ValueError(f"the class {name!r} is no name; expected a text without spaces")
        if len(self.labels) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"the class {twice!r} is there twice; expected each once")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def labels(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names)}

    def encode(self, labels: Sequence[str]) -> list[int]:
        """The column of the utterance's class."""
        return [self._columns[label] for label in labels]

    def frames_needed(self, columns: Sequence[int]) -> int:
        """One frame has a class."""
        return 1
