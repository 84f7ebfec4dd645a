"""What heads for utterances answered, from the files of `--scoring vq_recall`: recalls, no errors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.inputs import read_json


@dataclass(frozen=True)
class ClassRates:
    """One classes-SPLIT.json; rates in percent."""

    name: str  # of the folder
    split: str
    accuracy: float
    majority: float  # the accuracy of one answer to all
    uar: float
    utterances: int
    num_classes: int  # that utterances are of


def find_class_rates(folder: str | os.PathLike[str], troubles: list[str]) -> list[ClassRates]:
    """Every classes-SPLIT.json below a folder; what is none is named in `troubles`."""
    root, found = Path(folder), []
    for path in sorted(root.resolve().rglob("classes-*.json")):
        name = path.parent.relative_to(root.resolve()).as_posix()
        try:
            shown = f"{root}/{name}" if name != "." else str(root)
            found.append(_rates(shown, path.stem.removeprefix("classes-"), read_json(path)))
        except (OSError, LookupError, TypeError, ValueError, OverflowError) as error:
            troubles.append(f"{path} is not what `--scoring vq_recall` writes: {error!r}")
    return found


def _rates(name: str, split: str, about: Any) -> ClassRates:
    accuracy, majority, uar = rates = [float(about[each]) for each in ("accuracy", "majority", "uar")]
    if not all(0 <= rate <= 100 for rate in rates):
        raise ValueError(f"rates {rates}, expected percent")
    said = sum(int(row["utterances"]) > 0 for row in about["classes"])
    return ClassRates(name, split, accuracy, majority, uar, int(about["utterances"]), said)
