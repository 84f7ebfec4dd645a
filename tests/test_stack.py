"""Broken environments get one sentence with the remedy, and setup.py asks pip for the right things."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

from vqw2v_plugin import stack

ROOT = Path(__file__).resolve().parent.parent
MUTABLE_DEFAULT = """
from dataclasses import dataclass

@dataclass
class Common:
    seed: int = 1

@dataclass
class Config:
    common: Common = Common()
"""


def write_package(folder: Path, name: str, source: str) -> Path:
    """A package of one file; its folder."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    return package


def write_distribution(folder: Path, name: str, version: str) -> None:
    """What pip leaves behind to say that a distribution is installed."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run_python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in the checkout, with one more folder on its path."""
    folders = [str(folder) for folder in (path, ROOT) if folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def unimported(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """torch and fairseq as if nobody had imported them yet."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "fairseq", raising=False)
    return monkeypatch


def hide(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make one module impossible to find."""
    find_spec = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module == name else find_spec(module)
    )


def test_this_environment_is_accepted() -> None:
    stack.check_stack()


def test_check_imports_neither_torch_nor_fairseq() -> None:
    source = (
        "import sys, vqw2v_plugin.stack as s; s.check_stack(); print({'torch', 'fairseq'} & set(sys.modules))"
    )
    assert run_python("-c", source).stdout.strip() == "set()"


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 11, 7), (3, 12, 1)])
def test_supported_python_is_no_problem(version: tuple[int, ...]) -> None:
    assert stack.python_problem(version) == ""


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18), (3, 13, 0), (4, 0, 0)])
def test_unsupported_python_is_named_with_the_remedy(version: tuple[int, ...]) -> None:
    sentence = stack.python_problem(version)
    assert ".".join(map(str, version)) in sentence
    assert "3.10 to 3.12" in sentence and "make setup PYTHON=" in sentence


def test_an_old_python_can_read_the_file_that_refuses_it() -> None:
    ast.parse((ROOT / "vqw2v_plugin" / "stack.py").read_text(), feature_version=(3, 6))
    assert "from __future__ import annotations" not in (ROOT / "vqw2v_plugin" / "stack.py").read_text()


@pytest.mark.parametrize("name", ["torch", "numpy", "fairseq"])
def test_missing_module_is_named_with_the_remedy(name: str, unimported: pytest.MonkeyPatch) -> None:
    hide(unimported, name)
    with pytest.raises(stack.StackError, match=rf"^{name} is not installed: `pip install"):
        stack.check_stack()
    said = stack.explain_import_error(ModuleNotFoundError(f"No module named {name!r}", name=f"{name}.part"))
    assert said.startswith(f"{name} is not installed: `pip install")


def test_missing_fairseq_names_the_fork_and_how_to_build_it(unimported: pytest.MonkeyPatch) -> None:
    hide(unimported, "fairseq")
    sentence = stack.fairseq_problem()
    assert f"pip install --no-build-isolation {stack.FORK}" in sentence
    assert sentence.index("torch") < sentence.index("--no-build-isolation")


def test_a_folder_named_like_a_module_is_not_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder_of_that_name").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not stack._is_installed("folder_of_that_name")


@pytest.mark.parametrize(
    ("torch", "fits"),
    [
        ("2.2.2+cpu", False),
        ("2.5.1", False),
        ("2.6.0", True),
        ("2.13.0+cpu", True),
        ("3.0", True),
        ("", True),
    ],
)
def test_torch_that_a_checkpoint_can_make_run_code_is_refused(
    torch: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "distribution_version", {"torch": torch}.get)
    sentence = stack.torch_problem()
    assert (sentence == "") == fits
    assert fits or (
        f"torch {torch} can be made" in sentence and "`pip install --upgrade 'torch>=2.6'`" in sentence
    )


def test_imported_torch_that_cannot_read_numpy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_numpy(array: object) -> None:
        raise RuntimeError("Numpy is not available")

    broken = types.ModuleType("torch")
    broken.from_numpy = from_numpy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", broken)
    with pytest.raises(stack.StackError, match=r"built against another numpy .*`pip install"):
        stack.check_stack()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 imports it")
def test_upstream_fairseq_is_refused_before_it_is_imported(
    tmp_path: Path, unimported: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path, "fairseq", "raise SystemExit('must not be imported')")
    write_package(package, "dataclass", "")
    (package / "dataclass" / "configs.py").write_text(MUTABLE_DEFAULT)
    write_distribution(tmp_path, "fairseq", "0.12.2")
    unimported.syspath_prepend(tmp_path)
    with pytest.raises(
        stack.StackError, match=r"fairseq 0\.12\.2 .*mutable defaults.*`pip uninstall fairseq`"
    ) as e:
        stack.check_stack()
    assert stack.FORK in str(e.value)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 imports it")
def test_failed_import_of_upstream_fairseq_is_explained(
    tmp_path: Path, unimported: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path, "fairseq", MUTABLE_DEFAULT)
    unimported.syspath_prepend(tmp_path)
    with pytest.raises(stack.StackError, match=re.escape(stack.FORK)) as raised, stack.explained_imports():
        importlib.import_module("fairseq")
    assert isinstance(raised.value.__cause__, ValueError)


def test_torch_that_does_not_import_is_one_sentence(tmp_path: Path) -> None:
    write_package(tmp_path, "torch", "import ctypes\nctypes.CDLL('libnowhere.so.13')")
    finished = run_python("-m", "vqw2v_plugin.stack", path=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith("vqw2v: error: torch does not import (libnowhere.so.13: cannot open")
    assert "`pip install" in finished.stderr and len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ValueError("mutable default <class 'C'> for field c is not allowed"), stack.FORK),
        (AttributeError("module 'numpy' has no attribute 'float'"), stack.FORK),
        (RuntimeError("Numpy is not available"), "pip install --upgrade torch"),
        (ValueError("numpy.dtype size changed, may indicate binary incompatibility"), "--no-build-isolation"),
        (ImportError("numpy.core.multiarray failed to import"), "--no-build-isolation"),
        (
            ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot"),
            "pip install matplotlib",
        ),
        (
            ModuleNotFoundError("No module named 'flashlight'", name="flashlight"),
            "pip install flashlight-text",
        ),
    ],
)
def test_known_import_errors_name_their_remedy(error: Exception, remedy: str) -> None:
    assert remedy in stack.explain_import_error(error)


@pytest.mark.parametrize(
    ("package", "error", "says"),
    [
        (
            "torch",
            OSError("libcudart.so: cannot open\nand more"),
            "torch does not import (libcudart.so: cannot",
        ),
        (
            "fairseq",
            ImportError("undefined symbol: _ZN3"),
            "fairseq was built against another torch (undefined",
        ),
        ("fairseq", ImportError("no such name"), ""),
        ("numpy", OSError("libblas.so: cannot open"), ""),
        ("torch", RuntimeError("CUDA error: out of memory"), ""),  # it was imported
    ],
)
def test_whose_import_failed_is_told_by_where_the_error_has_been(
    package: str, error: Exception, says: str
) -> None:
    """Its last frame may be that of another module, which loads a library."""

    def loads() -> None:
        raise error

    inside: dict[str, object] = {"__name__": f"{package}.deep"}
    exec("def passes(on):\n    on()", inside)
    try:
        inside["passes"](loads)  # type: ignore[operator]
    except type(error) as caught:
        found = stack.explain_import_error(caught)
    assert found.startswith(says) and bool(found) == bool(says) and "more" not in found


@pytest.mark.parametrize("module", stack.OPTIONAL_MODULES)
def test_a_module_that_is_missing_is_installed_by_a_name_that_setup_knows(module: str) -> None:
    package = stack.OPTIONAL_MODULES[module]
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert stack.explain_import_error(error) == f"this needs the module {module}: `pip install {package}`"
    assert re.search(rf'"{re.escape(package)}["<>=]', (ROOT / "setup.py").read_text())


def test_unknown_errors_pass_unchanged() -> None:
    mistake = ImportError("cannot import name 'Tokeniser' from 'vqw2v_plugin'")
    with pytest.raises(ImportError) as raised, stack.explained_imports():
        raise mistake
    assert raised.value is mistake


def requirements(tmp_path: Path, installed: Path) -> str:
    """What `setup.py` asks for in an environment that also holds the distributions of a folder."""
    finished = run_python("setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), path=installed)
    assert finished.returncode == 0, finished.stderr
    return (tmp_path / "vqw2v_plugin.egg-info" / "requires.txt").read_text().split("[")[0]


def test_setup_requires_the_fork_only_without_upstream_fairseq(tmp_path: Path) -> None:
    for name in ("bare", "upstream", "out1", "out2"):
        (tmp_path / name).mkdir()
    write_distribution(tmp_path / "upstream", "fairseq", "0.12.2")
    assert stack.FORK in requirements(tmp_path / "out1", tmp_path / "bare")
    with_upstream = requirements(tmp_path / "out2", tmp_path / "upstream")
    assert "fairseq" not in with_upstream and "torch>=2.6" in with_upstream


def test_setup_refuses_an_unsupported_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.10 to 3\.12, but this is Python 3\.13\.0"):
        runpy.run_path(str(ROOT / "setup.py"))


def test_makefile_means_the_same_pythons() -> None:
    found = re.search(
        r"\((\d), (\d+)\) <= sys.version_info\[:2\] <= \((\d), (\d+)\)", (ROOT / "Makefile").read_text()
    )
    assert found is not None
    oldest_major, oldest_minor, newest_major, newest_minor = map(int, found.groups())
    assert (oldest_major, oldest_minor) == stack.OLDEST_PYTHON
    assert (newest_major, newest_minor) == stack.NEWEST_PYTHON


def test_every_folder_of_the_package_is_packaged() -> None:
    folders = {file.parent for file in (ROOT / "vqw2v_plugin").rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []
