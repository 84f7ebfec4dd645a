"""A run's folder → its stages and what each has made, known by the files that lie there and by no name.

A recipe's stage is a folder with a log and the mark of its end (`runner.py`). What was made by hand, a
training folder or a folder of tokens, is a stage as well.
"""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LOG, BEGUN, DONE = "log.txt", "begun", "done"
HYDRA_LOG, HYDRA = "hydra_train.log", ".hydra"
_MARKS = {LOG, BEGUN, DONE, HYDRA_LOG, "checkpoint_last.pt", "checkpoint_best.pt"}
_PRODUCTS = (
    *("corpus.json", "tokens.json", "features.json", "labels.json", "abx.json", "errors-*.json", "*.arpa"),
    *("*.tsv", "hypotheses-*.jsonl"),
)
_AFTER = "after "
_DEPTH, _MOST_FILES = 6, 5000  # a folder with more files holds audio


class RunError(ValueError):
    """A folder that is no run; the message says what was looked for."""


@dataclass(frozen=True)
class StageFolder:
    """One stage; its files are those under it that are of no stage below it."""

    name: str
    path: Path
    files: tuple[Path, ...]

    @cached_property
    def state(self) -> str:
        """`done`, `unfinished`, or `unknown` where no recipe has left its marks."""
        if (self.path / DONE).is_file():
            return "done"
        return "unfinished" if {BEGUN, LOG} & {file.name for file in self.files} else "unknown"

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """The lines that a user would type; none where nobody wrote them down."""
        return tuple(line for line in self._stamp if not line.startswith(_AFTER))

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The stages that the recipe says it reads."""
        return tuple(line.split()[1] for line in self._stamp if line.startswith(_AFTER))

    @cached_property
    def _stamp(self) -> list[str]:
        """What the recipe wrote: commands, then `after STAGE HASH`."""
        text = read_text(self.path / DONE) or read_text(self.path / BEGUN)
        return [line for line in text.splitlines() if line.strip() and line.strip() != _AFTER.strip()]

    @cached_property
    def began(self) -> float:
        """Seconds of the epoch; the order of stages. Some file's time, where nothing better is known."""
        for name in (BEGUN, DONE, LOG, HYDRA_LOG):
            if (self.path / name).is_file():
                return (self.path / name).stat().st_mtime
        return min((file.stat().st_mtime for file in self.files), default=0.0)

    @property
    def seconds(self) -> float | None:
        """How long it took, where both marks tell; a copied run's are all of one moment."""
        marks = [self.path / name for name in (BEGUN, DONE)]
        if not all(mark.is_file() for mark in marks):
            return None
        seconds = marks[1].stat().st_mtime - marks[0].stat().st_mtime
        return seconds if seconds > 0.2 else None

    def arguments(self) -> list[str]:
        """The words of its commands."""
        try:
            return shlex.split(" ".join(self.commands))
        except ValueError:
            return " ".join(self.commands).split()

    def find(self, pattern: str) -> list[Path]:
        """Its files of such a name."""
        return [file for file in self.files if fnmatch.fnmatch(file.name, pattern)]


class RunFolder:
    """All stages of a run, in the order in which they began."""

    def __init__(self, path: str | os.PathLike[str], without: Path | None = None) -> None:
        """`without` is the folder of a stage that is no part of the page: the one that makes it."""
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise RunError(f"{path}: is no folder; expected the folder of a recipe's run, such as runs/toy")
        found = _gather(self.path)
        stages = [StageFolder(self._name(folder), folder, tuple(files)) for folder, files in found.items()]
        hidden = None if without is None else without.resolve()
        self.listed = next((stage.needs for stage in stages if stage.path == hidden), ())
        stages = [stage for stage in stages if stage.path != hidden or stage.path == self.path]
        self.stages = tuple(sorted(stages, key=lambda stage: (stage.began, stage.name)))
        if not self.stages:
            raise RunError(
                f"{path}: holds no stage of a run; expected subfolders with {LOG}, checkpoints, tokens.json, "
                f"features.json or manifests in them"
            )

    def find(self, pattern: str) -> list[tuple[StageFolder, Path]]:
        """All files of such a name, each with its stage."""
        return [(stage, file) for stage in self.stages for file in stage.find(pattern)]

    def short(self, text: str) -> str:
        """Text with the run's own long path as RUN."""
        return text.replace(str(self.path), "RUN")

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self.path).as_posix() if folder != self.path else self.path.name


def read_text(path: Path) -> str:
    """The text of a file; nothing where there is none, and no complaint about strange bytes."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gather(run: Path) -> dict[Path, list[Path]]:
    """Each stage's folder, and its files."""
    stages: dict[Path, list[Path]] = {}
    for folder, names in _walk(run):
        home = next((parent for parent in (folder, *folder.parents) if parent in stages), None)
        is_marked = bool(_MARKS & set(names))
        makes = any(fnmatch.fnmatch(name, pattern) for name in names for pattern in _PRODUCTS)
        if is_marked or (home is None and makes):
            home = folder
            stages[home] = []
        if home is not None:
            stages[home] += [folder / name for name in names]
    return stages


def _walk(run: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders from the top down, each with its files' names, in order; not those that hold audio."""
    for top, folders, names in os.walk(run):
        here = Path(top)
        is_deep = len(here.relative_to(run).parts) >= _DEPTH
        folders[:] = [] if is_deep else sorted(f for f in folders if f == HYDRA or not f.startswith("."))
        if len(names) <= _MOST_FILES:
            yield here, sorted(name for name in names if not name.startswith("."))
