"""Headers: read alone or by many, remembered, and never believed from a damaged cache."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import Sound

from vqw2v_plugin.corpora import headers as headers_module
from vqw2v_plugin.corpora.headers import (
    Header,
    HeaderCache,
    HeaderError,
    default_workers,
    read_header,
    read_headers,
)


def test_header_tells_rate_length_and_channels(sound: Sound) -> None:
    path = sound("x.flac", np.zeros((321, 2)), 44_100)
    header = read_header(str(path))
    assert isinstance(header, Header)
    assert (header.rate, header.samples, header.channels) == (44_100, 321, 2)


def test_what_cannot_be_used_says_why(sound: Sound, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    sound("silent.wav", np.zeros(0))
    flac = sound("endless.flac", np.zeros(100))
    blob = bytearray(flac.read_bytes())
    blob[21] &= 0xF0  # the number of samples, 36 bits: 0 is "not known"
    blob[22:26] = bytes(4)
    flac.write_bytes(blob)
    said = {
        "empty.wav": "is empty, 0 bytes",
        "text.wav": "cannot be opened as audio (16 bytes",
        "folder.wav": "is no file of bytes",
        "pipe.wav": "is no file of bytes",
        "gone.wav": "no such file",
        "loop.wav": "cannot be found (",
        "silent.wav": "holds no samples",
        "endless.flac": "its header gives no length",
        "nul\0.wav": "cannot be found (",
    }
    for name, reason in said.items():
        answer = read_header(f"{tmp_path}/{name}")
        assert isinstance(answer, str) and answer.startswith(reason), (name, answer)


def test_known_and_unchanged_is_not_read_again(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(sound("x.wav", np.zeros(100)))
    known = read_header(path)
    assert isinstance(known, Header)
    monkeypatch.setattr(headers_module, "audio_info", lambda _: pytest.fail("opened"))
    assert read_header(path, known) is known
    monkeypatch.undo()
    stale = known._replace(mtime_ns=known.mtime_ns - 1, samples=7)
    assert read_header(path, stale) == known
    assert read_header(path, known._replace(size=1, samples=7)) == known


def test_many_processes_answer_as_one(sound: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(sound(f"{i}.wav", np.zeros(10 + i))) for i in range(60)] + [str(tmp_path / "gone.wav")]
    jobs = [(path, None) for path in paths]
    alone = [answer for chunk in read_headers(jobs, 1) for answer in chunk]
    monkeypatch.setattr(headers_module, "_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(headers_module, "_WORTH_SECONDS", 0.0)
    assert [answer for chunk in read_headers(jobs, 3) for answer in chunk] == alone
    assert len(alone) == 61 and isinstance(alone[-1], str)


def test_one_worker_is_this_process_however_long_it_takes(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [(str(sound(f"{i}.wav", np.zeros(9))), None) for i in range(20)]
    monkeypatch.setattr(headers_module, "_TRIAL_SECONDS", -1.0)
    monkeypatch.setattr(headers_module, "_WORTH_SECONDS", -1.0)
    monkeypatch.setattr(headers_module, "ProcessPoolExecutor", lambda *_: pytest.fail("started"))
    assert [len(chunk) for chunk in read_headers(jobs, 1)] == [16, 4]


@pytest.mark.parametrize(("number", "starts"), [(20, False), (64, True)])
def test_processes_are_started_for_what_is_left_and_not_for_what_is_done(
    monkeypatch: pytest.MonkeyPatch, number: int, starts: bool
) -> None:
    """At sixteen files in two seconds four more take half a second, and 48 six."""
    times = itertools.count(100.0, 2.0)
    monkeypatch.setattr(headers_module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(headers_module, "_read_parallel", lambda jobs, workers: iter([["apart"] * len(jobs)]))
    first, last = read_headers([("gone.wav", None)] * number, 4)
    assert (len(first), len(last), last[0] == "apart") == (16, number - 16, starts)


def test_an_interrupt_is_for_the_process_that_was_started_by_hand() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        headers_module._live_with_parent()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_worker_s_parent_is_followed_in_a_thread_that_keeps_no_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, codes, gone = threading.Event(), [], threading.Event()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=ended.wait))
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), gone.set()))
    before = set(threading.enumerate())
    headers_module._live_with_parent()
    (thread,) = set(threading.enumerate()) - before
    is_daemon, early = thread.daemon, list(codes)
    ended.set()
    assert gone.wait(10) and codes == [1]
    assert is_daemon and not early


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (3, 6), (16, 32), (64, 32)])
def test_there_are_two_workers_a_core_and_never_more_than_32(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert default_workers() == workers


def test_workers_die_with_their_parent() -> None:
    code = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from vqw2v_plugin.corpora.headers import _live_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _live_with_parent)
    jobs = [pool.submit(time.sleep, 60) for _ in range(2)]
    while not all(job.running() for job in jobs):
        time.sleep(0.01)
    print(*pool._processes, flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(1.0)  # until their imports are done
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2 and not any(is_alive(pid) for pid in workers)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


number = st.integers(0, 2**62)
name = st.text(
    st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=9
)
table = st.dictionaries(name, st.builds(Header, number, number, number, number, number), max_size=12)


def fill(path: Path, known: dict[str, Header]) -> None:
    cache = HeaderCache(path, pytest.fail)
    cache.add(known.items())
    cache.close(known)


@settings(deadline=None, max_examples=50)
@given(table, table)
def test_what_was_kept_comes_back(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Header], second: dict[str, Header]
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c"
    fill(path, first)
    assert HeaderCache(path, pytest.fail).known == first
    cache = HeaderCache(path, pytest.fail)
    cache.add(second.items())
    cache.close({**first, **second})
    assert HeaderCache(path, pytest.fail).known == {**first, **second}


@settings(deadline=None, max_examples=60)
@given(table, st.data())
def test_damage_loses_headers_and_never_makes_one(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, Header], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cache") / "c"
    fill(path, known)
    blob = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(blob[: data.draw(st.integers(0, len(blob)))])
    cache = HeaderCache(path, lambda _: None)
    assert cache.known.items() <= known.items()
    cache.add(known.items())
    cache.close(known)
    assert HeaderCache(path, lambda _: None).known == known


def test_a_torn_last_line_needs_no_warning_and_a_damaged_one_gets_it(tmp_path: Path) -> None:
    known = {f"/x/{i}.wav": Header(i, i, 8000, i, 1) for i in range(5)}
    path = tmp_path / "c"
    fill(path, known)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert len(HeaderCache(path, pytest.fail).known) == 4
    path.write_bytes(whole.replace(b"/x/2", b"/x/7"))
    warnings: list[str] = []
    assert set(HeaderCache(path, warnings.append).known) == set(known) - {"/x/2.wav"}
    assert len(warnings) == 1 and "1 damaged lines are ignored" in warnings[0]
    path.write_bytes(b"\x00 quite another file\n")
    assert HeaderCache(path, warnings.append).known == {} and "made anew" in warnings[1]


def test_a_cache_of_many_files_gone_is_written_anew(tmp_path: Path) -> None:
    known = {f"/x/{i}.wav": Header(i, i, 8000, i, 1) for i in range(100)}
    path = tmp_path / "c"
    fill(path, known)
    fill(path, known)  # what is known already is not written again
    assert path.read_bytes().count(b"\n") == 101
    HeaderCache(path, pytest.fail).close([f"/x/{i}.wav" for i in range(60)])
    assert HeaderCache(path, pytest.fail).known == known
    HeaderCache(path, pytest.fail).close(["/x/3.wav"])
    assert set(HeaderCache(path, pytest.fail).known) == {"/x/3.wav"}
    cache = HeaderCache(path, pytest.fail)
    cache.add(known.items())  # and what was added just now counts
    cache.close(["/x/4.wav"])
    assert set(HeaderCache(path, pytest.fail).known) == {"/x/4.wav"}


def test_a_disk_that_is_full_costs_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    cache = HeaderCache(tmp_path / "c", warnings.append)

    def full(descriptor: int, blob: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    cache.add([("/x.wav", Header(1, 2, 3, 4, 5))])
    monkeypatch.undo()
    cache.close(["/x.wav"])
    assert cache.known and len(warnings) == 1 and "No space left on device" in warnings[0]


def test_a_cache_that_cannot_be_opened_or_written_anew_is_told_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    (tmp_path / "folder").mkdir()
    cache = HeaderCache(tmp_path / "folder", warnings.append)
    cache.add([("/x.wav", Header(1, 2, 3, 4, 5))])
    cache.close(["/x.wav"])
    assert cache.known and len(warnings) == 1 and "headers read now will be read again" in warnings[0]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(headers_module, "write_whole", full)
    cache = HeaderCache(tmp_path / "c", warnings.append)
    cache.add([(f"/{i}.wav", Header(1, 2, 3, 4, 5)) for i in range(3)])
    cache.close(["/0.wav"])
    assert len(warnings) == 2 and "No space left on device" in warnings[1]
    assert len(HeaderCache(tmp_path / "c", warnings.append).known) == 3  # as it was


def test_headers_that_the_disk_takes_piece_by_piece_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, write = {f"/x/{i}.wav": Header(i, i, 8000, i, 1) for i in range(5)}, os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, blob: write(descriptor, blob[:7]))
        cache = HeaderCache(tmp_path / "c", pytest.fail)
        cache.add(known.items())
    cache.close(known)
    assert HeaderCache(tmp_path / "c", pytest.fail).known == known


class Deadly(str):
    """A path that ends the process that receives it, as a file might that crashes the audio library."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def test_a_worker_that_dies_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers_module, "_TRIAL_SECONDS", -1.0)
    monkeypatch.setattr(headers_module, "_WORTH_SECONDS", -1.0)
    harmless = [(str(tmp_path / f"{i}.wav"), None) for i in range(20)]
    with pytest.raises(
        HeaderError, match=r"a worker process died .* under .*: run this again, with `--workers 1`"
    ):
        list(read_headers([*harmless, (Deadly(tmp_path / "x.wav"), None)], 2))
