"""Errors with a sentence of ours are told apart from those of whoever was called."""

import json

import pytest

from vqw2v_plugin.common.bounds import check_between
from vqw2v_plugin.common.inputs import parse_json
from vqw2v_plugin.common.said import is_said


def test_an_error_is_said_by_the_line_that_raised_it_last() -> None:
    with pytest.raises(ValueError, match="expected 0 to 1") as ours:
        check_between("x", 2, 0, 1)
    with pytest.raises(json.JSONDecodeError) as pythons:
        parse_json("x")
    with pytest.raises(TypeError) as slip:
        check_between("x", None, 0, 1)  # type: ignore[arg-type]
    assert [is_said(each.value) for each in (ours, pythons, slip)] == [True, False, False]
    assert is_said(pythons.value, str(json.__path__[0])) and not is_said(ours.value, str(json.__path__[0]))
    assert not is_said(ValueError("never raised"))
