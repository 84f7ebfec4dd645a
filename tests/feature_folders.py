"""Feature folders of frames that a test makes up, written as `vqw2v features` writes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqw2v_plugin.stores.features import FEATURES, FeatureWriter


def write_frames(
    folder: Path, split: str, frames: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """One split: the frames [T, D] of each utterance; `about` is what the json says of the features."""
    first = next(iter(frames.values()))
    writer = FeatureWriter(folder, split, first.dtype, first.shape[1])
    for rows in frames.values():
        writer.add(rows)
    sizes = {utt: len(rows) for utt, rows in frames.items()}
    row = {"utterances": len(sizes), "frames": sum(sizes.values())}
    splits = {**FEATURES.read_about(folder).get("splits", {}), split: row}
    writer.publish(sizes.items(), {**about, "splits": splits})
