"""Who may import whom: rooms only what stands below them, the mathematics torch alone, and no circles."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vqw2v_plugin"
HOUSE = [
    {"commands", "models", "tasks", "criterions"},  # the doors: what users type
    {"training", "jobs", "analysis", "toy"},
    {"tokenizer", "transcriber", "recipes"},
    {"features", "export"},
    {"checkpoints", "decoding"},
    {"stores", "text", "corpora"},
    {"audio", "common"},
    {"modules", "quantizers"},  # the mathematics, which stands apart
]
ARROWS = {"wav2vec", "wav2vec2", "bert", "acoustic", "utterance", "unpaired"}
MATHEMATICS = [{"finetuned"}, ARROWS, {"quantizers"}, {"layers"}, {"kernels"}]
WITHOUT_MATHEMATICS = {"text", "corpora", "audio", "common", "recipes"}
EVERYWHERE = {"stack", "common"}  # the standard library alone
OUTSIDE = {"__init__", "__main__", "stack"}
FILES = sorted(PACKAGE.rglob("*.py"))


def level_of(rooms: list[set[str]]) -> dict[str, int]:
    return {room: level for level, together in enumerate(rooms) for room in together}


def parts_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name from the package's root, or absolute name) of every import, nested ones too."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.lineno, ".".join(["", *base, name])) for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_from_below(path: Path) -> None:
    room, levels = parts_of(path)[0], level_of(HOUSE)
    if room in OUTSIDE:
        return
    assert room in levels, f"{room} has no place in the house; give it one in HOUSE and in the design"
    for line, name in imports(path):
        assert not name.startswith("vqw2v_plugin"), f"{path}:{line}: import {name} relatively"
        if not name.startswith("."):
            continue
        other = name.split(".")[1]
        if room == "quantizers" and other == "modules":  # the registry of what lies there
            continue
        allowed = other == room or other in EVERYWHERE or levels.get(other, -1) > levels[room]
        assert allowed, f"{path}:{line}: {room} may not import {other}"
        apart = room in WITHOUT_MATHEMATICS and other in HOUSE[-1]
        assert not apart, f"{path}:{line}: {room} knows nothing of the mathematics, not {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "modules").rglob("*.py")), ids=lambda p: str(parts_of(p)))
def test_the_mathematics_knows_torch_and_what_is_simpler(path: Path) -> None:
    levels = level_of(MATHEMATICS)
    room = parts_of(path)[1]
    assert room in levels or room == "__init__", f"modules/{room} has no level; give it one in MATHEMATICS"
    for line, name in imports(path):
        root = name.split(".")[0]
        fine = name.startswith(".modules.") or root == "torch" or root in sys.stdlib_module_names
        fine = fine or (root == "triton" and path.stem.startswith("triton_"))  # loaded where there is a GPU
        assert fine, f"{path}:{line}: modules may not import {name}"
        if name.startswith(".modules."):
            other = name.split(".")[2]
            assert other == room or levels[other] > levels[room], f"{path}:{line}: {room} → {other}"


def test_no_circles_between_files() -> None:
    """Imports inside functions count too."""
    graph: dict[str, set[str]] = {}
    names = {".".join(parts_of(path)).removesuffix(".__init__"): path for path in FILES}
    for name, path in names.items():
        if name == "__init__":
            continue
        found = graph.setdefault(name, set())
        for _, imported in imports(path):
            whole = imported.removeprefix(".")
            if imported.startswith(".") and whole in names and whole != name:
                found.add(whole)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' → '.join(error.args[1])}")


def test_the_house_has_few_levels_and_none_for_a_single_file() -> None:
    assert len(HOUSE) <= 8
    for rooms in HOUSE:
        assert any((PACKAGE / room).is_dir() for room in rooms), f"{rooms} holds no room, files alone"


def test_every_file_says_in_its_first_line_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


MOVES = {"stores/shards", "stores/features", "training/restart"}  # they rename what has a name already


def test_files_get_their_names_in_one_place() -> None:
    """`common.files` alone syncs and renames, so that nothing is named before it is safe on the disk."""
    for path in FILES:
        if parts_of(path) == ("common", "files"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            call, is_lone = ast.unparse(node.func), len(node.args) == 1 and not node.keywords
            renames = call in {"os.rename", "os.fsync", "shutil.move"} or (
                is_lone and node.func.attr in {"replace", "rename"}  # of a path: a text's takes two
            )
            moves = call == "os.replace" and "/".join(parts_of(path)) not in MOVES
            assert not (renames or moves), f"{path}:{node.lineno}: {call}; `common.files` does this"


FILLED = {"PhoneText", "Shard", "Transcripts", "_Phone"}  # step by step, by whoever makes them
CHANGING = re.compile(r"^@(?:dataclasses\.)?dataclass(?!.*frozen=True).*\nclass (\w+)", re.MULTILINE)


def test_values_do_not_change_once_they_are_made() -> None:
    """Dataclasses are frozen, but for fairseq's configurations and the few that are filled in."""
    found = [name for path in FILES for name in CHANGING.findall(path.read_text(encoding="utf-8"))]
    assert {name for name in found if not name.endswith("Config")} == FILLED
