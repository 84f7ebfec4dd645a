"""What the arrows leave on disk: folders of splits, SPLIT.* files beside one json that says what made them.

tokens.json, features.json and labels.json are such; `splits` in it has a row for each split, everything else
holds for all of them. SPLIT.ids has a line `utt⇥frames` for each utterance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.files import remove, sync_folder, write_whole
from ..common.inputs import read_bytes, read_json
from ..common.targets import followed, target_of
from ..common.words import lines_of

Folder = str | os.PathLike[str]
_COUNTS = ("stride", "receptive_field", "sample_rate", "num_groups", "num_codes")  # where the json has them
_OBJECTS = {"checkpoint", "dictionary"}


class StoreError(ValueError):
    """A folder of splits that cannot be used; the message names the file and the reason."""


class SettingsError(ValueError):
    """A run that cannot go on with what is there; the message says what differs."""


@dataclass(frozen=True)
class SplitFormat:
    """What is the same in all folders of one kind."""

    about: str  # the json
    files: tuple[str, ...]  # SPLIT.*, in the order of removal: a split is there as long as the first one is
    made_with: str  # the command that makes it
    error: type[StoreError]
    indent: int | None = 1  # of the json
    later: tuple[str, ...] = ()  # fields that the json came to have: where they are missing, nothing is known
    earlier_parts: tuple[str, ...] = ()  # `.SPLIT.NAME.part` that killed runs of earlier versions left

    def splits(self, folder: Folder) -> list[str]:
        """Those that are whole."""
        suffix = f".{self.files[0]}"
        files = (path for path in Path(folder).glob(f"*{suffix}") if path.is_file())
        return sorted(path.name.removesuffix(suffix) for path in files)

    def missing(self, path: Path) -> StoreError:
        """The error for a file of a split that is not there."""
        there = ", ".join(self.splits(path.parent)) or "none"
        return self.error(
            f"{path}: is missing; the splits in {path.parent} are: {there}; name one of these, or make it "
            f"with `{self.made_with}`"
        )

    def read_about(self, folder: Folder) -> dict[str, Any]:
        """What the json says; empty where there is none."""
        path = Path(folder) / self.about
        try:
            about = read_json(path) if path.exists() else {}
        except OSError as error:
            raise self.error(f"{path}: {error.strerror}; expected a JSON object") from error
        except ValueError as error:
            raise self.error(f"{path}: {error}; expected a JSON object") from error
        if not isinstance(about, dict):
            raise self.error(f"{path}: holds a {type(about).__name__}, expected a JSON object")
        for name in _COUNTS:
            value = about.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < 2**31:
                raise self.error(f"{path}: `{name}` is {value!r:.80}; expected a whole number from 1 up")
        for name in _OBJECTS & about.keys():
            if not isinstance(about[name], dict):
                raise self.error(f"{path}: `{name}` is {about[name]!r:.80}; expected an object")
        splits = about.get("splits", {})
        if not isinstance(splits, dict) or not all(isinstance(row, dict) for row in splits.values()):
            raise self.error(f"{path}: its `splits` are {splits!r:.80}; expected an object for each split")
        return about

    def write_about(self, folder: Folder, about: Mapping[str, Any]) -> None:
        write_whole(Path(folder) / self.about, self.about_bytes(about))

    def about_bytes(self, about: Mapping[str, Any]) -> bytes:
        """The json; a name that is not UTF-8 stands in it with json's own escapes."""
        text = json.dumps(dict(about), indent=self.indent, sort_keys=True, ensure_ascii=False)
        return (text + "\n").encode("utf-8", "backslashreplace")

    def read_ids(self, folder: Folder, split: str, expected: int) -> list[tuple[str, int]]:
        """(utterance, frames) of each line of SPLIT.ids."""
        path = Path(folder) / f"{split}.ids"
        try:
            lines = text_lines(path)
            rows = [(utt, _count(frames)) for utt, frames in (line.split("\t") for line in lines)]
        except FileNotFoundError:
            raise self.error(
                f"{path}: is missing; expected a line 'utterance<TAB>frames' for each utterance"
            ) from None
        except OSError as error:
            raise self.error(f"{path}: {error.strerror}; expected lines 'utterance<TAB>frames'") from error
        except ValueError as error:
            raise self.error(f"{path}: {error}; expected lines 'utterance<TAB>frames'") from error
        if len(rows) != expected:
            raise self.error(
                f"{path}: has {len(rows)} lines, its .{self.files[0]} {expected} utterances; make both anew"
            )
        return rows

    def check_frames(
        self, folder: Folder, split: str, rows: Sequence[tuple[str, int]], sizes: Sequence[int]
    ) -> None:
        """SPLIT.ids says of each utterance what the other files do."""
        for number, ((utt, frames), size) in enumerate(zip(rows, sizes, strict=True), 1):
            if frames != size:
                raise self.error(
                    f"{Path(folder) / split}.ids:{number}: {utt!r} has {frames} frames, {size} in the other "
                    f"files of the split; they are not of one run: make all anew"
                )

    def is_published(self, folder: Folder, split: str, settings: Mapping[str, Any]) -> bool:
        """Whether the split is there, made with these settings; with others that is an error."""
        about = self.read_about(folder)
        row = about.get("splits", {}).get(split)
        if row is None or split not in self.splits(folder):
            return False
        now = self._comparable({**about, **row}, settings)
        check_same({k: row.get(k, about.get(k)) for k in now}, now, str(Path(folder) / split))
        return True

    def check_one_model(
        self, folder: Folder, split: str, model: Mapping[str, Any], unlisted: bool = False
    ) -> None:
        """All splits of a folder are of one model: of this one, where there are others.

        With `unlisted` those count too that lie there and are not in the json.
        """
        about = self.read_about(folder)
        there = self.splits(folder) if unlisted else []
        others = sorted({*about.get("splits", {}), *there} - {split})
        model = self._comparable(about, model)
        if others and (found := differences({k: about.get(k) for k in model}, model)):
            raise self.error(
                f"{folder}: its split {others[0]} is of another model ({self.about}: {found}), and all "
                "splits of a folder are of one; name another folder for this one"
            )

    def _comparable(self, held: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
        """Without the fields that files did not have when these were made."""
        return {name: value for name, value in now.items() if name in held or name not in self.later}

    def check_own(self, folder: Folder, split: str) -> None:
        """Files of that name which no run of ours has made stay as they are."""
        if split in self.read_about(folder).get("splits", {}):
            return
        for suffix in self.files[:2]:
            if (path := Path(folder) / f"{split}.{suffix}").exists():
                raise self.error(
                    f"{path} is there, and {self.about} does not say that this command made it; name another "
                    "folder, or move it away"
                )

    def check_outputs(self, folder: Folder, split: str) -> None:
        """Refuses devices in the places of its files, before there is anything to write."""
        for name in (self.about, *(f"{split}.{suffix}" for suffix in self.files)):
            target_of(Path(folder) / name)

    def hide(self, folder: Folder, split: str) -> None:
        """The split is not there, for as long as its files are exchanged."""
        path = followed(Path(folder) / f"{split}.{self.files[0]}")
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def clear(self, folder: Folder, split: str) -> None:
        """Removes the split, with what killed runs left of it."""
        for suffix in self.files:
            remove(Path(folder) / f"{split}.{suffix}")
        about = self.read_about(folder)
        if about.get("splits", {}).pop(split, None) is not None:
            self.write_about(folder, about)


def text_lines(path: Path, errors: str = "strict") -> list[str]:
    """Of a file of ours, byte by byte: no line end is taken for another."""
    return lines_of(read_bytes(path).decode("utf-8", errors))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"got {text!r} frames")
    return int(text)


def ids_line(utt: str, frames: int) -> str:
    """A line of SPLIT.ids."""
    return f"{utt}\t{frames}\n"


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """A run goes on only with the settings that it was begun with."""
    if found := differences(before, now):
        raise SettingsError(
            f"{where} was begun with other settings: {found}; say the same as then, or name another folder, "
            "or say --refresh to make this split anew"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first few, for a sentence; both as json holds them."""
    now = json.loads(json.dumps(dict(now)))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(f"`{n}` was {_short(before.get(n))} and is now {_short(now.get(n))}" for n in names[:3])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
