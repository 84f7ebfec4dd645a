"""What `vqw2v usage --by` found → shares of codes, tree and plane, and each group's own codes to hear."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import soundfile

from ...audio.clip import Clip
from ...audio.reading import AudioError, read_audio
from ..code_map import CodeMap, Heard, OwnCode
from ..run_results import MapRow
from ..run_view import RunView
from .clips import RATE
from .group_figures import group_figure
from .page import Section, figure, heading, paragraph, table
from .png import data_url
from .svg import percent

_TITLE = "Codes of groups"
_AROUND = 0.5  # seconds to each side of where a code is heard
_MOST_CLIPS, _OF_A_GROUP = 36, 3


def groups_section(view: RunView) -> Section | None:
    """One part a map; None where there is none, as most runs are of one language."""
    if not view.maps:
        return None
    body = paragraph(
        "All groups are counted over equally many frames. A distance is that of Jensen and Shannon between "
        "how often two groups use each code: 0 where alike, 1 where they share no code. Two halves of one "
        "group are not at 0 either: nearer than these nothing is told apart. Where a language is one "
        "speaker's, the distance is the voice's too.",
        "lead",
    )
    for row in view.maps:
        body += _part(row)
    return Section(_TITLE, body)


def _part(row: MapRow) -> str:
    made = row.made
    spread = made.spread
    shares = [percent(spread[name], 1) for name in ("all", "some", "one", "none")]
    head = [f"codes used by all {len(made.names)}", "by some", "by one alone", "by none", "frames of each"]
    body = heading(f"{row.stage.name}: by {row.by}")
    body += table(head, [[*shares, f"{made.frames:,}"]], range(5))
    body += figure(group_figure(made), "The nearest joined first; the near lie near", kind="full")
    body += _distances(made)
    return body + _own_codes(made, row.own, row.files)


def _distances(made: CodeMap) -> str:
    if len(made.names) > 16:
        return ""
    rows = [
        [f"<b>{escape(name)}</b>", *(f"{value:.3f}" for value in distances)]
        for name, distances in zip(made.names, made.distances.tolist(), strict=True)
    ]
    note = paragraph("Distances; on the diagonal those of two halves of one group.")
    return note + table(["", *map(escape, made.names)], rows, range(1, len(made.names) + 1))


def _own_codes(
    made: CodeMap, own: Mapping[str, Sequence[OwnCode]], files: Mapping[str, Mapping[str, Any]]
) -> str:
    rows, left = [], _MOST_CLIPS
    for name in made.names:
        for number, each in enumerate(own.get(name, ())):
            sound = ""
            if each.heard and left and number < _OF_A_GROUP:
                sound, left = _sound(each.heard[0], files), left - 1
            where = ", ".join(f"{place.utt} at {place.second:.2f} s" for place in each.heard)
            rows.append(
                [
                    escape(name),
                    f'<span class="mono">{made.title(each.code)}</span>',
                    percent(each.share, 1),
                    percent(each.elsewhere, 1),
                    sound or "–",
                    escape(where),
                ]
            )
    head = ["group", "code", "of its frames", "of others'", "to hear", "longest in"]
    return heading("What is most each group's own") + table(head, rows, (2, 3))


def _sound(place: Heard, files: Mapping[str, Mapping[str, Any]]) -> str:
    """A second of audio around the middle of the code's longest run."""
    try:
        said = files[place.utt]
        clip = Clip(str(said["path"]), int(said["samples"]), int(said["start"]), _rate(said.get("rate")))
        wav = read_audio(clip, RATE)
    except (AudioError, OSError, LookupError, TypeError, ValueError, OverflowError):
        return ""
    begin = max(0, int((place.second - _AROUND) * RATE))
    wav = wav[begin : begin + int(2 * _AROUND * RATE)]
    if not len(wav):
        return ""
    file = io.BytesIO()
    soundfile.write(file, wav, RATE, format="FLAC", subtype="PCM_16")
    label = escape(f"{place.utt} at {place.second:.2f} seconds")
    return (
        f'<audio controls preload="none" src="{data_url(file.getvalue(), "audio/flac")}" '
        f'aria-label="{label}"></audio>'
    )


def _rate(value: Any) -> int | None:
    return None if value is None else int(value)
