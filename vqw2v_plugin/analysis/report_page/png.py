"""A picture of bytes [H, W] as a PNG with a palette, small enough to be part of a page."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..pictures import PNG

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


def png(pixels: Pixels, palette: Sequence[Colour], alpha: Sequence[int] = ()) -> bytes:  # [H, W]
    """`pixels` are indices into the palette; `alpha` is the opacity of its first colours (else 255)."""
    if pixels.ndim != 2 or not pixels.size or int(pixels.max()) >= len(palette) or len(palette) > 256:
        raise ValueError(f"pixels have the shape {pixels.shape}; expected [height, width] of palette places")
    height, width = pixels.shape
    lines = np.pad(pixels.astype(np.uint8), ((0, 0), (1, 0)))  # each line begins with its filter: none
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))]
    chunks.append((b"PLTE", bytes(part for colour in palette for part in colour)))
    if alpha:
        chunks.append((b"tRNS", bytes(alpha)))
    chunks += [(b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return PNG + b"".join(_chunk(name, data) for name, data in chunks)


def data_url(content: bytes, kind: str) -> str:
    """Bytes as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def ramp(stops: Sequence[Colour], steps: int) -> list[Colour]:
    """Colours from the first stop to the last."""
    places = np.linspace(0, len(stops) - 1, steps)
    columns = [np.interp(places, np.arange(len(stops)), [s[i] for s in stops]) for i in range(3)]
    return [(round(r), round(g), round(b)) for r, g, b in zip(*columns, strict=True)]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
