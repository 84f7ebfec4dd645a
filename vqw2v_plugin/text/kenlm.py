"""letters ──decoder──▶ text: KenLM's own programs, for models larger than memory or quick to load."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..common.files import beside

_LMPLZ_MEMORY = "40%"  # lmplz takes all of it at once, however small the text


def find_program(name: str, why: str, remedy: str) -> str:
    """Where one of them is; KenLM's Python package does not bring them."""
    found = shutil.which(name)
    if not found:
        raise ValueError(f"{why} needs KenLM's program `{name}` on the PATH, and it is not there; {remedy}")
    return found


def run_lmplz(
    program: str, text: str, arpa: Path, order: int, prune: Sequence[int] = (), skip_symbols: bool = False
) -> None:
    """The same model by KenLM's own program, which sorts on disk: for texts larger than memory."""
    with beside(arpa) as part:
        command = [program, "-o", str(order), "-S", _LMPLZ_MEMORY, "--discount_fallback", "--arpa", str(part)]
        command += [] if text == "-" else ["--text", text]
        command += ["--prune", *map(str, prune)] if prune else []
        command += ["--skip_symbols"] if skip_symbols else []
        if subprocess.run(command, check=False).returncode:
            raise ValueError(f"{text}: `{' '.join(command)}` failed; what it said stands above")


def make_binary(program: str, arpa: Path, binary: Path) -> None:
    """KenLM's own format: loads in an instant and is shared by the processes that read it."""
    with beside(binary) as part:
        command = [program, str(arpa), str(part)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise ValueError(f"{arpa}: build_binary failed: {' '.join(finished.stderr.split()[-40:])}")
