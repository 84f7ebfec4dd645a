"""What the interpreter accepts, the compiler for a GPU accepts too."""

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
from program_runs import ROOT, call


@pytest.mark.slow
def test_every_kernel_is_compiled_for_an_h100(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    script = Path(__file__).with_name("compile_for_gpu.py")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    said = call(["env", f"PYTHONPATH={os.pathsep.join(paths)}", sys.executable, script], tmp_path)
    files = (ROOT / "vqw2v_plugin" / "modules" / "kernels").glob("triton_*.py")
    kernels = {
        f"{path.stem.removeprefix('triton_')}.{line.split('(')[0].removeprefix('def ')}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("def ") and not line.startswith("def _")
    }
    assert kernels <= set(said.split()), "a kernel is not in the list of compile_for_gpu.py"
