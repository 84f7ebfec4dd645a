"""letters ──decoder──▶ text: hypotheses as json lines and as CTM lines, in seconds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.files import write_whole
from .hypothesis import Hypothesis, TimedText


def json_line(utt: str, hypotheses: Sequence[Hypothesis], frame_seconds: float, labels: bool = False) -> str:
    """One utterance a line: the best hypothesis, and the others under `nbest`; `labels` with times too."""
    best, *others = (_answer(hypothesis, frame_seconds, labels) for hypothesis in hypotheses)
    line = {"utt": utt, **best, **({"nbest": others} if others else {})}
    # a name that is not UTF-8 stands in it with json's own escapes
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def ctm_lines(utt: str, hypothesis: Hypothesis, frame_seconds: float) -> list[str]:
    """`utt channel start duration word confidence` of each word, as sclite and Kaldi read them."""
    return [
        f"{utt} 1 {word.begin * frame_seconds:.3f} "
        f"{(word.end - word.begin) * frame_seconds:.3f} {word.text} {word.confidence:.4f}"
        for word in hypothesis.words
    ]


def _answer(hypothesis: Hypothesis, frame_seconds: float, labels: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "text": hypothesis.text,
        "score": round(hypothesis.score, 4) if math.isfinite(hypothesis.score) else None,
        "words": [_timed("word", word, frame_seconds) for word in hypothesis.words],
    }
    if labels:
        answer["labels"] = [_timed("label", token, frame_seconds) for token in hypothesis.tokens]
    return answer


def _timed(name: str, said: TimedText, frame_seconds: float) -> dict[str, Any]:
    return {
        name: said.text,
        "start": round(said.begin * frame_seconds, 3),
        "end": round(said.end * frame_seconds, 3),
        "confidence": round(said.confidence, 4),
    }


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
        write_whole(
            self.folder / f"{name}.ctm",
            "".join(f"{line}\n" for line in ctm).encode("utf-8", "surrogateescape"),
        )
