"""What code in C++ writes by itself is left out, what fails in it is raised, and later lines are heard."""

import os

import pytest

from vqw2v_plugin.common.loud import LOUD, NEXT, is_loud, says_next, without_chatter
from vqw2v_plugin.common.on_off import is_on


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


@pytest.mark.parametrize(
    ("value", "loud", "next_"), [(None, False, True), ("", False, True), ("0", False, False)]
)
def test_what_is_not_said_is_quiet_and_tells_what_is_next(
    value: str | None, loud: bool, next_: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (LOUD, NEXT):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert (is_loud(), says_next()) == (loud, next_)


@pytest.mark.parametrize("word", ["true", "1", "yes", "Yes", True])
def test_words_for_on_and_off(word: object) -> None:
    off = {"true": "false", "1": "0", "yes": "no", "Yes": "No", "True": False}[str(word)]
    assert is_on("x", word) is True and is_on("x", off) is False  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`x` is 'on'; expected true or false"):
        is_on("x", "on")
