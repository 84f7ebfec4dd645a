"""tokens of a corpus → all that is told of a tokenizer: in lines for who reads, in json for pages and tables.

Shapes: T frames, G groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.augment import CHANGES
from ..audio.reading import read_audio
from ..corpora.ctm import Segments
from ..corpora.manifest import Utterance
from ..stores.frames import FrameTimes
from ..tokenizer import Tokenizer
from .code_quality import (
    Interval,
    VoiceProbe,
    effective_rank,
    probe_voices,
    share_over_speakers,
    unit_edits,
)
from .phone_codes import (
    Codes,
    CodeUsage,
    PhoneInformation,
    code_usage,
    frame_phones,
    joint_ids,
    phone_information,
)

_RANK_CLIPS = 20


class PhonesError(ValueError):
    """Times that are of no use; the message goes on after the file's name."""


@dataclass(frozen=True)
class Asked:
    """What is to be told."""

    segments: Mapping[str, Segments] | None = None  # phones' times
    robust: int = 0  # clips to change
    seed: int = 1


@dataclass(frozen=True)
class CodeReport:
    """Of one tokenizer over one corpus."""

    name: str
    layer: str  # whose frames get codes
    usage: CodeUsage
    rank: float
    dim: int
    phones: PhoneInformation | None = None
    sure: Interval | None = None
    voices: VoiceProbe | None = None
    edits: Mapping[str, float] = dataclasses.field(default_factory=dict)  # of each change
    edited: int = 0  # clips

    def lines(self) -> list[str]:
        usage = self.usage
        found = [
            f"{self.name}: {usage.num_frames:,} frames, {usage.num_groups} groups of {usage.num_codes} codes"
        ]
        for group, (used, perplexity) in enumerate(zip(usage.used, usage.perplexity, strict=True)):
            found.append(
                f"  group {group}: {used} of {usage.num_codes} codes used, perplexity {perplexity:.1f}"
            )
        found.append(
            f"  together: {usage.share_used:.0%} of the codes used; {usage.joint_used:,} combinations, "
            f"perplexity {usage.joint_perplexity:.1f}"
        )
        found += [*self._of_phones(), *self._of_voices()]
        found.append(f"  rank: {self.rank:.1f} of {self.dim} dimensions of {self.layer} are filled")
        if self.edits:
            told = ", ".join(f"{name} {share:.0%}" for name, share in self.edits.items())
            found.append(f"  tokens that change, in {self.edited} clips, of those before: {told}")
        return found

    def _of_phones(self) -> list[str]:
        told, sure, between = self.phones, self.sure, ""
        if told is None:
            return []
        if sure is not None:
            between = f", over {sure.speakers} {sure.of} {sure.low:.1%} to {sure.high:.1%}"
        return [
            f"  phones: the code tells {told.bits:.2f} of {told.phone_entropy:.2f} bits about the phone "
            f"({told.share:.1%}{between}; {told.num_phones} phones, {told.num_frames:,} frames)"
        ]

    def _of_voices(self) -> list[str]:
        probe = self.voices
        if probe is None:
            return []
        return [
            f"  voices: {probe.accuracy:.1%} of {probe.clips} clips are told to be of their speaker by their "
            f"tokens alone (of {probe.speakers}; chance {probe.chance:.1%})"
        ]

    def to_json(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        if self.phones is not None:
            found["phones"]["share"] = self.phones.share
        return found


def report_codes(
    name: str, tokenizer: Tokenizer, codes: Mapping[str, Codes], rows: Sequence[Utterance], asked: Asked
) -> CodeReport:
    """`codes` are those of `rows` that could be encoded."""
    rows = [row for row in rows if row.utt in codes]
    speakers = {row.utt: row.speaker for row in rows if row.speaker}
    phones, sure = _phones(tokenizer, codes, speakers, asked)
    frames = np.concatenate([tokenizer.features_of(row).cpu().numpy() for row in _spread(rows, _RANK_CLIPS)])
    changed = _spread(rows, asked.robust)
    return CodeReport(
        name,
        tokenizer.layer,
        code_usage(np.concatenate(list(codes.values())), tokenizer.num_codes),
        effective_rank(frames),
        frames.shape[1],
        phones,
        sure,
        probe_voices(codes, speakers),
        _edits(tokenizer, changed, asked.seed),
        len(changed),
    )


def _phones(
    tokenizer: Tokenizer, codes: Mapping[str, Codes], speakers: Mapping[str, str], asked: Asked
) -> tuple[PhoneInformation | None, Interval | None]:
    if asked.segments is None:
        return None, None
    geometry = tokenizer.geometry
    times = FrameTimes(geometry.stride, geometry.receptive_field, tokenizer.sample_rate)
    parts = {utt: frame_phones({utt: found}, asked.segments, times) for utt, found in codes.items()}
    phones = [phone for _, labels in parts.values() for phone in labels]
    if not phones:
        raise PhonesError("has times for none of the manifest's utterances; are they of the same split?")
    ids = joint_ids(np.concatenate([kept for kept, _ in parts.values()]))
    voices = [speakers.get(utt, utt) for utt, (_, labels) in parts.items() for _ in labels]
    of = "speakers" if speakers else "utterances"
    return phone_information(ids, phones), share_over_speakers(ids, phones, voices, of)


def _edits(tokenizer: Tokenizer, rows: Sequence[Utterance], seed: int) -> dict[str, float]:
    if not rows:
        return {}
    rate, found = tokenizer.sample_rate, {name: list[float]() for name in CHANGES}
    for i, row in enumerate(rows):
        wav = read_audio(row, rate)
        before = tokenizer.encode(wav, rate).numpy()
        for name, change in CHANGES.items():
            after = tokenizer.encode(change(wav, np.random.default_rng([seed, i]), rate), rate).numpy()
            found[name].append(unit_edits(before, after))
    return {name: float(np.mean(shares)) for name, shares in found.items()}


def _spread(rows: Sequence[Utterance], number: int) -> list[Utterance]:
    """So many from all over."""
    size = min(number, len(rows))
    return [rows[i * len(rows) // size] for i in range(size)]
