"""Below every arrow of the picture: do Python, torch, numpy and fairseq fit together here, else what to do.

setup.py runs this file by its path before anything is installed, so it uses the standard library alone and
spells its annotations such that any Python 3.6 can still read it and be told that it is too old.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 12)
FORK = "fairseq-fixed==0.12.3.1"
BUILD_TOOLS = "cython setuptools wheel"
INSTALL_FORK = f"`pip install torch numpy {BUILD_TOOLS}`, then `pip install --no-build-isolation {FORK}`"
FIRST_TORCH = (2, 6)  # before it a checkpoint can have code run, `weights_only` or not (CVE-2025-32434)

# What pip calls a module that only some commands need.
OPTIONAL_MODULES = {
    "espeakng_loader": "espeakng-loader",
    "flashlight": "flashlight-text",
    "kenlm": "kenlm",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "sentencepiece": "sentencepiece",
    "soundfile": "soundfile",
    "soxr": "soxr",
}


class StackError(RuntimeError):
    """The packages below this plugin are missing or do not fit together; the message names the remedy."""


def check_stack() -> None:
    """Raise StackError for the first problem found without importing torch or fairseq (milliseconds)."""
    for find_problem in (python_problem, torch_problem, numpy_problem, fairseq_problem):
        sentence = find_problem()
        if sentence:
            raise StackError(sentence)


def python_problem(version: "tuple[int, ...]" = sys.version_info[:3]) -> str:
    """One sentence when this Python is not supported, else nothing."""
    if OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        return ""
    oldest, newest, got = (".".join(map(str, v)) for v in (OLDEST_PYTHON, NEWEST_PYTHON, version))
    return (
        f"vqw2v_plugin needs Python {oldest} to {newest}, but this is Python {got} ({sys.executable}): "
        "make the environment with one of those, for example `make setup PYTHON=python3.11`"
    )


def torch_problem() -> str:
    """One sentence when torch is not installed or would run what a checkpoint says, else nothing."""
    if not _is_installed("torch"):
        return "torch is not installed: `pip install torch`, before fairseq, whose build needs it"
    # A version that nobody recorded (a source tree on the path) says nothing.
    if (0, 0) < _version_pair("torch") < FIRST_TORCH:
        oldest = ".".join(map(str, FIRST_TORCH))
        return (
            f"torch {distribution_version('torch')} can be made to run code by the checkpoint that it loads: "
            f"`pip install --upgrade 'torch>={oldest}'`"
        )
    return ""


def numpy_problem() -> str:
    """One sentence when numpy is missing or this torch cannot exchange arrays with it, else nothing."""
    if not _is_installed("numpy"):
        return "numpy is not installed: `pip install numpy`"
    if "torch" in sys.modules:
        return _exchange_problem()
    return ""  # every torch that is taken was built for numpy 1 and 2


def fairseq_problem() -> str:
    """One sentence when there is no fairseq or one that this Python cannot import, else nothing."""
    if "fairseq" in sys.modules:
        return ""
    if not _is_installed("fairseq"):
        return f"fairseq is not installed: {INSTALL_FORK}"
    if sys.version_info >= (3, 11) and _has_mutable_defaults():
        return _fork_needed("its dataclasses have mutable defaults, which Python 3.11 and later refuse")
    return ""


def fairseq_requirement() -> str:
    """What setup.py asks of pip: the fork, or nothing where an upstream `fairseq` is installed already."""
    return "" if distribution_version("fairseq") else FORK


def distribution_version(name: str) -> str:
    """The version that pip recorded for a distribution, or nothing."""
    from importlib import metadata

    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""


def explain_import_error(error: BaseException) -> str:
    """One sentence with the remedy for an exception that importing the stack raised, nothing if unknown."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing_module(error.name.split(".")[0])
    if isinstance(error, ValueError) and "mutable default" in text:
        return _fork_needed("its dataclasses have mutable defaults, which Python 3.11 and later refuse")
    if isinstance(error, AttributeError) and re.search(r"module 'numpy(\.\w+)*' has no attribute", text):
        return _fork_needed(f"it was written for an older numpy ({text})")
    if "numpy is not available" in text.lower():
        return _torch_against_numpy()
    if "numpy.dtype size changed" in text or "numpy.core.multiarray failed to import" in text:
        return f"a compiled module was built against another numpy ({text}): {_rebuild_fork()}"
    if isinstance(error, (ImportError, OSError)) and _comes_from(error, "torch"):
        return (
            f"torch does not import ({_first_line(error)}): install a build that fits this machine, "
            "`pip install --force-reinstall torch`"
        )
    if isinstance(error, ImportError) and _comes_from(error, "fairseq") and "symbol" in text:
        return f"fairseq was built against another torch ({_first_line(error)}): {_rebuild_fork()}"
    return ""


@contextmanager
def explained_imports() -> "Iterator[None]":
    """`with explained_imports(): import fairseq` turns a failure that has a known remedy into StackError."""
    try:
        yield
    except StackError:
        raise
    except Exception as error:
        sentence = explain_import_error(error)
        if sentence:
            raise StackError(sentence) from error
        raise


def import_stack() -> str:
    """Import all of it (seconds), exchange an array, and say in one line what was found."""
    check_stack()
    with explained_imports():
        import numpy
        import torch

        problem = _exchange_problem()
        if problem:
            raise StackError(problem)
        import fairseq
    return (
        f"Python {'.'.join(map(str, sys.version_info[:3]))}, torch {torch.__version__}, "
        f"numpy {numpy.__version__}, fairseq {fairseq.__version__}"
    )


def _is_installed(module: str) -> bool:
    """Whether the module can be found; a mere folder of that name (a clone beside us) does not count."""
    if module in sys.modules:
        return sys.modules[module] is not None
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def _version_pair(name: str) -> "tuple[int, int]":
    """Major and minor of a distribution's version, (0, 0) if unknown."""
    found = re.match(r"(\d+)\.(\d+)", distribution_version(name))
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def _exchange_problem() -> str:
    """Try what a torch built against another numpy cannot do."""
    import numpy
    import torch

    try:
        torch.from_numpy(numpy.zeros(1))
    except RuntimeError as error:
        return explain_import_error(error) or f"torch cannot read numpy's arrays: {_first_line(error)}"
    return ""


def _has_mutable_defaults() -> bool:
    """Whether the fairseq found is one that Python 3.11 refuses; the version cannot tell, forks keep it."""
    spec = importlib.util.find_spec("fairseq")
    configs = Path((spec.origin if spec else None) or "").parent / "dataclass" / "configs.py"
    if not configs.is_file():
        return False
    return (
        re.search(r"^\s+\w+: (\w+) = \1\(\)", configs.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def _fork_needed(reason: str) -> str:
    """The sentence for a fairseq that cannot be imported here."""
    version = distribution_version("fairseq")
    name = f"fairseq {version}" if version else "this fairseq"
    python = ".".join(map(str, sys.version_info[:2]))
    remedy = f"`pip uninstall fairseq`, then {INSTALL_FORK}"
    return f"{name} cannot be imported on Python {python}, {reason}: {remedy}"


def _torch_against_numpy() -> str:
    """The sentence for a torch that was built against numpy 1 beside numpy 2."""
    torch_version = distribution_version("torch") or "of this environment"
    numpy_version = distribution_version("numpy") or "of this environment"
    return (
        f"torch {torch_version} was built against another numpy than numpy {numpy_version} and cannot read "
        "its arrays: `pip install --upgrade torch`, or `pip install 'numpy<2'`"
    )


def _rebuild_fork() -> str:
    """The remedy for compiled parts that no longer fit."""
    return (
        f"`pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation {FORK}` builds it anew"
    )


def _missing_module(module: str) -> str:
    """The sentence for a module that cannot be found, nothing for one that we do not know."""
    if module == "torch":
        return torch_problem()
    if module == "numpy":
        return numpy_problem()
    if module == "fairseq":
        return fairseq_problem()
    if module in OPTIONAL_MODULES:
        return f"this needs the module {module}: `pip install {OPTIONAL_MODULES[module]}`"
    return ""


def _comes_from(error: BaseException, package: str) -> bool:
    """Whether the error passed through that package (its last frame may be ctypes, loading a library)."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").split(".")[0] == package:
            return True
        traceback = traceback.tb_next
    return False


def _first_line(error: BaseException) -> str:
    """The error's message, without the pages that torch and numpy add to it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


if __name__ == "__main__":
    import logging

    logging.disable(logging.INFO)  # importing fairseq asks for packages that nothing here needs
    try:
        print(import_stack())
    except StackError as stack_error:
        print(f"vqw2v: error: {stack_error}", file=sys.stderr)
        sys.exit(2)
