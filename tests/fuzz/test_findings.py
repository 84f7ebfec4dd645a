"""What fuzzing has found stays mended: each finding's files are read again."""

from pathlib import Path

import pytest
from cases import FINDINGS, Finding, write_files
from judge import judge
from targets import TARGETS


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*.json")), ids=lambda path: path.stem)
def test_a_finding_is_none_any_more(path: Path, tmp_path: Path) -> None:
    finding = Finding.read(path)
    write_files(finding.files, tmp_path / "case")
    assert judge(TARGETS[finding.target].read, tmp_path / "case") == ""
