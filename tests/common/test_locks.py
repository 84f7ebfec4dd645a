"""Only runs that agree share a folder, and a lock dies with whoever holds it."""

import errno
import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from vqw2v_plugin.common.locks import LockedError, Rank, check_folder, claimed, lock_file, one_at_a_time


def hold(out: Path, rank: Rank) -> multiprocessing.Process:
    """Another process that has claimed the folder."""

    def work() -> None:
        with claimed(out, rank):
            (out / "held").touch()
            time.sleep(60)

    (out / "held").unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    while not (out / "held").exists():
        time.sleep(0.001)
    return process


@pytest.mark.parametrize(
    ("there", "here", "fits"),
    [
        (Rank(), Rank(), False),
        (Rank(), Rank(1, 3), False),
        (Rank(0, 3), Rank(), False),
        (Rank(0, 3), Rank(1, 3), True),
        (Rank(0, 3), Rank(0, 3), False),
        (Rank(0, 3), Rank(3, 4), False),
        (Rank(0, 12), Rank(1, 2), False),
    ],
)
def test_runs_refuse_each_other_and_ranks_do_not(tmp_path: Path, there: Rank, here: Rank, fits: bool) -> None:
    process = hold(tmp_path, there)
    try:
        if fits:
            with claimed(tmp_path, here):
                pass
        else:
            with pytest.raises(LockedError, match="is being written by another run"), claimed(tmp_path, here):
                pass
    finally:
        process.kill()
        process.join()
    with claimed(tmp_path, here):  # the lock died with its process
        pass


def test_the_environment_s_rank() -> None:
    assert Rank.of({}) == Rank(0, 1) and Rank.of({"RANK": "2", "WORLD_SIZE": "4"}) == Rank(2, 4)
    for environ in ({"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "x"}, {"WORLD_SIZE": "0"}):
        with pytest.raises(ValueError, match="expected numbers such as 0 and 4"):
            Rank.of(environ)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match="is a file, expected a folder"), claimed(tmp_path / "out", Rank()):
        pass
    assert os.path.isfile(tmp_path / "out")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="expected a folder to write into"):
        check_folder(tmp_path / "pipe")
    check_folder(tmp_path)
    check_folder(tmp_path / "new")


def test_a_disk_without_locks_will_do_and_other_errors_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.ENOLCK, errno.EIO):

        def flock(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)
        for lock in (claimed(tmp_path, Rank()), lock_file(tmp_path, "x"), one_at_a_time(tmp_path)):
            if number == errno.ENOLCK:
                with lock:
                    pass
            else:
                with pytest.raises(OSError, match=os.strerror(errno.EIO)), lock:
                    pass


@pytest.mark.parametrize(
    "number", [errno.EWOULDBLOCK, errno.EACCES]
)  # as flock says it, or some network disks
def test_a_lock_that_another_holds_is_told_as_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for lock in (claimed(tmp_path, Rank()), lock_file(tmp_path, "x")):
        with pytest.raises(LockedError, match="is being written by another run"), lock:
            pass
