"""Who may import whom: each room only what stands to its right, and `modules` nothing but torch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vqw2v_plugin"
ORDER = [
    {"commands", "pipeline"},
    {"recipe", "analysis", "toy", "featurizer", "transcriber"},
    {"discretizer", "feature_layers"},
    {"tasks", "criterions"},
    {"models"},
    {"acoustic_checkpoints"},
    {"tokenizer", "decoding", "acoustic_front"},
    {"bert_checkpoints"},
    {"recipe_screen", "recipe_processes"},
    {"checkpoints", "data"},
    {"checkpoint_network", "checkpoint_stock"},
    {"checkpoint_files"},
    {"quantizers"},
    {"modules"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
EVERYWHERE = {"stack"}  # the standard library alone
OUTSIDE = {"__init__", "__main__", "stack"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


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
def test_a_room_imports_only_from_its_right(path: Path) -> None:
    room = room_of(path)
    if room in OUTSIDE:
        return
    assert room in LEVEL, f"{room} has no place in the house; give it one in ORDER and in the design"
    for line, name in imports(path):
        assert not name.startswith("vqw2v_plugin"), f"{path}:{line}: import {name} relatively"
        if not name.startswith("."):
            continue
        other = name.split(".")[1]
        allowed = other == room or other in EVERYWHERE or LEVEL.get(other, -1) > LEVEL[room]
        assert allowed, f"{path}:{line}: {room} may not import {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "modules").glob("*.py")), ids=lambda p: p.stem)
def test_modules_know_torch_and_nothing_else(path: Path) -> None:
    import sys

    for line, name in imports(path):
        root = name.split(".")[0]
        fine = name.startswith(".modules") or root == "torch" or root in sys.stdlib_module_names
        assert fine, f"{path}:{line}: modules may not import {name}"


def test_every_file_says_in_its_first_line_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
