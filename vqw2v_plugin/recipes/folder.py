"""A run's folder: how a recipe marks its stages, and how these are found again, by the files in them.

A recipe's stage is a folder with a log; `begun` and `done` hold its stamp. What was made by hand, such as a
training's folder or a folder of tokens, is a stage as well.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..common import inputs
from ..common.files import make_folder, write_whole
from ..common.words import lines_of

LOG, BEGUN, DONE, LOCK = "log.txt", "begun", "done", ".recipe.lock"
SCRIPT = "run.sh"  # of `vqw2v new`
HYDRA_LOG, HYDRA = "hydra_train.log", ".hydra"
TRAIN_LOG = "train.log"  # of fairseq-train, by our plugin
CHECKPOINTS = ("checkpoint_last.pt", "checkpoint_best.pt")  # of a training, the preferred one first
_MARKS = {LOG, BEGUN, DONE, HYDRA_LOG, TRAIN_LOG, *CHECKPOINTS}
_PRODUCTS = (
    *("corpus.json", "tokens.json", "features.json", "labels.json", "abx.json", "errors-*.json", "*.arpa"),
    *("*.tsv", "hypotheses-*.jsonl"),
)
_AFTER, _WITH = (re.compile(rf"{word} (.+) ([0-9a-f]{{16}})") for word in ("after", "with"))
_IN_RUN = re.compile(r"\$RUN\b|\$\{RUN\}")
_COMMANDS = ("vqw2v ", "fairseq-")  # of a script, those that make something
_DEPTH, _MOST_FILES = 6, 5000  # a folder with more files holds audio


class RunError(ValueError):
    """A folder that is not a run; the message says what was looked for."""


class StageError(RuntimeError):
    """A stage that cannot begin, or has failed; the message names its folder or its log."""


@dataclass(frozen=True)
class Stamp:
    """What a stage's results depend on; when its stamp changes, the stage runs anew.

    As text: a command a line, as a user would type it, then `after STAGE HASH` and `with FILE HASH`.
    """

    commands: tuple[str, ...]
    needs: tuple[tuple[str, str], ...] = ()  # each stage before it that it needs, and the hash of its stamp
    reads: tuple[tuple[str, str], ...] = ()  # each file of the user's that it reads, and its hash

    @property
    def text(self) -> str:
        after = (f"after {stage} {digest}" for stage, digest in self.needs)
        read = (f"with {file} {digest}" for file, digest in self.reads)
        return "\n".join([*self.commands, *after, *read]) + "\n"

    @property
    def hash(self) -> str:
        return hash_of(self.text.encode())

    @classmethod
    def parse(cls, text: str) -> Stamp:
        """What `text` has written."""
        lines = text.removesuffix("\n").split("\n")
        reads = _taken_from_end(lines, _WITH)
        needs = _taken_from_end(lines, _AFTER)
        return cls(tuple(_commands(lines)), needs, reads)


def hash_of(content: bytes) -> str:
    """A hash as stamps hold it."""
    return hashlib.sha256(content).hexdigest()[:16]


def is_done(folder: Path, stamp: Stamp) -> bool:
    """Whether the stage's results are there, made under this very stamp."""
    done = folder / DONE
    return done.is_file() and done.read_text(encoding="utf-8") == stamp.text


def begin(folder: Path, stamp: Stamp) -> None:
    """Marks a stage as begun; what lies there under another stamp is removed first."""
    make_folder(folder)
    begun = folder / BEGUN
    ours = (LOCK, BEGUN)
    if not begun.is_file():
        if any(path.name not in ours and not path.name.startswith(f".{BEGUN}.") for path in folder.iterdir()):
            raise StageError(f"{folder} is there and no recipe made it; move it away, or name another run")
    elif begun.read_text(encoding="utf-8") != stamp.text:
        (folder / DONE).unlink(missing_ok=True)  # first of all, since what it promises is about to go
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in ours:
                path.unlink()
    write_whole(begun, stamp.text)


def finish(folder: Path, stamp: Stamp) -> None:
    """Marks a stage as done."""
    write_whole(folder / DONE, stamp.text)


@dataclass(frozen=True)
class StageFolder:
    """One stage; its files are all those under it that do not belong to a stage further down."""

    name: str
    path: Path
    files: tuple[Path, ...]
    scripted: tuple[str, ...] = ()  # commands of the run's script, where it made the stage

    @cached_property
    def state(self) -> str:
        """`done`, `unfinished`, or `unknown` where no recipe has left its marks."""
        if (self.path / DONE).is_file():
            return "done"
        return "unfinished" if {BEGUN, LOG} & {file.name for file in self.files} else "unknown"

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """What a user would type; nothing where nobody wrote it down."""
        return self._stamp.commands or self.scripted

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The stages that the recipe says it reads."""
        return tuple(stage for stage, _ in self._stamp.needs)

    @cached_property
    def _stamp(self) -> Stamp:
        return Stamp.parse(read_text(self.path / DONE) or read_text(self.path / BEGUN))

    @cached_property
    def began(self) -> float:
        """Seconds since 1970, by which stages are sorted; without marks, the time of its oldest file."""
        for name in (BEGUN, DONE, LOG, HYDRA_LOG, TRAIN_LOG):
            if (self.path / name).is_file():
                return (self.path / name).stat().st_mtime
        return min((file.stat().st_mtime for file in self.files), default=0.0)

    @property
    def seconds(self) -> float | None:
        """How long it took, if both marks tell; in a copied run both may have the same time."""
        marks = [self.path / name for name in (BEGUN, DONE)]
        if not all(mark.is_file() for mark in marks):
            return None
        seconds = marks[1].stat().st_mtime - marks[0].stat().st_mtime
        return seconds if seconds > 0.2 else None

    @property
    def checkpoint(self) -> Path | None:
        """A training's last checkpoint, if there is one."""
        return next((path for name in CHECKPOINTS if (path := self.path / name).is_file()), None)

    def arguments(self) -> list[str]:
        """The words of all its commands."""
        return [word for command in self.commands for word in words_of(command)]

    def find(self, pattern: str) -> list[Path]:
        """Its files whose names match the pattern."""
        return [file for file in self.files if fnmatch.fnmatch(file.name, pattern)]


class RunFolder:
    """All stages of a run, in the order in which they began."""

    def __init__(self, path: str | os.PathLike[str], without: Path | None = None) -> None:
        """`without` is the folder of a stage to leave out: the one that is making the page."""
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise RunError(f"{path}: is not a folder; expected that of a recipe's run, such as runs/toy")
        found = _gather(self.path)
        scripted = _scripted(self.path, list(found))
        stages = [
            StageFolder(self._name(folder), folder, tuple(files), scripted.get(folder, ()))
            for folder, files in found.items()
        ]
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
        """All files whose names match the pattern, each with its stage."""
        return [(stage, file) for stage in self.stages for file in stage.find(pattern)]

    def short(self, text: str) -> str:
        """The text with RUN in place of the run's own long path."""
        return text.replace(str(self.path), "RUN")

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self.path).as_posix() if folder != self.path else self.path.name


def read_text(path: Path) -> str:
    """A file's text; empty if there is no such file, and never an error about what it is."""
    try:
        return inputs.read_text(path, errors="replace")
    except (OSError, UnicodeDecodeError):
        return ""


def words_of(command: str) -> list[str]:
    """A command's words; what no shell could read is split at blanks."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def script_commands(run: Path) -> list[str]:
    """Those of the run's script, a line each and with the run's folder in place of $RUN."""
    joined = re.sub(r"\\\n\s*", "", read_text(run / SCRIPT))  # a line that goes on in the next one
    found = [line.strip() for line in lines_of(joined)]
    return [_IN_RUN.sub(lambda _: str(run), line) for line in found if line.startswith(_COMMANDS)]


def _scripted(run: Path, folders: Iterable[Path]) -> dict[Path, tuple[str, ...]]:
    """Each command goes to the stage whose folder it names as a whole, else to the run's own."""
    found: dict[Path, list[str]] = {}
    stages = [folder for folder in folders if folder != run]
    for command in script_commands(run):
        named = {word.rpartition("=")[2] for word in words_of(command)}
        home = next((folder for folder in stages if str(folder) in named), run)
        found.setdefault(home, []).append(command)
    return {folder: tuple(commands) for folder, commands in found.items()}


def _taken_from_end(lines: list[str], kind: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    """Removes the last lines of this kind; returns (name, hash) of each."""
    found: list[tuple[str, str]] = []
    while lines and (line := kind.fullmatch(lines[-1])):
        found.insert(0, (line[1], line[2]))
        del lines[-1]
    return tuple(found)


def _commands(lines: Iterable[str]) -> Iterator[str]:
    """One a line, except where a quoted word holds line breaks."""
    command = ""
    for line in lines:
        command += f"\n{line}" if command else line
        try:
            words = shlex.split(command)
        except ValueError:  # inside a quotation
            continue
        if words:
            yield command
        command = ""
    if command:
        yield command


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
    """Folders from the top down with the sorted names of their files; those that hold audio are left out."""
    for top, folders, names in os.walk(run):
        here = Path(top)
        is_deep = len(here.relative_to(run).parts) >= _DEPTH
        folders[:] = [] if is_deep else sorted(f for f in folders if f == HYDRA or not f.startswith("."))
        if len(names) <= _MOST_FILES:
            yield here, sorted(name for name in names if not name.startswith("."))
