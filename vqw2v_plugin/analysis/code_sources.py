"""wav → tokens, as a run has them: from its token folders, or from its checkpoints where it made none.

Shapes: T frames, G groups. torch is imported only where a checkpoint must be asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..corpora.manifest import Utterance
from ..recipes.folder import RunFolder, StageFolder, read_text
from ..stores.symbols import read_about, splits
from .abx_items import TokenFrames
from .phone_codes import Codes, FrameTimes

_NAMES = ("checkpoint_last.pt", "checkpoint_best.pt")
_MODEL = "vq_wav2vec"


class CodeSource(Protocol):
    """Gives the codes of utterances."""

    @property
    def name(self) -> str:
        """As the page calls it: the stage."""
        ...

    @property
    def origin(self) -> str:
        """The file or folder."""
        ...

    @property
    def encodes(self) -> bool:
        """Whether it asks a network, which takes its time."""
        ...

    @property
    def num_codes(self) -> int: ...

    @property
    def num_groups(self) -> int: ...

    @property
    def times(self) -> FrameTimes: ...

    @property
    def known(self) -> dict[str, list[Utterance]]:
        """The utterances of each split that it has without being told of them."""
        ...

    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        """[T, G] of each utterance that it knows."""
        ...


@dataclass(frozen=True)
class TokenSource:
    """A folder that `vqw2v discretize` wrote; frames whose token was not in its dictionary are -1."""

    name: str
    folder: Path
    about: dict[str, Any]
    encodes: bool = field(default=False, init=False)

    @property
    def origin(self) -> str:
        return str(self.folder)

    @property
    def num_codes(self) -> int:
        return int(self.about["num_codes"])

    @property
    def num_groups(self) -> int:
        return int(self.about["num_groups"])

    @property
    def times(self) -> FrameTimes:
        return FrameTimes(*(int(self.about[k]) for k in ("stride", "receptive_field", "sample_rate")))

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
            held = next((held for held in self.frames.values() if row.utt in held.places), None)
            if held is not None:
                found[row.utt] = held[row.utt].astype(np.int64)
        return found

    @cached_property
    def frames(self) -> dict[str, TokenFrames]:
        """Of each split."""
        return {split: TokenFrames(self.folder, split) for split in splits(self.folder)}


class CheckpointSource:
    """A trained vq-wav2vec, asked clip by clip."""

    encodes = True
    known: dict[str, list[Utterance]] = {}  # noqa: RUF012  it has none, ever

    def __init__(self, name: str, path: Path) -> None:
        from ..tokenizer import Tokenizer

        self.name, self.origin = name, str(path)
        self._tokenizer = Tokenizer.load(path)

    @property
    def num_codes(self) -> int:
        return self._tokenizer.num_codes

    @property
    def num_groups(self) -> int:
        return self._tokenizer.num_groups

    @property
    def times(self) -> FrameTimes:
        geometry = self._tokenizer.geometry
        return FrameTimes(geometry.stride, geometry.receptive_field, self._tokenizer.sample_rate)

    def codes(self, rows: Iterable[Utterance]) -> dict[str, Codes]:
        from ..audio.reading import AudioError

        found: dict[str, Codes] = {}
        for row in rows:
            try:
                codes = self._tokenizer.encode_file(row)
            except AudioError:
                continue  # whoever made the tokens has named it
            found[row.utt] = codes.numpy()
        return found


def find_sources(run: RunFolder, encode: bool = True) -> tuple[list[CodeSource], list[str]]:
    """The run's codes; and a sentence about each folder or checkpoint that cannot be used."""
    found: list[CodeSource] = []
    troubles: list[str] = []
    checkpoints = {stage.name: path for stage in run.stages if (path := _checkpoint(stage)) is not None}
    folders = run.find("tokens.json")
    makers = {_sha256(path): name for name, path in checkpoints.items()} if folders else {}
    hashes: set[str] = set()
    for stage, path in folders:
        try:
            about = read_about(path.parent)
            digest = str(about.get("checkpoint", {}).get("sha256"))
            name = stage.name if digest in hashes else makers.get(digest, stage.name)
            source = TokenSource(name, path.parent, about)
            if not (source.times.rate and splits(path.parent)):
                continue
            source.frames  # noqa: B018  whether they can be read
        except (OSError, KeyError, ValueError, ZeroDivisionError) as error:
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
    from ..checkpoints.files import CheckpointError

    try:
        found.append(CheckpointSource(name, path))
    except (CheckpointError, ValueError, OSError) as error:
        if "no quantizer" not in str(error):
            troubles.append(f"{run.short(str(path))} cannot be used: {run.short(str(error))}")


def _checkpoint(stage: StageFolder) -> Path | None:
    """The last checkpoint of a stage that trains a vq-wav2vec; its log or settings say so."""
    path = next((stage.path / name for name in _NAMES if (stage.path / name).is_file()), None)
    if path is None:
        return None
    settings = read_text(stage.path / ".hydra" / "config.yaml")
    said = settings or read_text(stage.path / "log.txt")[:200_000]
    return path if f"_name: {_MODEL}\n" in said or f"'_name': '{_MODEL}'" in said else None


def _sha256(path: Path) -> str:
    from ..checkpoints.files import sha256

    return sha256(path)
