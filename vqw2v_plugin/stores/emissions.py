"""states ──acoustic model──▶ letters, saved: a model's emissions as a feature folder, for `vqw2v tune`.

SPLIT.npy holds all frames [N, V] in fp32, with SPLIT.ends.npy and SPLIT.ids beside it as in every feature
folder; features.json tells what decoding needs: the columns, ASG's transitions, the seconds of a frame.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..common.files import write_whole
from ..common.locks import Rank, claimed
from .features import ABOUT, FeatureError, FeatureStore, feature_splits, read_features_about

LAYER = "emissions"  # what features.json says of its rows
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SavedEmissions:
    """One split, mapped from the disk; `saved[i]` is a copy of the emissions [T, V] of `saved.utts[i]`."""

    store: FeatureStore
    utts: tuple[str, ...]
    units: Mapping[str, Any]  # `Units.from_json(saved.units)`
    frame_seconds: float
    transitions: Matrix | None  # [V, V] (to, from), of a loss that has any

    def __len__(self) -> int:
        return len(self.utts)

    def __getitem__(self, index: int) -> Matrix:
        return np.array(self.store[index], np.float32)


class EmissionWriter:
    """Writes one split, an utterance after the other; the split is there once the `with` block has ended.

    `units` is `to_json` of the model's; what a block that fails has written is dropped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: str,
        units: Mapping[str, Any],
        frame_seconds: float,
        transitions: Matrix | None = None,
    ) -> None:
        self.folder, self.split = Path(folder), split
        self.num_columns = len(units["symbols"])
        self.about = json.loads(
            json.dumps(
                {
                    "layer": LAYER,
                    "dim": self.num_columns,
                    "store": "fp32",
                    "units": dict(units),
                    "frame_seconds": float(frame_seconds),
                    "transitions": None if transitions is None else np.asarray(transitions).tolist(),
                }
            )
        )
        _parse(self.about, self.folder)
        self._rows: list[tuple[str, int]] = []
        self._seen: set[str] = set()
        self._stack = ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> EmissionWriter:
        with ExitStack() as stack:
            stack.enter_context(claimed(self.folder, Rank()))
            self._check_others()
            self._file = stack.enter_context(open(self._part("npy"), "wb"))
            self._write_header(0)
            self._stack = stack.pop_all()
        return self

    def add(self, utt: str, emissions: npt.ArrayLike) -> None:
        """Emissions [T, V] of one utterance, without padding."""
        rows = np.ascontiguousarray(emissions, np.float32)
        if self._file is None:
            raise ValueError("`EmissionWriter.add` outside of its `with` block")
        if rows.ndim != 2 or rows.shape[1] != self.num_columns:
            raise FeatureError(
                f"{utt}: emissions of the shape {list(rows.shape)}; expected [frames, {self.num_columns}]"
            )
        if utt in self._seen or "\t" in utt or "\n" in utt:
            fault = "is there a second time" if utt in self._seen else "holds a tab or a line end"
            raise FeatureError(f"the utterance {utt!r} {fault}; expected names that tell utterances apart")
        self._seen.add(utt)
        self._rows.append((utt, len(rows)))
        self._file.write(rows.data)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._stack:
            if kind is None:
                self._publish()
            for suffix in ("npy", "ids", "ends"):
                self._part(suffix).unlink(missing_ok=True)
            self._file = None

    def _check_others(self) -> None:
        """All splits of a folder are of one model."""
        about = read_features_about(self.folder)
        others = [name for name in feature_splits(self.folder) if name != self.split]
        if others and {k: about.get(k) for k in self.about} != self.about:
            raise FeatureError(
                f"{self.folder}: its split {others[0]} is of another model, or is no emissions; name another "
                "folder for these"
            )

    def _write_header(self, frames: int) -> None:
        assert self._file is not None
        header = {"descr": "<f4", "fortran_order": False, "shape": (frames, self.num_columns)}
        np.lib.format.write_array_header_1_0(self._file, header)  # of one length, whatever `frames` is

    def _publish(self) -> None:
        assert self._file is not None
        frames = [count for _, count in self._rows]
        self._file.seek(0)
        self._write_header(sum(frames))
        self._file.close()
        with open(self._part("ends"), "wb") as file:
            np.save(file, np.cumsum(np.array(frames, np.int64)), allow_pickle=False)
        ids = "".join(f"{utt}\t{count}\n" for utt, count in self._rows)
        self._part("ids").write_text(ids, encoding="utf-8", newline="\n")
        (self.folder / f"{self.split}.ends.npy").unlink(missing_ok=True)
        known = read_features_about(self.folder).get("splits", {}) if feature_splits(self.folder) else {}
        row = {"utterances": len(frames), "frames": sum(frames)}
        about = {**self.about, "splits": {**known, self.split: row}}
        write_whole(self.folder / ABOUT, json.dumps(about, sort_keys=True, ensure_ascii=False) + "\n")
        os.replace(self._part("npy"), self.folder / f"{self.split}.npy")
        os.replace(self._part("ids"), self.folder / f"{self.split}.ids")
        os.replace(self._part("ends"), self.folder / f"{self.split}.ends.npy")

    def _part(self, suffix: str) -> Path:
        return self.folder / f".{self.split}.{suffix}.part"


def read_emissions(folder: str | os.PathLike[str], split: str) -> SavedEmissions:
    """What `fairseq-generate --emissions FOLDER` saved of one split."""
    base = Path(folder)
    if not base.is_dir():
        raise FeatureError(f"{base}: no such folder; `fairseq-generate … --emissions {base}` writes it")
    about = read_features_about(base)
    if about.get("layer") != LAYER:
        raise FeatureError(
            f"{base / ABOUT}: has the layer {about.get('layer')!r}, expected {LAYER!r}; "
            f"`fairseq-generate … --emissions {base}` writes such a folder"
        )
    if split not in feature_splits(base):
        there = ", ".join(feature_splits(base)) or "none"
        raise FeatureError(
            f"{base}: has no emissions of the split {split!r} (there are: {there}); name one of these, or "
            f"save them with `fairseq-generate … --gen-subset {split} --emissions {base}`"
        )
    transitions = _parse(about, base)
    store = FeatureStore(base, split)
    if store.dim != len(about["units"]["symbols"]):
        raise FeatureError(f"{base / split}.npy: has {store.dim} columns, {ABOUT} names others; save it anew")
    utts = tuple(utt for utt, _ in store.rows)
    return SavedEmissions(store, utts, about["units"], about["frame_seconds"], transitions)


def _parse(about: Mapping[str, Any], folder: Path) -> Matrix | None:
    """The transitions, once all that decoding needs has been looked at."""
    units, seconds, steps = about.get("units"), about.get("frame_seconds"), about.get("transitions")
    if not isinstance(units, dict) or set(units) - {"loss"} != {"symbols", "kind", "blank", "repeats"}:
        raise FeatureError(f"{folder / ABOUT}: its `units` are {units!r:.80}; expected those of a model")
    if not isinstance(seconds, float) or not 0 < seconds < math.inf:
        raise FeatureError(f"{folder / ABOUT}: `frame_seconds` is {seconds!r}; expected more than 0")
    size = len(units["symbols"])
    matrix = None if steps is None else np.array(steps, np.float32)
    if matrix is not None and matrix.shape != (size, size):
        raise FeatureError(
            f"{folder / ABOUT}: `transitions` are {list(matrix.shape)}; expected [{size}, {size}]"
        )
    return matrix
