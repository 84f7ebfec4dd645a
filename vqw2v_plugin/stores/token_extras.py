"""The tokens of the picture on disk, what lies beside the ids: text, frames of runs, a file of codes each.

SPLIT.txt has a line of symbols an utterance, SPLIT.durations.npy the frames of each token of `--run-length`,
SPLIT.codes/UTT.npy the codes [T, G] of an utterance.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..common.files import part_of, publish_in_order
from .numbers import map_numbers
from .symbols import TOKENS, Codes, Ids, TokenError, symbols_of
from .tokens import TokenStore

_NPY_HEADER = 128  # bytes of a .npy file before its numbers
_LONGEST = 255  # bytes of a file's name


def code_file(utt: str) -> str:
    """Where the codes of an utterance lie below SPLIT.codes: folders by its slashes, never above."""
    steps = [step if step.strip(".") else step.replace(".", "%2E") for step in utt.split("/") if step]
    return "/".join(steps or ["%2F"]) + ".npy"


def check_code_files(utts: Iterable[str], where: str) -> None:
    """Refuses names that would share a file, or that can have none."""
    files: dict[str, str] = {}
    for utt in utts:
        file = code_file(utt)
        if (other := files.setdefault(file, utt)) != utt:
            raise TokenError(
                f"{where}: `--npy` would write the codes of {other!r} and of {utt!r} into one file, {file}; "
                f"rename one, or leave `--npy` out"
            )
        if "\0" in utt or max(len(step.encode()) for step in file.split("/")) > _LONGEST:
            raise TokenError(
                f"{where}: `--npy` has no file for the utterance {utt[:80]!r}, which holds a NUL or more "
                f"than {_LONGEST - 4} bytes between slashes; rename it, or leave `--npy` out"
            )
    for file, utt in files.items():
        if clash := next((above for above in _above(file) if above in files), None):
            raise TokenError(
                f"{where}: `--npy` would make {clash} a file for {files[clash]!r} and a folder for {utt!r}; "
                f"rename one, or leave `--npy` out"
            )


def _above(file: str) -> Iterator[str]:
    steps = file.split("/")
    return ("/".join(steps[:count]) for count in range(1, len(steps)))


class TokenExtras:
    """Takes each utterance of a split in turn; what it writes gets its names on `publish`."""

    def __init__(self, out: Path, split: str, run_length: bool, text: bool, npy: bool) -> None:
        names = {"txt": text, "durations.npy": run_length, "codes": npy}
        self._paths = {name: out / f"{split}.{name}" for name, is_wanted in names.items() if is_wanted}
        parts = {name: part_of(path) for name, path in self._paths.items()}
        self._text = open(parts["txt"], "w", encoding="utf-8", newline="\n") if text else None
        self._durations = open(parts["durations.npy"], "wb") if run_length else None
        if self._durations is not None:
            self._durations.seek(_NPY_HEADER)
        self._codes = parts.get("codes")
        if self._codes is not None:
            shutil.rmtree(self._codes, ignore_errors=True)  # a killed run's
            self._codes.mkdir()

    def add(self, utt: str, codes: Codes, kept: Codes, lengths: Ids) -> None:
        """`codes` [T, G] of all frames, `kept` [N, G] of the tokens, `lengths` [N] the frames of each."""
        if self._durations is not None:
            self._durations.write(lengths.astype("<i4").tobytes())
        if self._text is not None:
            symbols, inverse = symbols_of(kept)
            self._text.write(" ".join(symbols[i] for i in inverse.tolist()) + "\n")
        if self._codes is not None:
            path = self._codes / code_file(utt)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(path, "xb") as file:
                    np.save(file, codes)
            except FileExistsError:
                raise TokenError(
                    f"{path}: is another utterance's than {utt!r} on this disk, which does not tell their "
                    f"names apart; rename one, or leave `--npy` out"
                ) from None

    def publish(self) -> None:
        if self._text is not None:
            self._text.close()
        if self._durations is not None:
            count = (self._durations.tell() - _NPY_HEADER) // 4
            self._durations.seek(0)
            header = {"descr": "<i4", "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(self._durations, header)
            assert self._durations.tell() == _NPY_HEADER
            self._durations.close()
        publish_in_order((part_of(path), path) for path in self._paths.values())


def read_durations(folder: Path, split: str, store: TokenStore) -> npt.NDArray[np.int32]:
    """The frames of each token of all utterances, from SPLIT.durations.npy; they are as many as .ids says."""
    path = folder / f"{split}.durations.npy"
    try:
        durations = map_numbers(path, (np.int32,), 1)
    except FileNotFoundError:
        raise TOKENS.missing(path) from None
    except ValueError as error:
        raise TokenError(f"{path}: {error}; make the split anew") from None
    ends = np.cumsum(store.sizes)
    if len(durations) != (ends[-1] if len(ends) else 0):
        raise TokenError(f"{path}: has {len(durations)} numbers, expected one a token; make the split anew")
    frames = np.append(0, np.cumsum(durations, dtype=np.int64))
    TOKENS.check_frames(folder, split, store.rows, (frames[ends] - frames[ends - store.sizes]).tolist())
    return durations
