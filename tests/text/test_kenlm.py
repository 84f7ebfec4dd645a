"""KenLM's own programs: what they are told, and what is said where they fail."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from vqw2v_plugin.text import kenlm


def test_lmplz_reads_standard_input_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        told.append(" ".join(command))
        Path(command[command.index("--arpa") + 1]).write_text(f"model {len(told)}")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    kenlm.run_lmplz("lmplz", "-", tmp_path / "lm.arpa", 4)
    kenlm.run_lmplz("lmplz", "corpus.txt", tmp_path / "lm.arpa", 3, (0, 1, 2), skip_symbols=True)
    piped, named = told
    assert "--text" not in piped and "--prune" not in piped and "--skip_symbols" not in piped
    assert "-o 4 " in piped and "--discount_fallback" in piped
    assert "-o 3 " in named and "--text corpus.txt --prune 0 1 2 --skip_symbols" in named
    assert (tmp_path / "lm.arpa").read_text() == "model 2"
