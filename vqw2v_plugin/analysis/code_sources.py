"""wav → tokens, from a run's token folders or, if it made none, from its checkpoints.

Shapes: T frames, G groups. torch is imported only when a checkpoint has to encode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..corpora.manifest import Utterance
from ..recipes.folder import HYDRA, LOG, RunFolder, StageFolder, read_text
from ..stores.frames import FrameTimes, TokenFrames
from ..stores.symbols import TOKENS
from .phone_codes import Codes

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

_MODEL = "vq_wav2vec"


@dataclass(frozen=True)
class CodeSource(ABC):
    """Something that gives the codes of utterances."""

    name: str  # of the stage, as the page calls it
    origin: str  # the file or folder
    num_groups: int
    num_codes: int
    times: FrameTimes
    encodes: ClassVar[bool] = False  # whether a network has to encode, which takes time

    @property
    def known(self) -> dict[str, list[Utterance]]:
        """The utterances of each split, if it knows them by itself."""
        return {}

    @abstractmethod
    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        """[T, G] of each utterance that it knows."""


@dataclass(frozen=True)
class TokenSource(CodeSource):
    """A folder that `vqw2v discretize` wrote; frames whose token was not in its dictionary are -1."""

    frames: Mapping[str, TokenFrames]  # of each split

    @classmethod
    def of(cls, name: str, folder: Path) -> TokenSource:
        about = TOKENS.read_about(folder)
        num_groups, num_codes = int(about["num_groups"]), int(about["num_codes"])
        times = FrameTimes(*(int(about[key]) for key in ("stride", "receptive_field", "sample_rate")))
        frames = {split: TokenFrames(folder, split) for split in TOKENS.splits(folder)}
        for each in frames.values():
            each.check_codes(num_groups, num_codes)
        return cls(name, str(folder), num_groups, num_codes, times, frames)

    @property
    def known(self) -> dict[str, list[Utterance]]:
        stride = self.times.stride
        return {
            split: [Utterance("", frames * stride, utt=utt) for utt, frames in held.store.rows]
            for split, held in self.frames.items()
        }

    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        found: dict[str, Codes] = {}
        for row in rows:
            split = next((frames for frames in self.frames.values() if row.utt in frames.places), None)
            if split is not None:
                found[row.utt] = split[row.utt].astype(np.int64)
        return found


@dataclass(frozen=True)
class CheckpointSource(CodeSource):
    """A trained vq-wav2vec that encodes clip by clip; audio that it cannot read is left out."""

    tokenizer: Tokenizer
    encodes: ClassVar[bool] = True

    @classmethod
    def of(cls, name: str, path: Path) -> CheckpointSource:
        from ..tokenizer import Tokenizer

        asked = Tokenizer.load(path)
        times = FrameTimes(asked.geometry.stride, asked.geometry.receptive_field, asked.sample_rate)
        return cls(name, str(path), asked.num_groups, asked.num_codes, times, asked)

    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        return encode_each(self.tokenizer, rows)


def encode_each(
    tokenizer: Tokenizer, rows: Iterable[Utterance], skip: Callable[[str], object] = lambda reason: None
) -> dict[str, Codes]:
    """[T, G] of each utterance, encoded alone; `skip` is told why one cannot be."""
    from ..features.failures import FILE_ERRORS, reason_of

    found: dict[str, Codes] = {}
    for row in rows:
        try:
            found[row.utt] = tokenizer.encode_file(row).numpy()
        except FILE_ERRORS as error:
            if (reason := reason_of(error, row.path)) is None:
                raise
            skip(reason)
    return found


def find_sources(run: RunFolder, encode: bool = True) -> tuple[list[CodeSource], list[str]]:
    """The run's sources of codes, and a sentence about each folder or checkpoint that cannot be used."""
    found: list[CodeSource] = []
    troubles: list[str] = []
    checkpoints = {stage.name: path for stage in run.stages if (path := _checkpoint(stage)) is not None}
    folders = run.find("tokens.json")
    makers = {_sha256(path): name for name, path in checkpoints.items()} if folders else {}
    hashes: set[str] = set()
    for stage, path in folders:
        try:
            digest = str(TOKENS.read_about(path.parent).get("checkpoint", {}).get("sha256"))
            name = stage.name if digest in hashes else makers.get(digest, stage.name)
            source = TokenSource.of(name, path.parent)
            if not source.frames:
                continue
        except (OSError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            troubles.append(f"{run.short(str(path))} cannot be used: {run.short(str(error))}")
            continue
        hashes.add(digest)
        found.append(source)
    covered = {name for digest, name in makers.items() if digest in hashes}
    for name, path in checkpoints.items() if encode else ():
        if name not in covered:
            _add_checkpoint(name, path, found, troubles, run)
    return found, troubles


def _add_checkpoint(
    name: str, path: Path, found: list[CodeSource], troubles: list[str], run: RunFolder
) -> None:
    from ..features.codes import NoCodesError

    try:
        found.append(CheckpointSource.of(name, path))
    except NoCodesError:
        pass  # wav2vec 1.0 has no codes, and nothing is wrong with that
    except (ValueError, OSError) as error:
        troubles.append(f"{run.short(str(path))} cannot be used: {run.short(str(error))}")


def _checkpoint(stage: StageFolder) -> Path | None:
    """The last checkpoint of a stage that trains a vq-wav2vec; its log or settings say so."""
    path = stage.checkpoint
    if path is None:
        return None
    settings = read_text(stage.path / HYDRA / "config.yaml")
    said = settings or read_text(stage.path / LOG)[:200_000]
    return path if f"_name: {_MODEL}\n" in said or f"'_name': '{_MODEL}'" in said else None


def _sha256(path: Path) -> str:
    from ..checkpoints.files import sha256

    return sha256(path)
