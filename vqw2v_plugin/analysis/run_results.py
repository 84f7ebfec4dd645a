"""What a run's later stages found: error rates, ABX errors, hypotheses, from json files that may be broken.

A file that is cut short or of another format is named and left out: a page without it is better than none.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common.inputs import parse_json, read_json, read_text
from ..common.words import lines_of
from ..recipes.folder import RunError, RunFolder, StageFolder, words_of
from .code_map import CodeMap, OwnCode
from .code_map_files import read_map

# what an errors-SPLIT.json calls the counts of a kind of error: what it calls the examples
KINDS = {"substitutions": "substituted", "deletions": "deleted", "insertions": "inserted"}
_WEIGHTS = ("--lm-weight", "--word-score", "--sil-score", "--beam")


@dataclass(frozen=True)
class Confusion:
    """What was said, and what was heard instead so many times; an empty side means nothing."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True)
class ErrorRates:
    """One errors-SPLIT.json."""

    name: str  # of the stage; and of the folder in it, where one stage decodes in several ways
    decoder: str  # as its command says; empty where none does
    split: str
    unit: str
    rate: float  # percent
    counts: Mapping[str, int]  # of KINDS
    length: int  # items of the reference
    frequent: Mapping[str, tuple[Confusion, ...]]
    path: Path = Path()


@dataclass(frozen=True)
class Abx:
    """One row of an abx.json; errors between 0 and 1, None where no triple could be made."""

    stage: StageFolder
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        layer = str(self.about.get("layer", "?"))
        return f"{self.stage.name}: {layer}"

    @property
    def within(self) -> float | None:
        return _number(self.about.get("within"))

    @property
    def across(self) -> float | None:
        return _number(self.about.get("across"))


@dataclass(frozen=True)
class UsageRow:
    """One row of a usage.json: a tokenizer, or one to hold it against."""

    stage: StageFolder
    about: Mapping[str, Any]

    def number(self, *path: str) -> float | None:
        """A number somewhere in the row."""
        value: Any = self.about
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return _number(value)

    @property
    def edits(self) -> dict[str, float]:
        found = self.about.get("edits")
        numbers = {str(k): _number(v) for k, v in found.items()} if isinstance(found, Mapping) else {}
        return {name: number for name, number in numbers.items() if number is not None}


@dataclass(frozen=True)
class MapRow:
    """One map of `vqw2v usage --by`."""

    stage: StageFolder
    by: str
    made: CodeMap
    own: Mapping[str, Sequence[OwnCode]]
    files: Mapping[str, Mapping[str, Any]]  # of the utterances to hear


def read_errors(run: RunFolder, troubles: list[str]) -> list[ErrorRates]:
    """Every errors-SPLIT.json of the run."""
    found = []
    for stage, path in run.find("errors-*.json"):
        about = _json(path, run, troubles)
        if about is None:
            continue
        try:
            found.append(_rates(stage, path, about))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            troubles.append(f"{run.short(str(path))} is not what `--scoring vq_error` writes: {error!r}")
    return found


def find_errors(folder: str | os.PathLike[str], troubles: list[str]) -> list[ErrorRates]:
    """Every errors-SPLIT.json below a folder, with the decoder that its stage's command names, if any."""
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder}: is no folder; expected one of runs")
    try:
        known = {each.path: each for each in read_errors(RunFolder(root), [])}  # what is broken is told below
    except RunError:  # of no recipe
        known = {}
    found = []
    for path in sorted(root.resolve().rglob("errors-*.json")):
        name = path.parent.relative_to(root.resolve()).as_posix()
        shown = f"{root}/{name}" if name != "." else str(root)
        if path in known:
            found.append(replace(known[path], name=shown))
        else:
            try:
                found.append(replace(_rates(None, path, read_json(path)), name=shown))
            except (OSError, LookupError, TypeError, ValueError, OverflowError) as error:
                troubles.append(f"{path} is not what `--scoring vq_error` writes: {error!r}")
    return found


def read_abx(run: RunFolder, troubles: list[str]) -> list[Abx]:
    """Every row of every abx.json but those without a single triple."""
    found = []
    for stage, path in run.find("abx*.json"):
        about = _json(path, run, troubles)
        rows = about if isinstance(about, list) else [about] if about is not None else []
        for row in rows:
            if isinstance(row, Mapping) and (_number(row.get("within")), _number(row.get("across"))) != (
                None,
                None,
            ):
                found.append(Abx(stage, row))
            else:
                troubles.append(f"{run.short(str(path))} has no error within or across speakers")
    return found


def read_usage(run: RunFolder, troubles: list[str]) -> list[UsageRow]:
    """Every row of every usage.json."""
    found = []
    for stage, path in run.find("usage*.json"):
        about = _json(path, run, troubles)
        for row in about if isinstance(about, list) else [about] if about is not None else []:
            if isinstance(row, Mapping) and isinstance(row.get("usage"), Mapping):
                found.append(UsageRow(stage, row))
            elif isinstance(row, Mapping) and "by" in row:
                continue  # a map, which is read as such
            else:
                troubles.append(f"{run.short(str(path))} is not what `vqw2v usage --out` writes")
    return found


def read_maps(run: RunFolder, troubles: list[str]) -> list[MapRow]:
    """Every map of groups and their codes."""
    found = []
    for stage, path in [*run.find("map*.json"), *run.find("usage*.json")]:
        about = _json(path, run, troubles)
        if not isinstance(about, Mapping) or "by" not in about:
            continue
        try:
            made, own = read_map(about)
            files = about["files"] if isinstance(about.get("files"), Mapping) else {}
            found.append(MapRow(stage, str(about["by"]), made, own, files))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            troubles.append(f"{run.short(str(path))} is not what `vqw2v usage --by` writes: {error!r}")
    return found


def read_hypotheses(run: RunFolder, troubles: list[str]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """By stage and utterance, the lines of hypotheses-SPLIT.jsonl but a last one that is cut short."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for stage, path in run.find("hypotheses-*.jsonl"):
        try:
            lines = lines_of(read_text(path))
        except (OSError, UnicodeDecodeError) as error:
            troubles.append(f"{run.short(str(path))} cannot be read: {error}")
            continue
        for line in lines:
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, Mapping) and "utt" in row:
                found.setdefault(_name(stage, path), {})[str(row["utt"])] = row
    return found


def _name(stage: StageFolder, path: Path) -> str:
    return "/".join([stage.name, *path.parent.relative_to(stage.path).parts])


def _decoder(stage: StageFolder | None, folder: Path, about: Mapping[str, Any]) -> str:
    """Of the command that wrote into a folder of this name, else the first; the run may have been moved.

    What the file itself says of its decoder counts where no command does.
    """
    commands = () if stage is None else stage.commands
    said = [dict(itertools.pairwise(words_of(command))) for command in commands]  # option: its value
    wrote = [options for options in said if Path(options.get("--results-path", "")).name == folder.name]
    named = next((options for options in wrote or said if "--decoder" in options), {})
    own = about.get("decoded")
    if "--decoder" not in named and isinstance(own, Mapping):
        named = {str(option): str(value) for option, value in own.items()}
    if "--decoder" not in named:
        return ""
    model = f" and language model {Path(named['--lm']).name}" if "--lm" in named else ""
    parts = [named["--decoder"] + model]
    if "--weights" in named:
        parts.append(f"weights of {Path(named['--weights']).name}")
    parts += [f"{option.removeprefix('--')} {named[option]}" for option in _WEIGHTS if option in named]
    return ", ".join(parts)


def _rates(stage: StageFolder | None, path: Path, about: Any) -> ErrorRates:
    return ErrorRates(
        path=path,
        name="" if stage is None else _name(stage, path),
        split=path.stem.removeprefix("errors-"),
        unit=str(about["unit"]),
        rate=float(about["rate"]),
        counts={kind: int(about[kind]) for kind in KINDS},
        length=int(about["reference_length"]),
        frequent=_confusions(about),
        decoder=_decoder(stage, path.parent, about),
    )


def _json(path: Path, run: RunFolder, troubles: list[str]) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        troubles.append(f"{run.short(str(path))} cannot be read: {error}")
        return None


def _confusions(about: Mapping[str, Any]) -> dict[str, tuple[Confusion, ...]]:
    """The file has rows [said, heard, count] for substitutions, [label, count] for the others."""
    named = about.get("most_frequent")
    frequent = named if isinstance(named, Mapping) else {}
    made = {
        "substitutions": lambda row: Confusion(str(row[0]), str(row[1]), int(row[2])),
        "deletions": lambda row: Confusion(str(row[0]), "", int(row[1])),
        "insertions": lambda row: Confusion("", str(row[0]), int(row[1])),
    }
    return {kind: tuple(map(make, frequent.get(KINDS[kind]) or ())) for kind, make in made.items()}


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float can hold
        return None
