"""`dev` and `valid` are one split: whichever is asked for, the one that is there is read."""

from pathlib import Path

import pytest

from vqw2v_plugin.common.splits import split_there


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (["dev"], "valid", "dev"),
        (["valid"], "dev", "valid"),
        (["dev", "valid"], "dev", "dev"),
        (["dev", "valid"], "valid", "valid"),
        ([], "valid", "valid"),
        (["dev"], "test", "test"),
    ],
)
def test_the_one_that_is_there(tmp_path: Path, there: list[str], asked: str, found: str) -> None:
    for name in there:
        (tmp_path / f"{name}.utt").touch()
    assert split_there(tmp_path, asked, "utt") == found
