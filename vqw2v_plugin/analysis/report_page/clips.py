"""One utterance to look at and listen to: its spectrogram, words, phones and codes over time, and its sound.

Shapes: S samples, T frames, W samples of a window, F frequencies.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from ...audio.reading import Samples, read_audio
from ...corpora.ctm import Segments
from ...corpora.manifest import Utterance
from ...stores.frames import FrameTimes
from ..phone_codes import Codes
from .png import Pixels, data_url, png
from .svg import HUES, Axis, Svg, number, say

RATE = 16_000
_WINDOW, _HOP, _FFT = 400, 128, 512  # samples: 25 ms every 8
_DECIBELS, _GREYS = 50.0, 32
_LEFT, _WIDTH, _TALL = 96.0, 960.0, 132.0
_LETTER = 6.4  # about the width of one


@dataclass(frozen=True)
class Lane:
    """One row under the spectrogram: labels with times, or the codes [T] of a group."""

    name: str
    kind: str  # words, phones, heard or codes
    segments: Segments | None = None
    codes: Codes | None = None  # [T, G]
    times: FrameTimes | None = None


@dataclass(frozen=True)
class ClipView:
    """What the page shows of an utterance."""

    utterance: Utterance
    wav: Samples
    lanes: tuple[Lane, ...]

    @property
    def seconds(self) -> float:
        return len(self.wav) / RATE

    def sound(self) -> str:
        """The audio as a data URL: FLAC takes half the space of wav."""
        file = io.BytesIO()
        soundfile.write(file, self.wav, RATE, format="FLAC", subtype="PCM_16")
        return data_url(file.getvalue(), "audio/flac")

    def figure(self) -> str:
        """Spectrogram and lanes, over seconds."""
        heights = [_height(lane) for lane in self.lanes]
        bottom = 8 + _TALL + sum(heights) + 6
        x = Axis(0.0, max(self.seconds, 0.01), _LEFT, _WIDTH - 12)  # half of the last label is beyond
        told = {"seconds": round(self.seconds, 3), "from": x.begin, "to": x.end, "lanes": []}
        body = Svg(_WIDTH, bottom + 24, "")
        _draw_spectrogram(body, self.wav, x)
        y, lanes = 8 + _TALL + 6, []
        for lane, height in zip(self.lanes, heights, strict=True):
            lanes += _draw_lane(body, lane, x, y)
            y += height
        for tick in x.ticks(8):
            body.line(x(tick), bottom, x(tick), bottom + 4, "axis")
            body.text(x(tick), bottom + 16, f"{say(tick)} s", "small", "middle")
        body.line(x.begin, bottom, x.end, bottom, "axis")
        body.add("line", "playhead", x1=x.begin, x2=x.begin, y1=8, y2=bottom)
        text = escape(json.dumps({**told, "lanes": lanes}, ensure_ascii=False, separators=(",", ":")))
        label = f"Spectrogram, labels and codes of {self.utterance.utt}, {self.seconds:.1f} seconds"
        head = Svg(_WIDTH, bottom + 24, label, f' data-figure="clip" data-told="{text}"')
        return head.render().removesuffix("</svg>") + body.render().partition(">")[2]


def read_clip(row: Utterance, most_seconds: float) -> Samples:
    """An utterance's first seconds at the page's rate."""
    wav = read_audio(row, RATE)
    return wav[: int(most_seconds * RATE)]


def choose(rows: Iterable[Utterance], number: int, rate: int = RATE) -> list[Utterance]:
    """Some utterances of different speakers, about as long as a page can show."""
    fitting = sorted(rows, key=lambda row: (abs(row.samples / (row.rate or rate) - 3.0), row.utt))
    chosen: list[Utterance] = []
    speakers: dict[str | None, int] = {}
    for turn in range(number):
        for row in fitting:
            if len(chosen) < number and speakers.get(row.speaker, 0) == turn and row not in chosen:
                chosen.append(row)
                speakers[row.speaker] = turn + 1
    return chosen


def spectrogram(wav: Samples) -> Pixels:  # [S] → [F, T]
    """Energies in decibels below the loudest, as shades of grey; low frequencies at the bottom."""
    wav = np.pad(wav, (_WINDOW // 2, _WINDOW // 2 + _HOP))
    windows = np.lib.stride_tricks.sliding_window_view(wav, _WINDOW)[::_HOP]  # [T, W]
    energies = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), _FFT)) ** 2  # [T, F]
    # high frequencies have less energy; a tilt of 6 dB an octave brings their formants out
    tilt = np.maximum(np.arange(energies.shape[1]), 4.0) ** 2
    decibels = 10 * np.log10(energies * tilt + 1e-10)
    loudest = np.percentile(decibels, 99.7)
    shades = np.clip((decibels - loudest) / _DECIBELS + 1, 0, 1)
    found: Pixels = np.round(shades * (_GREYS - 1)).astype(np.uint8).T[::-1]
    return np.ascontiguousarray(found)


def _draw_spectrogram(svg: Svg, wav: Samples, x: Axis) -> None:
    shades = spectrogram(wav)
    alpha = [round(255 * (i / (_GREYS - 1)) ** 1.5) for i in range(_GREYS)]
    url = data_url(png(shades, [(0, 0, 0)] * _GREYS, alpha), "image/png")
    svg.raw(
        f'<image class="ink" x="{number(x.begin)}" y="8" width="{number(x.end - x.begin)}" height="{_TALL}" '
        f'preserveAspectRatio="none" href="{url}"/>'
    )
    svg.add("rect", "frame", x=x.begin, y=8, width=x.end - x.begin, height=_TALL)
    for kilohertz in (0, 2, 4, 6, 8):
        y = 8 + _TALL * (1 - kilohertz / 8)
        svg.text(x.begin - 6, min(y + 4, 8 + _TALL), f"{kilohertz} kHz", "small", "end")


def _height(lane: Lane) -> float:
    return 23.0 if lane.codes is None else 13.0 * int(lane.codes.shape[1]) + 7


def _draw_lane(svg: Svg, lane: Lane, x: Axis, y: float) -> list[dict[str, object]]:
    """Draws the lane; returns what the page shows under the pointer."""
    if lane.segments is not None:
        svg.text(x.begin - 8, y + 14, lane.name, "lane", "end")
        return [_draw_segments(svg, lane, lane.segments, x, y)]
    if lane.codes is None or lane.times is None:
        return []
    groups = lane.codes.shape[1]
    svg.text(x.begin - 8, y + 13 * groups / 2 + 4, lane.name, "lane", "end")
    half = 0.5 / lane.times.rate
    centres = lane.times.centres(len(lane.codes))
    for group in range(groups):
        _draw_codes(svg, lane.codes[:, group], centres - half, 2 * half, x, y + 13 * group)
    tokens = ["?" if row[0] < 0 else "-".join(map(str, row)) for row in lane.codes.tolist()]
    return [
        {
            "top": y,
            "end": y + 13 * groups,
            "name": lane.name,
            "first": round(float(centres[0] - half), 5) if len(centres) else 0,
            "step": 2 * half,
            "tokens": " ".join(tokens),
        }
    ]


def _draw_segments(svg: Svg, lane: Lane, found: Segments, x: Axis, y: float) -> dict[str, object]:
    told = []
    for begin, end, label in zip(found.starts.tolist(), found.ends.tolist(), found.labels, strict=True):
        if begin >= x.high:
            continue
        left, right = x(begin), x(min(end, x.high))
        quiet = " quiet" if label.upper() in ("SIL", "SP", "PAU", "<SIL>") else ""
        svg.add("rect", f"cell {lane.kind}{quiet}", x=left, y=y, width=max(right - left, 0.5), height=19)
        if (right - left) > _LETTER * len(label) + 1 and not quiet:
            svg.text((left + right) / 2, y + 13.5, label, "label", "middle")
        told.append([round(begin, 3), round(end, 3), label])
    return {"top": y, "end": y + 19, "name": lane.name, "segments": told}


def _draw_codes(
    svg: Svg, codes: npt.NDArray[np.int64], begins: npt.NDArray[np.float64], step: float, x: Axis, y: float
) -> None:
    """Runs of one code in one colour; one path for each colour keeps the page small."""
    paths: dict[int, list[str]] = {}
    changes = np.flatnonzero(np.diff(codes)) + 1
    bounds = np.concatenate([[0], changes, [len(codes)]]).tolist() if len(codes) else [0]
    for first, stop in itertools.pairwise(bounds):
        left = x(max(float(begins[first]), 0.0))
        right = x(min(float(begins[stop - 1]) + step, x.high))
        if codes[first] >= 0 and right > left:
            hue = int(codes[first]) * 7 % HUES  # codes next to each other in number look different
            box = f"M{number(left)} {number(y)}h{number(right - left)}v12H{number(left)}z"
            paths.setdefault(hue, []).append(box)
    for hue, parts in sorted(paths.items()):
        svg.add("path", f"code h{hue}", d="".join(parts))


def heard_segments(words: Any) -> Segments | None:
    """The words of a hypothesis (a line of hypotheses-SPLIT.jsonl) that have times."""
    listed = words if isinstance(words, list) else ()
    rows = [row for word in listed if (row := _timed(word)) is not None]
    if not rows:
        return None
    starts, ends, labels = zip(*rows, strict=True)
    return Segments(np.array(starts), np.array(ends), tuple(labels))


def _timed(word: Any) -> tuple[float, float, str] | None:
    """Start, end and text; None for what no decoder of ours writes."""
    try:
        start, end, text = float(word["start"]), float(word["end"]), str(word["word"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return (start, end, text) if math.isfinite(start) and math.isfinite(end) else None
