"""The one atomic write: a name stands for a whole file, whoever dies or writes beside it."""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from vqw2v_plugin.common.files import (
    beside,
    copy_whole,
    make_folder,
    part_of,
    publish_in_order,
    remove,
    scratch_folder,
    sweep,
    sync_folder,
    write_whole,
    writing,
    writing_text,
)

Refuse = Callable[..., object]


def refuses(number: int) -> Refuse:
    def call(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there_in_folders_that_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "x.txt", "zwölf\n")
    assert (tmp_path / "a" / "b" / "x.txt").read_bytes() == "zwölf\n".encode()
    write_whole(tmp_path / "x.bin", b"\r\n")
    copy_whole(tmp_path / "x.bin", tmp_path / "y.bin")
    assert (tmp_path / "y.bin").read_bytes() == b"\r\n"
    with writing_text(tmp_path / "z", errors="surrogateescape") as file:
        file.write("a\n\udcff")
    assert (tmp_path / "z").read_bytes() == b"a\n\xff"
    with beside(tmp_path / "w") as part:
        shutil.copyfile(tmp_path / "z", part)
    assert (tmp_path / "w").read_bytes() == b"a\n\xff"
    assert names(tmp_path) == ["a", "w", "x.bin", "y.bin", "z"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", "old")
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "x") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "x").read_text() == "old" and names(tmp_path) == ["x"]


def test_what_a_killed_run_was_writing_is_overwritten(tmp_path: Path) -> None:
    part_of(tmp_path / "x").write_text("half of something that is longer than what comes now")
    write_whole(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new" and names(tmp_path) == ["x"]
    part_of(tmp_path / "y").write_text("half")
    with beside(tmp_path / "y") as part:
        assert part.read_bytes() == b""
    assert names(tmp_path) == ["x", "y"]


def test_two_that_write_one_name_at_once_do_not_mix(tmp_path: Path) -> None:
    with writing(tmp_path / "x") as first:
        first.write(b"first")
        with writing(tmp_path / "x") as second:
            second.write(b"second, and longer")
        assert (tmp_path / "x").read_bytes() == b"second, and longer"
    assert (tmp_path / "x").read_bytes() == b"first" and names(tmp_path) == ["x"]


def test_threads_that_write_one_name_at_once_do_not_mix(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def write(number: int) -> bytes:
        content = bytes([65 + number]) * (1000 + number)
        with writing(tmp_path / "x") as file:
            together.wait(10)
            for byte in content:
                file.write(bytes([byte]))
            file.flush()
            together.wait(10)
        return content

    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(write, range(4)))
    assert (tmp_path / "x").read_bytes() in contents and names(tmp_path) == ["x"]


def test_what_another_took_before_it_was_locked_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking one writer ends, which gives the file its name, and another begins."""
    flock, part, times = fcntl.flock, part_of(tmp_path / "x"), []

    def late(file: BinaryIO, how: int) -> None:
        if not times:
            os.rename(part, tmp_path / "published")
            part.write_text("another's")
        times.append(how)
        flock(file, how)

    part.write_text("whole")
    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(tmp_path / "x", "ours")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"x": "ours", "published": "whole", part.name: "another's"} and len(times) > 1


def test_a_disk_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuses(errno.ENOLCK))
    write_whole(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"


def test_a_folder_that_cannot_be_synced_will_do_and_a_broken_disk_will_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF):
        monkeypatch.setattr(os, "fsync", refuses(number))
        sync_folder(tmp_path)
    with monkeypatch.context() as closed:
        closed.setattr(os, "open", refuses(errno.EACCES))
        sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuses(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_whole(tmp_path / "x", "lost")
    assert not names(tmp_path)


def test_a_cache_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuses(errno.EIO))
    write_whole(tmp_path / "x", "made anew at any time", sync=False)
    assert names(tmp_path) == ["x"]


def test_files_and_folders_get_their_names_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(part_of(tmp_path / name), tmp_path / name) for name in ("b", "codes", "a")]
    for part, _ in pairs:
        part.mkdir() if "codes" in part.name else part.write_text("new")
    (pairs[1][0] / "1.npy").write_text("new")
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "0.npy").write_text("old")
    real, named = os.replace, []
    monkeypatch.setattr(os, "replace", lambda part, path: (named.append(path.name), real(part, path)))
    publish_in_order(pairs)
    assert named == ["b", "codes", "a"] and names(tmp_path) == ["a", "b", "codes"]
    assert names(tmp_path / "codes") == ["1.npy"]


def test_a_file_does_not_take_a_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "kept").touch()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "x", "text")
    assert names(tmp_path) == ["x"] and names(tmp_path / "x") == ["kept"]


def test_a_folder_that_cannot_be_renamed_to_another_disk_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_of(tmp_path / "codes")
    write_whole(part / "1.npy", "new")
    monkeypatch.setattr(os, "replace", refuses(errno.EXDEV))
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        publish_in_order([(part, tmp_path / "codes")])
    assert names(tmp_path) == [part.name] and names(part) == ["1.npy"]


def test_a_scratch_folder_begins_empty_and_goes(tmp_path: Path) -> None:
    (tmp_path / ".labels.part").mkdir()
    (tmp_path / ".labels.part" / "of a killed run").touch()
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, "labels") as scratch:
        assert not names(scratch)
        (scratch / "half").touch()
        raise KeyboardInterrupt
    assert not names(tmp_path)


def test_what_killed_runs_left_goes_by_its_name_alone(tmp_path: Path) -> None:
    left = [".x[1].tsv.part", ".x[1].tsv.77.part", ".x[1].tsv.77"]  # the last is of an earlier version
    kept = [".x1.tsv.part", ".x[1].parts", "x[1].tsv", "y"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    sweep(tmp_path / "x[1].tsv")
    assert names(tmp_path) == sorted(kept)
    remove(tmp_path / "x[1].tsv")
    (tmp_path / "codes").mkdir()
    (tmp_path / ".codes.part").mkdir()
    remove(tmp_path / "codes")
    remove(tmp_path / "never" / "there")
    assert names(tmp_path) == sorted(set(kept) - {"x[1].tsv"})


def test_a_removal_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, list[str]]] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_ino, names(tmp_path)))
    )
    for name in ("x", "folder"):
        (tmp_path / "x").touch() if name == "x" else (tmp_path / name / "y").mkdir(parents=True)
        seen.clear()
        remove(tmp_path / name)
        assert seen == [(tmp_path.stat().st_ino, [])]


def test_a_folder_s_own_name_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    with pytest.raises(FileExistsError):
        (tmp_path / "file").touch()
        make_folder(tmp_path / "file")
