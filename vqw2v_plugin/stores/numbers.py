"""What the arrows leave on disk, the numbers: .npy files, mapped when every byte is accounted for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.inputs import check_file


def map_numbers(path: Path, kinds: Sequence[type[np.generic]], num_axes: int) -> npt.NDArray[Any]:
    """A whole file of numpy's, of one of these types, row after row; ValueError says what it is instead."""
    check_file(path)
    with open(path, "rb") as file:
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("of another version")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # numpy parses the header as Python, and says so in many ways
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ValueError(f"{reason}; expected a whole file of numpy's") from None
        begin, size = file.tell(), os.fstat(file.fileno()).st_size
    expected = " or ".join(np.dtype(kind).name for kind in kinds)
    if dtype not in [np.dtype(kind) for kind in kinds] or is_fortran or len(shape) != num_axes:
        raise ValueError(f"holds {dtype} of the shape {list(shape)}, expected {expected} of {num_axes} axes")
    count = math.prod(shape)
    is_shape = all(type(length) is int and length >= 0 for length in shape)  # numpy takes True for a length
    if not is_shape or begin + count * dtype.itemsize != size:
        raise ValueError(f"has {size:,} bytes, expected those of the shape {list(shape)} and no others")
    if not count:  # an empty range cannot be mapped
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", begin, shape)
