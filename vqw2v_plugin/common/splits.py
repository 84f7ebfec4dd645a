"""The names of splits, which every arrow's files bear: `dev` and `valid` are one."""

import os
from pathlib import Path

_TWINS = {"dev": "valid", "valid": "dev"}


def split_there(folder: str | os.PathLike[str], split: str, suffix: str) -> str:
    """The split's name in this folder: of `dev` and `valid` the one whose file SPLIT.suffix is there."""
    twin = _TWINS.get(split, split)
    if (Path(folder) / f"{split}.{suffix}").exists() or not (Path(folder) / f"{twin}.{suffix}").exists():
        return split
    return twin
