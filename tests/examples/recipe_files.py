"""What a recipe's stages read and write, by the paths in their commands."""

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from vqw2v_plugin.recipes.runner import Stage, all_needs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@contextmanager
def scripts_of(folder: str, *names: str) -> Iterator[list[ModuleType]]:
    """The scripts of a folder of examples/, which import each other by their bare names."""
    known = set(sys.modules)
    sys.path.insert(0, str(EXAMPLES / folder))
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(EXAMPLES / folder))
        for name in set(sys.modules) - known:
            if f"{EXAMPLES}/" in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]  # another folder has a script of this name


def touched(stage: Stage, run: Path, names: set[str]) -> set[str]:
    """The stages in whose folders a stage reads or writes."""
    words = " ".join(word for command in stage.commands for word in command)
    found = set()
    for path in re.findall(rf"{re.escape(str(run))}/([^\s,\]'\"]+)", words):
        parts = Path(path).parts
        owners = ["/".join(parts[:n]) for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in names]
        assert owners, f"{stage.name} names {path}, which no stage makes"
        found.add(owners[0])
    return found


def check_order(stages: Sequence[Stage], run: Path) -> None:
    """Each stage touches its own folder, and besides it only those of stages that it waits for."""
    needs, names = all_needs(stages), {stage.name for stage in stages}
    for stage in stages:
        found = touched(stage, run, names)
        assert found - {stage.name} <= needs[stage.name], (stage.name, found, needs[stage.name])


def words_of(stages: Sequence[Stage], name: str, number: int = 0) -> list[str]:
    """A command of the stage of this name."""
    (stage,) = (stage for stage in stages if stage.name == name)
    return [str(word) for word in stage.commands[number]]


def value_of(words: Sequence[str], option: str) -> str:
    """The word behind an option."""
    return words[words.index(option) + 1]
