"""Frames of features or tokens, and phone times → the stretches of frames that ABX compares.

Shapes: F frames of all items, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..corpora.ctm import Segments
from ..stores.features import FeatureError
from ..stores.frames import FrameSource
from .abx import Items
from .abx_choices import SILENCES

_SILENCE = "SIL"  # the neighbour of a phone at an utterance's end or a gap, and the name of every silence
_GAP = 0.005  # seconds between two segments that rounding may explain


class _Phone(NamedTuple):
    utt: str
    first: int
    last: int
    label: str
    context: str
    speaker: str


@dataclass(frozen=True)
class PhoneItems:
    """The items, what their numbers mean, and what was left out."""

    items: Items
    phones: tuple[str, ...]
    speakers: tuple[str, ...]
    num_utterances: int
    without_frames: int  # segments so short that no frame's centre lies in them
    without_speaker: int  # utterances


def find_items(
    source: FrameSource,
    segments: Mapping[str, Segments],
    speakers: Mapping[str, str] | None,
    context: str,
    silences: Iterable[str] = SILENCES,
) -> PhoneItems:
    """Every phone but silences, sorted by utterance; without `speakers` all are taken for one speaker's."""
    quiet, found, short, nameless = set(silences), [], 0, 0
    utts = sorted(set(segments) & set(source.places))
    if not utts:
        raise FeatureError(
            f"the phone times are of none of the {len(source.places)} utterances of "
            f"{source.folder / source.split}; are they of the same split?"
        )
    pieces = []
    for utt in utts:
        speaker = "" if speakers is None else speakers.get(utt, "")
        if speakers is not None and not speaker:
            nameless += 1
            continue
        frames = source[utt]
        for phone in _phones(utt, segments[utt], source, speaker, context, quiet):
            last = min(phone.last, len(frames))
            if phone.first >= last:
                short += 1
                continue
            pieces.append(np.asarray(frames[phone.first : last]))
            found.append(phone)
    if not found:
        raise FeatureError(
            f"no frame of {source.folder / source.split} lies in a phone of an utterance whose speaker is "
            f"known ({len(utts)} utterances, {nameless} without a speaker, {short} phones without a frame)"
        )
    names = [_numbered([getattr(phone, name) for phone in found]) for name in ("label", "context", "speaker")]
    sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
    items = Items(np.concatenate(pieces), sizes.cumsum() - sizes, sizes, *(numbers for _, numbers in names))
    return PhoneItems(items, names[0][0], names[2][0], len(utts) - nameless, short, nameless)


def with_vectors(found: PhoneItems, source: FrameSource, checkpoint: str | Path) -> PhoneItems:
    """The items with the quantizer's vectors instead of codes; those of <unk> are zero."""
    import torch

    from ..checkpoints.travel import comes_from
    from ..tokenizer import Tokenizer

    made_by = source.about.get("checkpoint", {}).get("sha256")
    if made_by is not None and not comes_from(checkpoint, made_by):
        raise ValueError(f"{source.folder}: was not made by {checkpoint}; give the checkpoint that made it")
    codes = found.items.frames  # [F, G]
    known = (codes >= 0).all(1)
    vectors = Tokenizer.load(checkpoint).decode(torch.from_numpy(codes[known]).long()).cpu().numpy()
    frames = np.zeros((len(codes), vectors.shape[1]), dtype=np.float32)  # [F, C]
    frames[known] = vectors
    return replace(found, items=replace(found.items, frames=frames))


def _phones(
    utt: str, segments: Segments, source: FrameSource, speaker: str, context: str, quiet: set[str]
) -> Iterable[_Phone]:
    labels = [_SILENCE if label in quiet else label for label in segments.labels]
    for i, label in enumerate(labels):
        if segments.labels[i] in quiet:
            continue
        before = after = _SILENCE
        if i and segments.starts[i] - segments.ends[i - 1] < _GAP:
            before = labels[i - 1]
        if i + 1 < len(labels) and segments.starts[i + 1] - segments.ends[i] < _GAP:
            after = labels[i + 1]
        around = f"{before}\t{after}" if context == "triphone" else ""
        first, last = source.span(float(segments.starts[i]), float(segments.ends[i]))
        yield _Phone(utt, first, last, label, around, speaker)


def _numbered(names: list[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    different, numbers = np.unique(np.array(names), return_inverse=True)
    return tuple(different.tolist()), numbers.astype(np.int64)
