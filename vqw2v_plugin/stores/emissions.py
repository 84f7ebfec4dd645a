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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.locks import Rank, claimed
from .features import FEATURES, FeatureError, FeatureStore, FeatureWriter

ABOUT = FEATURES.about
EMISSIONS = replace(FEATURES, made_with="fairseq-generate … --emissions", indent=None)  # a matrix on one line
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
        rows = np.array(self.store[index], np.float32)
        if not np.isfinite(rows.max(1, initial=-np.inf)).all():  # NaN wins a maximum
            where = f"{self.store.folder / self.store.split}.npy"
            raise FeatureError(
                f"{where}: the emissions of {self.utts[index]!r} are no numbers; did training diverge? save "
                "them anew"
            )
        return rows


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
        self._lock = ExitStack()
        self._writer: FeatureWriter | None = None

    def __enter__(self) -> EmissionWriter:
        with ExitStack() as stack:
            stack.enter_context(claimed(self.folder, Rank()))
            EMISSIONS.check_outputs(self.folder, self.split)
            EMISSIONS.check_one_model(self.folder, self.split, self.about, unlisted=True)
            self._writer = FeatureWriter(self.folder, self.split, np.float32, self.num_columns, EMISSIONS)
            self._lock = stack.pop_all()
        return self

    def add(self, utt: str, emissions: npt.ArrayLike) -> None:
        """Emissions [T, V] of one utterance, without padding."""
        rows = np.ascontiguousarray(emissions, np.float32)
        if self._writer is None:
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
        self._writer.add(rows)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        with self._lock:
            try:
                if kind is None:
                    row = {"utterances": len(self._rows), "frames": sum(n for _, n in self._rows)}
                    splits = {**EMISSIONS.read_about(self.folder).get("splits", {}), self.split: row}
                    writer.publish(self._rows, {**self.about, "splits": splits})
            finally:
                writer.discard()


def read_emissions(folder: str | os.PathLike[str], split: str) -> SavedEmissions:
    """What `fairseq-generate --emissions FOLDER` saved of one split."""
    base = Path(folder)
    if not base.is_dir():
        raise FeatureError(f"{base}: no such folder; `fairseq-generate … --emissions {base}` writes it")
    about = EMISSIONS.read_about(base)
    if about.get("layer") != LAYER:
        raise FeatureError(
            f"{base / ABOUT}: has the layer {about.get('layer')!r}, expected {LAYER!r}; "
            f"`fairseq-generate … --emissions {base}` writes such a folder"
        )
    if split not in EMISSIONS.splits(base):
        there = ", ".join(EMISSIONS.splits(base)) or "none"
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


def _are_names(names: object) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _parse(about: Mapping[str, Any], folder: Path) -> Matrix | None:
    """The transitions, once all that decoding needs has been looked at."""
    units, seconds, steps = about.get("units"), about.get("frame_seconds"), about.get("transitions")
    if not isinstance(units, dict) or set(units) - {"loss"} != {"symbols", "kind", "blank", "repeats"}:
        raise FeatureError(f"{folder / ABOUT}: its `units` are {units!r:.80}; expected those of a model")
    if not _are_names(units["symbols"]) or not _are_names(units["repeats"]):
        raise FeatureError(f"{folder / ABOUT}: its `units` are {units!r:.80}; expected symbols and repeats")
    if not (units["blank"] is None or type(units["blank"]) is int):
        raise FeatureError(f"{folder / ABOUT}: its `blank` is {units['blank']!r:.80}; expected a column")
    if not isinstance(seconds, float) or not 0 < seconds < math.inf:
        raise FeatureError(f"{folder / ABOUT}: `frame_seconds` is {seconds!r}; expected more than 0")
    size = len(units["symbols"])
    try:
        matrix = None if steps is None else np.array(steps, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise FeatureError(f"{folder / ABOUT}: `transitions` are no matrix ({error})") from None
    if matrix is not None and matrix.shape != (size, size):
        raise FeatureError(
            f"{folder / ABOUT}: `transitions` are {list(matrix.shape)}; expected [{size}, {size}]"
        )
    return matrix
