"""What a GPU is measured by goes from its first row to its last, on a processor and in small."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq")
from program_runs import ROOT, call


@pytest.mark.slow
def test_every_row_is_measured_and_printed(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "gpu.py"
    said = call([sys.executable, script, "--cpu-rehearsal", "--threads", "1"], tmp_path)
    rows = [line for line in said.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 10 and all(row.count("|") == 11 for row in rows)
    assert "failed" not in said and f"{len(rows)} rows in" in said
    assert said.count(" × aten::") == 10 * len(rows)
