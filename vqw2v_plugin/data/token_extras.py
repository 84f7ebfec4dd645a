"""Tokens in other shapes, if asked for: durations, plain text, a file of codes an utterance."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from .code_symbols import Codes, Ids, symbols_of

_HEADER = 128  # bytes of a .npy file before its numbers


class TokenExtras:
    """Takes each utterance of a split in turn; what it writes gets its names on `publish`."""

    def __init__(self, out: Path, split: str, run_length: bool, text: bool, npy: bool) -> None:
        self.out, self.split, self.npy = out, split, npy
        self._text = open(self._part("txt"), "w", encoding="utf-8", newline="\n") if text else None
        self._durations = open(self._part("durations.npy"), "wb") if run_length else None
        if self._durations is not None:
            self._durations.seek(_HEADER)
        if npy:
            shutil.rmtree(self._part("codes"), ignore_errors=True)
            self._part("codes").mkdir()

    def add(self, utt: str, codes: Codes, kept: Codes, lengths: Ids) -> None:
        """`codes` [T, G] of all frames, `kept` [N, G] of the tokens, `lengths` [N] the frames of each."""
        if self._durations is not None:
            self._durations.write(lengths.astype("<i4").tobytes())
        if self._text is not None:
            symbols, inverse = symbols_of(kept)
            self._text.write(" ".join(symbols[i] for i in inverse.tolist()) + "\n")
        if self.npy:
            steps = [step if step.strip(".") else step.replace(".", "%2E") for step in utt.split("/") if step]
            path = self._part("codes").joinpath(*steps[:-1], (steps[-1] if steps else "%2F") + ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, codes)

    def publish(self) -> None:
        if self._text is not None:
            self._text.close()
            os.replace(self._part("txt"), self.out / f"{self.split}.txt")
        if self._durations is not None:
            count = (self._durations.tell() - _HEADER) // 4
            self._durations.seek(0)
            header = {"descr": "<i4", "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(self._durations, header)
            assert self._durations.tell() == _HEADER
            self._durations.close()
            os.replace(self._part("durations.npy"), self.out / f"{self.split}.durations.npy")
        if self.npy:
            shutil.rmtree(self.out / f"{self.split}.codes", ignore_errors=True)
            os.replace(self._part("codes"), self.out / f"{self.split}.codes")

    def _part(self, name: str) -> Path:
        return self.out / f".{self.split}.{name}.part"
