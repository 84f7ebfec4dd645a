"""Files of strangers: what is no file of bytes is refused before anybody waits for it."""

import io
import os
import socket
from pathlib import Path

import pytest

from vqw2v_plugin.common import inputs
from vqw2v_plugin.common.bounds import check_between, check_workers, machine_memory
from vqw2v_plugin.common.inputs import LONGEST_LINE, check_file, lines_of, parse_json, read_json, read_text


def strange(folder: Path) -> dict[str, str]:
    """What may lie under a name, and how an error says it."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    os.symlink("/dev/zero", folder / "endless")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))
    kinds = {"folder": "is a folder", "pipe": "is a pipe", "endless": "is a device", "socket": "is a socket"}
    return {str(folder / name): said for name, said in kinds.items()} | {
        "/dev/null": "is a device",
        "x\0y": "is no name of a file",
    }


def test_what_is_no_file_is_said_and_never_waited_for(tmp_path: Path) -> None:
    for path, said in strange(tmp_path).items():
        for read in (check_file, read_text, read_json):
            with pytest.raises(OSError) as error:
                read(path)
            assert str(error.value.strerror).startswith(said), path
            assert isinstance(error.value, IsADirectoryError) == (said == "is a folder")
            assert error.value.filename == path


def test_text_has_a_mark_or_none_and_any_line_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert read_text(tmp_path / "x") == "a\nb\n"
    for mark, order in ((b"\xff\xfe", "le"), (b"\xfe\xff", "be")):
        (tmp_path / "x").write_bytes(mark + "a\n".encode(f"utf-16-{order}"))
        with pytest.raises(UnicodeDecodeError, match="a mark of UTF-16"):
            read_text(tmp_path / "x")


def test_bytes_that_are_no_utf_8_are_an_error_or_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\xffb")
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "x")
    assert read_text(tmp_path / "x", errors="replace") == "a\ufffdb"


def test_json_that_is_nested_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json("[" * 200_000)
    assert parse_json('{"a": 1}') == {"a": 1}


def test_a_line_that_never_ends_is_refused(tmp_path: Path) -> None:
    with open("/dev/zero", "rb") as file, pytest.raises(OSError) as error:
        list(lines_of(file, "zeros"))
    assert f"has more than {LONGEST_LINE:,} bytes in line 1" in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2**31, 10**30])
def test_numbers_out_of_bounds_are_told_with_their_bounds(value: float) -> None:
    with pytest.raises(ValueError, match=r"`--x` is .*; expected 0 to 1,000"):
        check_between("--x", value, 0, 1_000)
    for fine in (0, 7, 1_000):
        check_between("--x", fine, 0, 1_000)


def test_workers_are_from_one_to_a_thousand_or_left_to_the_caller() -> None:
    for fine in (None, 1, 1_024):
        check_workers(fine)
    for wrong in (0, -1, 1_025):
        with pytest.raises(ValueError, match=rf"`--workers` is {wrong:,}; expected 1 to 1,024"):
            check_workers(wrong)


def test_lines_may_be_as_long_as_the_limit_and_the_one_that_is_longer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vqw2v_plugin.common.inputs.LONGEST_LINE", 4)
    assert list(lines_of(io.BytesIO(b"abc\nabcd"), "x")) == [b"abc\n", b"abcd"]
    with pytest.raises(OSError, match="has more than 4 bytes in line 2"):
        list(lines_of(io.BytesIO(b"abc\nabcde\n"), "x"))


def test_numbers_out_of_bounds_are_shown_as_they_were_given() -> None:
    for value, shown in (
        (1_234_567, "1,234,567"),
        (10**21, "a number of more than 20 digits"),
        (0.25, "0.25"),
    ):
        with pytest.raises(ValueError, match=f"^`x` is {shown}; expected 1 to 1,000$"):
            check_between("x", value, 1, 1_000)


def test_the_machine_s_memory_is_what_the_kernel_says() -> None:
    (said,) = (
        line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")
    )
    assert machine_memory() == 1024 * int(said.split()[1])


def test_a_file_that_memory_cannot_hold_is_said_to_be_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise MemoryError

    (tmp_path / "x").touch()
    monkeypatch.setattr(inputs, "open", lambda *_: Full(), raising=False)
    with pytest.raises(OSError, match="is larger than the memory that there is") as error:
        read_json(tmp_path / "x")
    assert error.value.filename == str(tmp_path / "x")
