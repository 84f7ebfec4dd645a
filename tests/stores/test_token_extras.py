"""What lies beside the ids of a token folder: durations, text and codes, each only where it was asked for."""

from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.stores.symbols import TokenError, runs
from vqw2v_plugin.stores.token_extras import TokenExtras, check_code_files

CODES = {
    "a": np.array([[1, 2], [1, 2], [3, 0]], dtype=np.uint16),
    "b/c": np.array([[3, 0]] * 5, dtype=np.uint16),
}


def write(folder: Path, codes: dict[str, np.ndarray], **wanted: bool) -> TokenExtras:
    extras = TokenExtras(folder, "train", **{"run_length": False, "text": False, "npy": False, **wanted})
    for utt, frames in codes.items():
        lengths = runs(frames)
        extras.add(utt, frames, frames[lengths.cumsum() - lengths], lengths)
    extras.publish()
    return extras


@pytest.mark.parametrize(
    ("wanted", "file"),
    [("run_length", "train.durations.npy"), ("text", "train.txt"), ("npy", "train.codes")],
)
def test_each_is_written_alone(tmp_path: Path, wanted: str, file: str) -> None:
    write(tmp_path, CODES, **{wanted: True})
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    held = write(
        tmp_path, CODES, run_length=True, text=True, npy=True
    )  # published: no file waits for its end
    durations = np.load(tmp_path / "train.durations.npy", mmap_mode="r", allow_pickle=False)
    assert durations.dtype == np.dtype("<i4") and durations.tolist() == [2, 1, 5]
    assert (tmp_path / "train.txt").read_text() == "1-2 3-0\n3-0\n"
    for utt, codes in CODES.items():
        found = np.load(tmp_path / "train.codes" / f"{utt}.npy", allow_pickle=False)
        assert found.dtype == codes.dtype and np.array_equal(found, codes)
    del held


@pytest.mark.parametrize(("utt", "fits"), [("é" * 125, True), ("a/" + "é" * 126, False), ("a" * 252, False)])
def test_names_are_as_long_as_a_disk_takes_them_in_bytes(utt: str, fits: bool) -> None:
    if fits:
        check_code_files([utt], "train.tsv")
        return
    with pytest.raises(TokenError, match="more than 251 bytes between slashes"):
        check_code_files([utt], "train.tsv")


@pytest.mark.parametrize("utt", ["../out", "../../out", "/out", "a/../../../out", "..", "."])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, utt: str) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", {utt: CODES["a"]}, npy=True)
    files = [path.relative_to(tmp_path).parts for path in tmp_path.rglob("*.npy")]
    assert len(files) == 1 and files[0][:2] == ("deep", "train.codes")


def test_codes_that_a_killed_run_left_go(tmp_path: Path) -> None:
    left = tmp_path / ".train.codes.part"
    left.mkdir()
    (left / "old.npy").write_bytes(b"half")
    write(tmp_path, CODES, npy=True)
    assert not left.exists()
    assert sorted(path.name for path in (tmp_path / "train.codes").rglob("*.npy")) == ["a.npy", "c.npy"]


@pytest.mark.parametrize(
    ("utts", "says"),
    [
        (["a/b", "a//b"], r"train\.tsv: `--npy` would write the codes of 'a/b' and of 'a//b' into one file"),
        (["x", "x.npy/y"], r"would make x\.npy a file for 'x' and a folder for 'x\.npy/y'"),
        (["x.npy/y", "x"], r"would make x\.npy a file for 'x' and a folder for 'x\.npy/y'"),
        (["a\0b"], r"has no file for the utterance 'a.x00b', which holds a NUL"),
    ],
)
def test_names_that_clash_on_the_disk_are_told(utts: list[str], says: str) -> None:
    with pytest.raises(TokenError, match=says):
        check_code_files(["first", *utts], "train.tsv")
    check_code_files(["a", "a/b", "a/c", "b"], "train.tsv")
