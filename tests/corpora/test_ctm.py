from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.corpora.ctm import read_ctm


def test_labels_are_found_by_time(tmp_path: Path) -> None:
    path = tmp_path / "a.ctm"
    path.write_text(";; comment\nu 1 0.5 0.25 b\nu 1 0.0 0.5 a\nv 1 0 1 c\n\n", encoding="utf-8")
    segments = read_ctm(path)
    assert segments["u"].at(np.array([0.0, 0.49, 0.5, 0.74, 0.75, -0.1])) == ["a", "a", "b", "b", None, None]
    assert segments["v"].labels == ("c",)


@pytest.mark.parametrize(
    "line", ["u 1 0.5", "u 1 half 0.5 a", "u 1 -1 2 a", "u 1 1 -0.5 a", "u 1 0 inf a", "u 1 nan 1 a"]
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.ctm"
    path.write_text(f"u 1 0 1 a\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.ctm:2"):
        read_ctm(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.ctm"):
        read_ctm(tmp_path / "none.ctm")


def test_another_encoding_is_named_but_where_names_have_bytes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.ctm"
    path.write_bytes(b"\xff\xfeu\0")
    with pytest.raises(ValueError, match=rf"{path}: is not UTF-8 \(a mark of UTF-16 at byte 0\); convert it"):
        read_ctm(path)
    path.write_bytes(b"\xe9 1 0 1 a\n")
    assert list(read_ctm(path)) == ["\udce9"]


def test_a_line_may_tell_how_sure_it_is_and_a_label_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text("u A 0.5 0.0 b 0.99\nu\tA  0.25 0.5 a\n", encoding="utf-8")
    found = read_ctm(tmp_path / "a.ctm")["u"]
    assert found.labels == ("a", "b") and found.ends.tolist() == [0.75, 0.5]


def test_fields_stand_between_blanks_and_tabs_and_nothing_else(tmp_path: Path) -> None:
    """A name may hold what Unicode counts as a blank; lines may end as Windows ends them."""
    (tmp_path / "a.ctm").write_bytes("a\u00a0b 1 0 1 x\u3000y\r\n\r\nc\t1  0 1 z\r\n".encode())
    found = read_ctm(tmp_path / "a.ctm")
    assert {utt: each.labels for utt, each in found.items()} == {"a\u00a0b": ("x\u3000y",), "c": ("z",)}
