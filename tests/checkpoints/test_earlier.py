"""Files of earlier versions keep loading and mean the same; `earlier/make.py` made them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from earlier.make import ASKED, FEATURES, numbers, write_clip

from vqw2v_plugin.__main__ import main

EARLIER = Path(__file__).parent / "earlier"
GAVE = json.loads((EARLIER / "gave.json").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoints and the clip, in the working folder."""
    shutil.copytree(EARLIER, tmp_path / "here")
    write_clip(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("name", ASKED)
def test_codes_and_words_are_those_of_the_version_that_made_it(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for when words begin and end, which has been corrected since."""
    assert main(ASKED[name].split()) == 0
    said, before = capsys.readouterr().out, GAVE["said"][name]
    if not ASKED[name].startswith("transcribe"):
        assert said == before
        return
    now, then = json.loads(said), json.loads(before)
    assert now["score"] == pytest.approx(then["score"], abs=2e-4)
    for mine, theirs in zip(now["words"], then["words"], strict=True):
        assert mine.pop("confidence") == pytest.approx(theirs.pop("confidence"), abs=1.01e-4)
        assert mine["word"] == theirs["word"] and 0 <= mine["start"] < mine["end"]


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_those_of_the_version_that_made_it(name: str, here: Path) -> None:
    assert main(FEATURES[name].replace("OUT", "out").split()) == 0
    np.testing.assert_allclose(numbers(here / "out"), GAVE["features"][name], atol=1e-4)
