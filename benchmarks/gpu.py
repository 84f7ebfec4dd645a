"""wav → tokens → states on a GPU: every arrow's step of ours beside stock's, in one command.

Two processes, one a side, take each row in turn, the most important first. A row's line is printed as it
ends, with what our step asked of the device; a row that fails says why, and the others go on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_sides import Found, Plan, row_names, serve
from sides import SPAWN, describe

HEADER = """\
| row | stock, s | ours, s | ratio | ours, audio s/s | of peak | MiB, stock | MiB, ours | launches | waits |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
_SETTING_UP = 120.0  # seconds that a side may take until it has torch and fairseq, and its first weights
_ENDING = 5.0


class Side:
    """A process that is asked for rows, and made anew where it ended or took too long."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name, self.plan = name, plan
        self._process: Any = None

    def ask(self, row: str, seconds: float) -> Found | str:
        """What it found, or why nothing."""
        if self._process is None or not self._process.is_alive():
            self._connection, theirs = SPAWN.Pipe()
            self._process = SPAWN.Process(target=serve, args=(theirs, self.name, self.plan))
            self._process.start()  # no daemon: it has processes of its own, that read audio
            theirs.close()
            seconds += _SETTING_UP
        try:
            self._connection.send(row)
            if not self._connection.poll(seconds):
                self._process.kill()
                self._process.join()
                return f"took more than {seconds:.0f} s"
            return self._connection.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            self._process.join()
            return f"its process ended with {self._process.exitcode}"

    def end(self) -> None:
        if self._process is None:
            return
        try:
            self._connection.send(None)
            self._process.join(_ENDING)
        except OSError:
            pass  # it has ended by itself
        self._process.kill()
        self._process.join()


@dataclass(frozen=True)
class Setting:
    """What the rows are compared with."""

    gflop: dict[str, float]  # of a step of each quantizer
    peaks: dict[str, float]  # GFLOP/s of products in each precision


def line(row: str, stock: Found | str, ours: Found | str, setting: Setting) -> str:
    """A row of the table."""
    cells = [row, *(_seconds(found) for found in (stock, ours))]
    both = isinstance(stock, Found) and isinstance(ours, Found)
    cells.append(f"**{stock.least / ours.least:.2f}**" if both else "")  # type: ignore[union-attr]
    if isinstance(ours, Found):
        cells.append(f"{ours.audio / ours.least:,.0f}" if ours.audio else "")
        gflop, peak = setting.gflop.get(ours.work, 0.0), setting.peaks.get(ours.precision, 0.0)
        cells.append(f"{gflop / ours.least / peak:.0%}" if gflop and peak else "")
    else:
        cells += ["", ""]
    cells += [f"{found.peak:,.0f}" if isinstance(found, Found) else "" for found in (stock, ours)]
    cells += [f"{ours.launches:,}", f"{ours.waits:,}"] if isinstance(ours, Found) else ["", ""]
    return f"| {' | '.join(cells)} |"


def _seconds(found: Found | str) -> str:
    return f"failed: {found}" if isinstance(found, str) else f"{found.least:.4f} (–{found.most:.4f})"


@contextmanager
def both_sides(plan: Plan) -> Iterator[list[Side]]:
    sides = [Side(name, plan) for name in ("stock", "ours")]
    try:
        yield sides
    finally:
        for side in sides:
            side.end()


def measure(plan: Plan, rows: list[str], limit: float) -> list[str]:
    """The names of rows that failed on our side."""
    failed = []
    with both_sides(plan) as (stock, ours):
        prepared = stock.ask("prepare", limit)
        if isinstance(prepared, str):
            print(f"no weights were made: {prepared}", flush=True)
        setting = Setting({}, {}) if isinstance(prepared, str) else Setting(prepared.gflop, prepared.peaks)
        print(HEADER, flush=True)
        for row in rows:
            found = [side.ask(row, limit) for side in (stock, ours)]
            print(line(row, *found, setting), flush=True)  # type: ignore[call-arg]
            if isinstance(found[1], str):
                failed.append(row)
            else:
                print("".join(f"    {each}\n" for each in found[1].dearest), end="", flush=True)
    return failed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--rows",
        metavar="NAMES",
        help=f"of {', '.join(row_names())}, with commas (default: all, in this order)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=4.0,
        help="of each row on each side, after three steps (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=60.0,
        help="seconds after which a row is given up (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (default: %(default)s)")
    parser.add_argument(
        "--cpu-rehearsal", action="store_true", help="all of it in small on a processor, to see that it goes"
    )
    args = parser.parse_args()
    args.rows = row_names() if args.rows is None else args.rows.split(",")
    if unknown := set(args.rows) - set(row_names()):
        parser.error(f"`--rows` has {', '.join(sorted(unknown))}; expected some of {', '.join(row_names())}")
    return args


def main() -> int:
    args = parse_args()
    begun, device = time.monotonic(), "cpu" if args.cpu_rehearsal else "cuda"
    print(describe(args.threads, device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        seconds = 0.0 if args.cpu_rehearsal else args.seconds
        failed = measure(Plan(device, str(Path(folder)), seconds, args.threads), args.rows, args.limit)
    print(
        f"{len(args.rows)} rows in {time.monotonic() - begun:.0f} s"
        + (f"; failed: {failed}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
