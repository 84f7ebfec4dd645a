"""What code in C++ writes by itself is left out, what fails in it is raised, and later lines are heard."""

import os

import pytest

from vqw2v_plugin.common.loud import LOUD, without_chatter


@pytest.mark.parametrize(("loud", "heard"), [(None, "after"), ("0", "after"), ("1", "within after")])
def test_stderr_is_silent_for_as_long_as_it_lasts_unless_all_is_asked_for(
    loud: str | None, heard: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(LOUD, raising=False)
    if loud is not None:
        monkeypatch.setenv(LOUD, loud)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="broken"), without_chatter():
        os.write(2, b"within ")
        raise ValueError("broken")
    os.write(2, b"after")
    assert capfd.readouterr().err == heard and len(os.listdir("/proc/self/fd")) == before
