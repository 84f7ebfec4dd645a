"""wav → features, in words: what features.json and acoustic checkpoints say of them, to make them again.

Everything that changes the numbers is a field here. It is written with features and with the models trained
on them, compared when a training is resumed or decoded, and read to make the same features of other audio.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .features import FEATURES, FeatureError
from .layers import whole_name

_THEN = {  # where not written
    "dtype": "fp32",
    "store": "fp32",
    "run_length": False,
    "fine_tuned": False,
    "deltas": 0,
    "standardize": "none",
    "silence": "keep",
    "pooled": 1,
}
MOST_DELTAS = 2
STANDARDIZE = ("none", "utterance", "speaker")  # whose mean and scale are taken away
_UNKNOWN = ("receptive_field", "normalize")  # where one side does not say it, it cannot be compared
_MFCC_BANDS = 80


@dataclass(frozen=True)
class FileId:
    """A file is what its bytes are, wherever it lies: names and places do not tell files apart."""

    name: str = field(compare=False)
    sha256: str
    path: str | None = field(default=None, compare=False)  # where it lay

    def to_json(self) -> dict[str, str]:
        place = {} if self.path is None else {"path": self.path}
        return {"name": self.name, "sha256": self.sha256, **place}


@dataclass(frozen=True)
class FeatureSpec:
    """None: not said, or of no use to the layer."""

    layer: str | None = None  # with its number, if it has one
    checkpoint: FileId | None = None
    bert: FileId | None = None
    pieces: FileId | None = None
    run_length: bool | None = None
    bands: int | None = None
    sample_rate: int | None = None  # Hz
    stride: int | None = None  # samples from one frame to the next
    receptive_field: int | None = None  # samples that a frame sees
    dim: int | None = None
    dtype: str | None = None  # fp32, bf16 or tf32: what they were computed in
    normalize: bool | None = None  # each clip at zero mean and unit variance first
    deltas: int | None = None  # how often the slope over five frames is put beside the layer's own
    standardize: str | None = None  # whose mean and scale each feature has lost
    silence: str | None = None  # what found the silence that was left out of the audio
    segments: str | None = None  # whose mean a row is: runs (of one cluster) or spans (that were given)
    clusters: FileId | None = None  # of these runs
    pca: FileId | None = None  # the components that rows are given in
    pooled: int | None = None  # how many neighbouring segments each row is the mean of
    store: str | None = None  # fp32, or fp16: rounded on the disk, which is not compared
    fine_tuned: bool | None = None  # the network that makes them has learnt since
    device: str | None = None  # rounding alone depends on it, so it is not compared

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FeatureSpec:
        """Names that are not known are passed over; ValueError names a field of another type."""
        spec = cls(**{f.name: _value(f.name, str(f.type), content.get(f.name)) for f in fields(cls)})
        check_preparation(spec.meaning("deltas"), spec.meaning("standardize"))
        return spec

    def to_json(self) -> dict[str, Any]:
        """What is not None, under the names of the fields."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v.to_json() if isinstance(v, FileId) else v for k, v in held.items() if v is not None}

    @property
    def has_times(self) -> bool:
        """Whether rows come at even times: segments do not, nor do frames of audio without its silence."""
        return self.segments is None and self.meaning("silence") == "keep"

    @property
    def frame_seconds(self) -> float:
        """From one frame to the next."""
        if not self.stride or not self.sample_rate:
            raise ValueError(
                f"features.json says `stride` {self.stride!r} and `sample_rate` {self.sample_rate!r}; "
                f"expected samples from frame to frame and samples a second, as `vqw2v features` writes them"
            )
        return self.stride / self.sample_rate

    def meaning(self, name: str) -> Any:
        """The field's value, such that equal ones give equal numbers; old files mean what was so then."""
        value = getattr(self, name)
        if isinstance(value, FileId):
            return value.sha256
        if name == "layer":
            return None if value is None else whole_name(value)
        if name == "bands" and value is None:
            return {"logmel": self.dim, "mfcc": _MFCC_BANDS}.get(str(self.layer).partition(":")[0])
        if name == "run_length" and self.pieces is not None:
            return True  # pieces are of joined runs, asked for or not
        if name == "dtype" and self.checkpoint is None:
            return _THEN[name]  # spectra are of one precision
        return _THEN.get(name) if value is None else value


def check_preparation(deltas: int, standardize: str) -> None:
    """Refuses what there is not."""
    if not 0 <= deltas <= MOST_DELTAS:
        raise ValueError(f"`deltas` is {deltas}; expected 0 to {MOST_DELTAS}")
    if standardize not in STANDARDIZE:
        raise ValueError(f"`standardize` is {standardize!r}; expected one of {', '.join(STANDARDIZE)}")


def first_difference(before: FeatureSpec, now: FeatureSpec) -> tuple[str, Any, Any] | None:
    """The first field in which features differ from those trained on before: its name and both values.

    How they are rounded on a disk does not count. A front may begin to learn, in another precision too, or be
    frozen with what it has learnt; only features from a folder have nothing of it.
    """
    for name in (f.name for f in fields(FeatureSpec) if f.name not in ("device", "store")):
        old, new = before.meaning(name), now.meaning(name)
        if (now.fine_tuned and name == "dtype") or (now.fine_tuned is not None and name == "fine_tuned"):
            continue
        if old != new and not (name in _UNKNOWN and None in (old, new)):
            return name, old, new
    return None


def read_spec(folder: str | os.PathLike[str]) -> FeatureSpec:
    """What a feature folder holds."""
    try:
        return FeatureSpec.from_json(FEATURES.read_about(folder))
    except FeatureError:
        raise
    except ValueError as error:
        raise FeatureError(f"{Path(folder) / FEATURES.about}: {error}") from error


_EXPECTED = {
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "FileId": "its name and sha256",
}


def _value(name: str, kind: str, value: Any) -> Any:
    kind = kind.partition(" ")[0]
    if value is None:
        return None
    if kind == "FileId" and isinstance(value, Mapping) and {"name", "sha256"} <= set(value):
        path = value.get("path")
        return FileId(str(value["name"]), str(value["sha256"]), None if path is None else str(path))
    if kind == "FileId" and isinstance(value, str):  # of a folder made by hand: known by its name alone
        return FileId(value, f"named {value}")
    if kind == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value).__name__ != kind:
        raise ValueError(f"`{name}` is {value!r}; expected {_EXPECTED[kind]}")
    if kind == "str" and not value.isprintable():  # json may hold what cannot be written again
        raise ValueError(f"`{name}` is {value[:80]!r}; expected {_EXPECTED[kind]}")
    return value
