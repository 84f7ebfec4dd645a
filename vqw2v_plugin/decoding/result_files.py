"""letters ──decoder──▶ text, kept: hypotheses-SPLIT.jsonl and .ctm, written when all are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..common.files import write_whole
from .hypothesis import Hypothesis
from .output import ctm_lines, json_line


class ResultFiles:
    """Answers in any order, files in that of the utterances' numbers."""

    def __init__(self, folder: str | os.PathLike[str], split: str, frame_seconds: float) -> None:
        self.folder, self.split, self.frame_seconds = Path(folder), split, frame_seconds
        self._json: dict[int, str] = {}
        self._ctm: dict[int, list[str]] = {}

    def add(self, number: int, utt: str, hypotheses: Sequence[Hypothesis]) -> None:
        """The answer to one utterance."""
        self._json[number] = json_line(utt, hypotheses, self.frame_seconds)
        self._ctm[number] = ctm_lines(utt, hypotheses[0], self.frame_seconds)

    def write(self) -> None:
        """Both files, whole."""
        order = sorted(self._json)
        ctm = (line for number in order for line in self._ctm[number])
        name = f"hypotheses-{self.split}"
        write_whole(self.folder / f"{name}.jsonl", "".join(f"{self._json[number]}\n" for number in order))
        write_whole(self.folder / f"{name}.ctm", "".join(f"{line}\n" for line in ctm))
