"""KenLM's own programs: what they are told, and what is said where they fail."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from vqw2v_plugin.text import kenlm


def test_lmplz_reads_standard_input_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: told.append(command) or SimpleNamespace(returncode=0)
    )
    kenlm.run_lmplz("lmplz", "-", tmp_path / "lm.arpa", 4)
    kenlm.run_lmplz("lmplz", "corpus.txt", tmp_path / "lm.arpa", 3, (0, 1, 2), skip_symbols=True)
    piped, named = map(" ".join, told)
    assert "--text" not in piped and "--prune" not in piped and "--skip_symbols" not in piped
    assert (
        "-o 4 " in piped
        and "--discount_fallback" in piped
        and f"--arpa {tmp_path / '.lm.arpa.part'}" in piped
    )
    assert "-o 3 " in named and "--text corpus.txt --prune 0 1 2 --skip_symbols" in named
