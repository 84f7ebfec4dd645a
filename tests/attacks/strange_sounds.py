"""Audio files: headers that lie, samples that are none, files cut, doubled and damaged."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from attempts import Case, Works
from damage import FOREIGN, damaged, mutated, text
from odd_places import odd_places
from sounds import noise

_CUT = {f"its first {n}": lambda content, rng, n=n: content[:n] for n in (0, 4, 12, 44, 4_000)}
_MORE = {
    "noise behind it": lambda content, rng: content + b"junk" * 100,
    "twice": lambda content, rng: content + content,
}
_SUBTYPES = ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")
_LYING = (
    *(
        {"data": 0xFFFFFFFF},
        {"data": 0},
        {"data": 1},
        {"data": 31_999},
        {"riff": 0},
        {"ch": 0},
        {"ch": 65_535},
    ),
    *({"rate": 0}, {"rate": 0xFFFFFFFF}, {"bits": 0}, {"bits": 15}, {"bits": 64}, {"bits": 1}, {"al": 0}),
    *({"fmt": 0xFFFE}, {"fmt": 0x55}, {"fmt": 0}, {"br": 0}),
)
_SPHERE = {
    "sample_count": ("99999999999999", "-5", "x"),
    "sample_rate": ("-5", "0", "x", "9" * 400, "1.5"),
    "channel_count": ("-5", "0", "x", "9" * 400),
    "sample_coding": ("pcm,embedded-shorten-v2.00", "x"),
}


def strange_sounds(good: Path, seed: int) -> list[Case]:
    return [
        *_written(),
        *_headers(),
        *_sphere(),
        *(case for kind in ("wav", "flac", "ogg", "mp3") for case in _damaged(good, kind, seed)),
        *odd_places(".wav"),
    ]


def whole(good: Path) -> Case:
    return text("the whole file", (good / "clip.wav").read_bytes(), "it.wav")


def of(wave: np.ndarray, rate: int = 16_000, **options: Any) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, wave, rate, **{"format": "WAV", **options})
    return held.getvalue()


def _written() -> Iterator[Case]:
    wave = noise(4_000)
    for subtype in _SUBTYPES:
        yield text(subtype, of(wave, subtype=subtype), "it.wav")
    for rate in (1, 100, 1_000, 7_999, 44_100, 384_000, 655_350, 2**31 - 1):
        yield text(f"{rate:,} Hz", of(wave, rate), "it.wav")
    for channels in (2, 8, 256, 1_000):
        yield text(f"{channels} channels", of(np.repeat(wave[:, None], channels, 1)), "it.wav")
    for samples in (0, 1, 9, 50, 464, 466):
        yield text(f"{samples} samples", of(wave[:samples]), "it.wav")
    for value in (np.nan, np.inf, -np.inf, 1e300, 1e-300, 3.4e38, 0.0, 5.0):
        works = Works.ANY if np.isfinite(value) else Works.NEVER
        yield text(f"all {value}", of(np.full(4_000, value), subtype="DOUBLE"), "it.wav", works=works)
    wave = np.where(np.arange(4_000) == 77, np.nan, wave)
    yield text("one nan", of(wave, subtype="FLOAT"), "it.wav", works=Works.NEVER)


def _headers() -> Iterator[Case]:
    for lie in _LYING:
        yield text(f"a wav's header: {lie}", header(**lie), "it.wav")
    flac = bytearray(of(noise(4_000), format="FLAC"))
    yield text("FLAC of 2^36 samples", bytes(flac[:21]) + b"\xff" * 5 + bytes(flac[26:]), "it.flac")
    yield text("FLAC of 0 Hz", bytes(flac[:18]) + bytes(3) + bytes(flac[21:]), "it.flac")
    for name, content in {
        "text": b"hello" * 100,
        "zip": b"PK\3\4" * 100,
        "ELF": b"\x7fELF" + bytes(400),
    }.items():
        yield text(name, content, "it.wav", works=Works.NEVER)


def header(**lies: int) -> bytes:
    said = {
        "riff": 32_036,
        "fmt": 1,
        "ch": 1,
        "rate": 16_000,
        "br": 32_000,
        "al": 2,
        "bits": 16,
        "data": 32_000,
    }
    said |= lies
    form = struct.pack("<IHHIIHH", 16, *(said[name] for name in ("fmt", "ch", "rate", "br", "al", "bits")))
    start = (
        b"RIFF"
        + struct.pack("<I", said["riff"])
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", said["data"])
    )
    return start + (noise(16_000) * 9_000).astype("<i2").tobytes()


def sphere(**lies: str) -> bytes:
    """NIST's format."""
    said = {"sample_count": "4000", "sample_rate": "16000", "channel_count": "1", "sample_n_bytes": "2"}
    said = {**said, "sample_byte_format": "01", "sample_coding": "pcm", **lies}
    texts = ("sample_byte_format", "sample_coding")
    lines = [f"{name} -{f's{len(v)}' if name in texts else 'i'} {v}\n" for name, v in said.items()]
    start = "NIST_1A\n   1024\n" + "".join(lines) + "end_head\n"
    return start.encode().ljust(1_024)[:1_024] + (noise(4_000) * 9_000).astype("<i2").tobytes()


def _sphere() -> Iterator[Case]:
    for name, values in _SPHERE.items():
        for value in values:
            yield text(f"SPHERE's {name} {value[:9]}", sphere(**{name: value}), "it.sph")
    yield text(
        "SPHERE without an end",
        b"NIST_1A\n   1024\nsample_count -i".ljust(1_024),
        "it.sph",
        works=Works.NEVER,
    )
    yield text("SPHERE of a long head", b"NIST_1A\n99999999999\n".ljust(1_024), "it.sph", works=Works.NEVER)


def _damaged(good: Path, kind: str, seed: int) -> Iterator[Case]:
    path = good / f"clip.{kind}"
    if not path.exists():
        wave, rate = soundfile.read(good / "clip.wav")
        path.write_bytes(of(wave, rate, format=kind.upper()))
    yield from damaged(path, {**_CUT, **_MORE, **FOREIGN, **mutated(6)}, Works.ANY, seed)
