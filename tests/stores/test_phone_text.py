"""The folder of unpaired text: its sentences are read as they stand, and what does not fit is named."""

from pathlib import Path

import pytest

from vqw2v_plugin.stores.labels import LabelError
from vqw2v_plugin.stores.phone_text import DICTIONARY, LEXICON, PhoneTextError, read_phone_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.phn").write_text("<SIL> a  b <SIL>\n\nb\n")
    (tmp_path / "dict.phn.txt").write_text("<SIL> 2\na 1\nb 2\n")
    return tmp_path


def test_a_sentence_a_line_also_where_nothing_is_said(folder: Path) -> None:
    assert read_phone_lines(folder, "train") == [["<SIL>", "a", "b", "<SIL>"], [], ["b"]]
    assert (DICTIONARY, LEXICON) == ("dict.phn.txt", "lexicon.phn.txt")


def test_what_does_not_fit_is_named_with_its_line(folder: Path) -> None:
    with pytest.raises(
        PhoneTextError, match=r"valid\.phn: is missing; the splits in .* are: train; .* phones`"
    ):
        read_phone_lines(folder, "valid")
    (folder / "train.phn").write_text("a\nb a\nb aa c\n")
    with pytest.raises(
        PhoneTextError, match=r"train\.phn:3: the phone 'aa' is not in dict\.phn\.txt; the two"
    ):
        read_phone_lines(folder, "train")
    (folder / "train.phn").write_bytes(b"a\n\xff\n")
    with pytest.raises(
        PhoneTextError, match=r"train\.phn: is not UTF-8 \(invalid start byte at byte 2\); conv"
    ):
        read_phone_lines(folder, "train")
    (folder / "train.phn").unlink()
    (folder / "train.phn").mkdir()
    with pytest.raises(
        PhoneTextError, match=r"train\.phn: is a folder, expected lines of phones; name another"
    ):
        read_phone_lines(folder, "train")
    (folder / "train.phn").rmdir()
    (folder / "train.phn").write_text("a\n")
    (folder / "dict.phn.txt").unlink()
    with pytest.raises(LabelError, match=r"dict\.phn\.txt: is missing; expected the labels' dictionary"):
        read_phone_lines(folder, "train")
