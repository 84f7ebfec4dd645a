"""Outputs that are links stay links, and devices stay devices."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.common import files
from vqw2v_plugin.common.files import (
    copy_whole,
    make_folder,
    publish_in_order,
    remove,
    scratch_folder,
    write_whole,
    writing,
)
from vqw2v_plugin.common.targets import OutputError, beside_output, check_output, stream_behind


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text").write_text("a b a\nb a b\n" * 9)
    return str(tmp_path / "text")


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_link_points_to_is_written_and_the_link_stays(tmp_path: Path, is_there: bool) -> None:
    far, near = tmp_path / "far", tmp_path / "near"
    for folder in (far, near):
        folder.mkdir()
    if is_there:
        (far / "x").write_text("old")
    (far / "link").symlink_to("x")  # relative: beside itself
    (near / "x").symlink_to(far / "link")
    write_whole(near / "x", "new")
    assert (near / "x").is_symlink() and (far / "x").read_text() == "new"
    (near / "part").write_text("published")
    publish_in_order([(near / "part", near / "x")])
    assert (far / "x").read_text() == "published" and not (far / "x").is_symlink()
    remove(near / "x")
    assert sorted(os.listdir(far)) == ["link"] and sorted(os.listdir(near)) == ["x"]


def test_folders_behind_links_are_made_filled_and_replaced(tmp_path: Path) -> None:
    link, far = tmp_path / "link", tmp_path / "a" / "far"
    link.symlink_to(far)
    make_folder(link)
    write_whole(link / "x", "new")
    assert link.is_symlink() and (far / "x").read_text() == "new"
    with scratch_folder(tmp_path, "codes") as scratch:
        (scratch / "y").touch()
        publish_in_order([(scratch, link)])
    assert link.is_symlink() and os.listdir(far) == ["y"]
    remove(link)
    assert link.is_symlink() and not far.exists()


def test_a_link_to_another_disk_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "x").symlink_to(far / "x")
    (tmp_path / "part").write_text("new")
    real = os.replace

    def replace(source: Path, path: Path) -> None:
        if source.parent != path.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, path)

    monkeypatch.setattr(files.os, "replace", replace)
    publish_in_order([(tmp_path / "part", tmp_path / "x")])
    assert (far / "x").read_text() == "new" and os.listdir(far) == ["x"]
    assert sorted(os.listdir(tmp_path)) == ["far", "x"] and (tmp_path / "x").is_symlink()


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "x")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        write_whole(tmp_path / "x", "text")
    assert (tmp_path / "x").is_symlink()


def test_devices_pipes_and_folders_are_refused_and_stay(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "source").write_text("text")
    paths = {tmp_path / "pipe": "pipe", tmp_path / "full": "device", Path("/dev/full"): "device"}
    for path, what in paths.items():
        with pytest.raises(OutputError, match=f"{path}: is a {what}.*expected a file to write; name one"):
            write_whole(path, "text")
        with pytest.raises(OutputError):
            copy_whole(tmp_path / "source", path)
        with pytest.raises(OutputError):
            publish_in_order([(tmp_path / "source", path)])
        with pytest.raises(OutputError):
            check_output(path)
    with pytest.raises(IsADirectoryError):
        check_output(tmp_path)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode) and (tmp_path / "full").is_symlink()
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_streams_get_what_is_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    write_whole(Path("/dev/stdout"), "out\n")
    write_whole(Path("/dev/stderr"), "err\n")
    write_whole(Path("/dev/null"), "nothing\n")
    with pytest.raises(KeyboardInterrupt), writing(Path("/dev/stdout")) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    shown = capfd.readouterr()
    assert shown.out.endswith("out\n") and "half" not in shown.out and shown.err == "err\n"
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), "into a pipe")
    os.close(writer)
    with os.fdopen(reader, "rb") as received:
        assert received.read() == b"into a pipe"
    assert stream_behind(Path("/dev/fd/x")) is None and stream_behind(tmp_path / "stdout") is None
    assert stream_behind(Path("/dev/fd/7")) == stream_behind(Path("/proc/self/fd/7")) == 7


def test_what_was_printed_before_comes_first(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from vqw2v_plugin.common.files import write_whole;"
        "print('printed'); write_whole(Path('/dev/stdout'), 'poured\\n')"
    )
    command = [sys.executable, "-c", code]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=buffered)
    assert done.stdout == "printed\npoured\n"


def test_a_language_model_goes_to_standard_output_alone(text: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vqw2v_plugin", "lm", text]
    with open(tmp_path / "shown", "wb") as shown:
        done = subprocess.run([*command, "/dev/stdout"], stdout=shown, stderr=subprocess.PIPE, check=True)
    assert main(["lm", text, str(tmp_path / "lm.arpa")]) == 0
    assert (tmp_path / "shown").read_bytes() == (tmp_path / "lm.arpa").read_bytes()
    assert b"/dev/stdout: order 4, from 18 sentences" in done.stderr


@pytest.mark.parametrize("command", ["lm", "export"])
def test_a_command_s_output_that_is_a_device_is_refused_in_a_sentence(
    text: str, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    assert main([command, text, str(tmp_path / "out")]) == 2
    assert "vqw2v: error: " in capsys.readouterr().err
    assert (tmp_path / "out").is_symlink() and stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_names_of_their_own_that_killed_runs_left_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    (tmp_path / ".x.123.part").write_text("a killed one's")
    (tmp_path / ".x.y.part").write_text("of another file, x.y")
    with writing(tmp_path / "x") as first, writing(tmp_path / "x") as second:
        (own,) = [name for name in os.listdir(tmp_path) if name[3:-5].isdecimal()]
        first.write(b"first")
        second.write(b"second")
        os.rename(tmp_path / ".x.part", tmp_path / ".x.aside")  # so that a third one takes the first name
        write_whole(tmp_path / "x", "third")
        assert (tmp_path / own).exists()
        os.rename(tmp_path / ".x.aside", tmp_path / ".x.part")
    assert sorted(os.listdir(tmp_path)) == [".x.y.part", "x"]


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("/dev/stdout", "stderr"),
        ("/dev/fd/1", "stderr"),
        ("/dev/stderr", "stdout"),
        ("/dev/null", "stdout"),
        ("o", "stdout"),
    ],
)
def test_what_is_said_stands_beside_a_result_and_not_in_it(out: str, name: str) -> None:
    assert beside_output(Path(out)) is getattr(sys, name)
