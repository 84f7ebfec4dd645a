"""A drawing of the user's own, for the page of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..common.inputs import read_bytes

PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins
_LARGEST = 20 << 20  # bytes: a page is sent by mail


@dataclass(frozen=True)
class Picture:
    """A whole PNG file, and a line about it."""

    content: bytes
    caption: str

    @classmethod
    def parse(cls, text: str) -> Picture:
        """`FILE.png`, or `FILE.png=CAPTION`."""
        name, ending, caption = text.partition(".png=")
        path = f"{name}.png" if ending else text
        content = read_bytes(path)
        if not content.startswith(PNG):
            raise ValueError(f"--picture: {path} is no PNG file; expected FILE.png or FILE.png=CAPTION")
        if len(content) > _LARGEST:
            raise ValueError(
                f"--picture: {path} has {len(content) >> 20} MiB; expected at most {_LARGEST >> 20}, since "
                f"it becomes part of the page: draw it smaller"
            )
        return cls(content, caption or os.path.basename(path))
