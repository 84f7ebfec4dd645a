"""`model.compile=true` by torch's own compiler: a training ends, with the losses of a plain one."""

import os
import re
import shutil
from pathlib import Path

import pytest
from small_training import noise_corpus, options, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="needs a C++ compiler"),
]
# one shape, and few kernels, each a call of the C++ compiler; compiled dropout has random numbers of its own
SMALL = [
    *("--quantizer", "none", "--dropout", "0", "--max-sample-size", "4000", "--max-tokens", "8000"),
    *("--conv-feature-layers", "[(8, 10, 40)]", "--conv-aggregator-layers", "[(8, 2, 1)]"),
    *("--max-update", "3", "--disable-validation"),
]


def losses(data: Path, folder: Path, *more: str) -> list[float]:
    """Of each update; nothing may have gone back to what is not compiled."""
    ended = train(options(data, folder / "saved", [*SMALL, *more]), folder)
    assert ended.status == 0, ended.said[-2000:]
    assert "torch.compile failed" not in ended.said
    assert (folder / "saved" / "checkpoint_last.pt").exists()
    return [float(loss) for loss in re.findall(r"\bloss=([0-9.]+)", ended.said)]


def test_a_compiled_training_has_the_losses_of_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = noise_corpus(tmp_path / "data"), tmp_path / "cache"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    plain = losses(data, tmp_path / "plain")
    assert not any(cache.rglob("*.so"))
    compiled = losses(data, tmp_path / "compiled", "--compile")
    assert len(list(cache.rglob("*.so"))) > 4
    assert len(plain) == 3 and compiled == pytest.approx(plain, rel=1e-3)
