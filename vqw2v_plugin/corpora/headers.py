"""How long each wav is, from its header alone, in parallel processes.

Threads were measured and are slower than no threads: opening a file is mostly Python's own work.
"""

import multiprocessing
import multiprocessing.process
import os
import signal
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from ..audio.reading import AudioError, audio_info
from ..common.files import write_whole

_TRIAL_SECONDS = 0.5  # how long this process works alone before it starts others
_WORTH_SECONDS = 1.0  # with less work than this, a pool of processes would start too late
_LARGEST_CHUNK = 256


class HeaderError(ValueError):
    """Headers could not be read, for a reason that lies in no single file."""


class Header(NamedTuple):
    """A file's header, and the file's state when it was read."""

    size: int
    mtime_ns: int
    rate: int
    samples: int
    channels: int


Job = tuple[str, Header | None]  # a path, and what is known of it
Answer = Header | str  # or why the file cannot be used


def read_headers(jobs: Sequence[Job], workers: int) -> Iterator[list[Answer]]:
    """Answers in the order of the jobs, several at a time; unchanged files are not read again."""
    began, done = time.monotonic(), 0
    while done < len(jobs):
        chunk = read_chunk(jobs[done : done + 16])
        done += len(chunk)
        yield chunk
        seconds = time.monotonic() - began
        if workers > 1 and seconds > _TRIAL_SECONDS:
            if seconds / done * (len(jobs) - done) > _WORTH_SECONDS:
                break
    if done < len(jobs):
        yield from _read_parallel(jobs[done:], workers)


def read_chunk(jobs: Sequence[Job]) -> list[Answer]:
    return [read_header(path, known) for path, known in jobs]


def read_header(path: str, known: Header | None = None) -> Answer:
    """One file's header, the `known` one if the file is unchanged; or why it has none."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return "no such file; restore it, or take it off the corpus' list"
    except (OSError, ValueError) as error:
        return f"cannot be found ({getattr(error, 'strerror', None) or error}); correct the path"
    if known is not None and (known.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns):
        return known
    if not stat.S_ISREG(state.st_mode):
        return "is no file of bytes (a folder, pipe or device?); leave it out"
    if state.st_size == 0:
        return "is empty, 0 bytes; write the file anew"
    try:
        info = audio_info(path)
    except AudioError as error:
        return str(error).removeprefix(f"{path}: ")
    except UnicodeError:
        return "cannot be opened by a name that is not UTF-8; rename it"
    if info.samples == 0:
        return "holds no samples, expected at least one; leave it out"
    return Header(state.st_size, state.st_mtime_ns, info.sample_rate, info.samples, info.channels)


def default_workers() -> int:
    """More than there are cores, since much of the time is spent waiting for a disk."""
    return min(32, 2 * len(os.sched_getaffinity(0)))


def _read_parallel(jobs: Sequence[Job], workers: int) -> Iterator[list[Answer]]:
    size = max(1, min(_LARGEST_CHUNK, len(jobs) // (8 * workers)))
    chunks = [jobs[i : i + size] for i in range(0, len(jobs), size)]
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    pool = ProcessPoolExecutor(min(workers, len(chunks)), context, _live_with_parent)
    try:
        yield from pool.map(read_chunk, chunks)
    except BrokenProcessPool:
        raise HeaderError(
            f"a worker process died while it read one of {len(jobs):,} files under "
            f"{os.path.commonpath([path for path, _ in jobs])}; what was read is kept: run this again, with "
            f"`--workers 1` if it happens twice"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _live_with_parent() -> None:
    """Leaves Ctrl-C to the parent, and lets no worker wait for ever whose parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=[parent], daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


_FIRST_LINE = b"vqw2v headers 1\n"


class HeaderCache:
    """`known[path]` is the header last read; only one process at a time may have it open."""

    def __init__(self, path: str | os.PathLike[str], warn: Callable[[str], None]) -> None:
        self.path, self._warn = Path(path), warn
        self.known: dict[str, Header] = {}
        self._num_lines = 0
        self._descriptor = -1
        try:
            self._open(self._load())
        except OSError as error:
            self._give_up(error)

    def add(self, headers: Iterable[tuple[str, Header]]) -> None:
        """Keeps headers at once, so that a killed run's work is not lost."""
        lines = []
        for path, header in headers:
            if self.known.get(path) != header:
                self.known[path] = header
                lines.append(_line(path, header))
        if lines and self._descriptor >= 0:
            try:
                _write_all(self._descriptor, b"".join(lines))
                self._num_lines += len(lines)
            except OSError as error:
                self._give_up(error)

    def close(self, used: Iterable[str] = ()) -> None:
        """Rewrites the file with the `used` paths alone, once they are less than half of it."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        kept = [path for path in used if path in self.known]
        if self._num_lines > 2 * len(kept):
            lines = [_line(path, self.known[path]) for path in kept]
            try:  # not synced: what a power cut takes is read again
                write_whole(self.path, _FIRST_LINE + b"".join(lines), sync=False)
            except OSError as error:
                self._give_up(error)

    def _load(self) -> int:
        """Reads all whole lines; returns how many bytes of the file to keep."""
        if not self.path.exists():
            return 0
        blob = self.path.read_bytes()
        end = blob.rfind(b"\n") + 1  # cut short by a kill
        if not blob.startswith(_FIRST_LINE):
            if blob:
                self._warn(f"{self.path}: is not a header cache of this version; it is ignored and made anew")
            return 0
        damaged = 0
        for line in blob[len(_FIRST_LINE) : end].split(b"\n")[:-1]:
            crc, _, rest = line.partition(b"\t")
            if crc != b"%08x" % zlib.crc32(rest):
                damaged += 1
                continue
            size, mtime_ns, rate, samples, channels, path = rest.split(b"\t", 5)
            header = Header(int(size), int(mtime_ns), int(rate), int(samples), int(channels))
            self.known[os.fsdecode(path)] = header
            self._num_lines += 1
        if damaged:
            self._warn(f"{self.path}: {damaged:,} damaged lines are ignored; those files are read again")
        return end

    def _open(self, size: int) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        os.truncate(self._descriptor, size)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if size == 0:
            _write_all(self._descriptor, _FIRST_LINE)

    def _give_up(self, error: OSError) -> None:
        self._warn(f"{self.path}: {error.strerror or error}; headers read now will be read again next time")
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(path: str, header: Header) -> bytes:
    rest = b"\t".join([*(b"%d" % number for number in header), os.fsencode(path)])
    return b"%08x\t%s\n" % (zlib.crc32(rest), rest)


def _write_all(descriptor: int, blob: bytes) -> None:
    while blob:
        blob = blob[os.write(descriptor, blob) :]
