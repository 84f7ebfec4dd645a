"""What headers of wavs said the last time: a file that only grows; its damaged lines are not believed.

A line: CRC-32 of the rest, size, mtime in ns, rate, samples, channels, path; separated by tabs.
"""

import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from .headers import Header

_FIRST_LINE = b"vqw2v headers 1\n"


class HeaderCache:
    """`known[path]` is the header last read; to be had only by one process at a time."""

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
        """Written anew with the `used` paths alone, once they are less than half of it."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        kept = [path for path in used if path in self.known]
        if self._num_lines > 2 * len(kept):
            lines = [_line(path, self.known[path]) for path in kept]
            unfinished = self.path.with_name(self.path.name + ".unfinished")
            try:
                unfinished.write_bytes(_FIRST_LINE + b"".join(lines))
                os.replace(unfinished, self.path)
            except OSError as error:
                self._give_up(error)

    def _load(self) -> int:
        """Reads what can be believed; answers how many bytes of the file stay."""
        if not self.path.exists():
            return 0
        blob = self.path.read_bytes()
        end = blob.rfind(b"\n") + 1  # what follows was torn off by a kill
        if not blob.startswith(_FIRST_LINE):
            if blob:
                self._warn(f"{self.path}: is no header cache of this version; it is ignored and made anew")
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
