"""Attacks: every kind of file that a stranger may send, given to every command that reads one.

    python tests/attacks/attack.py --share 0.1 --seed 3 --only encode
    python tests/attacks/attack.py --only 'checkpoint × encode' --case 'evil 0, gumbel' --keep runs/attacks

Prints a table, a row a kind of try, and then each finding with what tries it again; exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("attacks", "fuzz", ".")]

import attempts
import torch
from attempts import Case, Outcome, Reader, Verdict, Works
from families import Family, families
from forked import in_child
from good_things import make_good
from strange_pickles import LIKE

from vqw2v_plugin import register
from vqw2v_plugin.__main__ import COMMANDS, load_command

_WIDTH = 34  # of the table's first column


class Try(NamedTuple):
    row: str
    case: Case
    reader: Reader
    family: Family


class Campaign:
    """Some tries, a few at a time, and what came of them."""

    def __init__(self, home: Path, jobs: int, keep: bool) -> None:
        self.home, self.jobs, self.keep = home, jobs, keep
        self.counts: dict[str, Counter[Outcome]] = {}
        self.findings: list[tuple[Try, Verdict]] = []
        self.clean: dict[tuple[str, str], str] = {}
        self.slowest: list[tuple[float, str]] = []
        self._number = 0

    def run(self, tries: list[Try]) -> None:
        """First the whole files, whose results others are held against."""
        whole = {(t.row, t.case.kind): t for t in tries if t.case.works is Works.SAME or not t.case.kind}
        first = [t._replace(case=t.family.whole(t.case.kind)) for t in whole.values()]
        ends: dict[str, set[Outcome]] = {}
        for tried, verdict in self._verdicts(first):
            if verdict.outcome.is_finding:
                raise SystemExit(f"{tried.row}: {tried.case.name} is not read: {verdict.said}")
            ends.setdefault(tried.row, set()).add(verdict.outcome)
            self.clean[tried.row, tried.case.kind] = verdict.result
        for row, found in ends.items():
            kinds = {kind for name, kind in whole if name == row}
            if Outcome.WORKS not in found and (kinds == {""} or kinds >= set(LIKE)):
                print(
                    f"{row}: not even whole files are taken, so that errors alone are to be seen", flush=True
                )
        for tried, verdict in self._verdicts(tries):
            self.counts.setdefault(tried.row, Counter())[verdict.outcome] += 1
            if verdict.outcome.is_finding:
                self.findings.append((tried, verdict))
                print(
                    f"… {verdict.outcome.value}: {tried.row}: {tried.case.name}", file=sys.stderr, flush=True
                )

    def _verdicts(self, tries: Iterable[Try]) -> Iterator[tuple[Try, Verdict]]:
        live: dict[int, tuple[Try, Path, float]] = {}
        for tried in tries:
            while len(live) >= self.jobs:
                yield self._next(live)
            self._number += 1
            folder = self.home / str(self._number)
            live[attempts.begin(tried.case, tried.reader, folder)] = tried, folder, time.monotonic()
        while live:
            yield self._next(live)

    def _next(self, live: dict[int, tuple[Try, Path, float]]) -> tuple[Try, Verdict]:
        process, status = os.wait()
        tried, folder, begun = live.pop(process)
        try:
            os.killpg(process, signal.SIGKILL)  # what it left behind
        except ProcessLookupError:
            pass
        clean = self.clean.get((tried.row, tried.case.kind))
        verdict = attempts.verdict(tried.case, tried.reader, folder, status, clean)
        self.slowest = sorted([*self.slowest, (time.monotonic() - begun, f"{tried.row}: {tried.case.name}")])[
            -5:
        ]
        if not self.keep:
            attempts.remove(folder)
        return tried, verdict

    def table(self) -> str:
        names = [outcome.value for outcome in Outcome]
        lines = [" " * _WIDTH + "".join(f"{name:>14}" for name in ("tried", *names))]
        total: Counter[Outcome] = Counter()
        for row, counts in self.counts.items():
            total += counts
            lines.append(_line(row, counts))
        return "\n".join([*lines, _line("all", total)])


def _line(row: str, counts: Counter[Outcome]) -> str:
    numbers = (counts.total(), *(counts[outcome] for outcome in Outcome))
    return f"{row:{_WIDTH}}" + "".join(f"{number:14,}" for number in numbers)


def drawn(found: list[Family], share: float, only: list[str], case: str, seed: int) -> list[Try]:
    """Of each row that is wanted a share of its tries, at least one."""
    tries = []
    for family in found:
        for reader in family.readers:
            row = f"{family.name} × {reader.name}"
            if only and not any(text in row for text in only):
                continue
            cases = [c for c in family.cases if (not case or c.name == case)]
            rng = random.Random(f"{seed}/{row}")
            some = rng.sample(cases, min(len(cases), max(1, round(share * len(cases)))))
            tries += [Try(row, one, reader, family) for one in some]
    return tries


def warm() -> None:
    """What every try would import."""
    for name in COMMANDS:
        load_command(name)
    for module in ("fairseq_cli.train", "fairseq_cli.generate", "vqw2v_plugin.transcriber", "kenlm"):
        __import__(module)
    register()
    torch.set_num_threads(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--share", type=float, default=1.0, help="of the tries (default: all)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="rows with this in the name"
    )
    parser.add_argument("--case", default="", help="this file alone")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other damage, another share")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="tries at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave files and output of each try there"
    )
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True)
        return _attack(args, args.keep.resolve())
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as home:
        return _attack(args, Path(home))


def _attack(args: argparse.Namespace, home: Path) -> int:
    begun = time.monotonic()
    warm()
    (home / "good").mkdir()
    made = in_child(lambda: make_good(home / "good"), home, seconds=300)
    if made.status:
        raise SystemExit(f"what is attacked could not be made: {made.said[-3000:]}")
    tries = drawn(families(home / "good", args.seed), args.share, args.only, args.case, args.seed)
    print(f"{len(tries):,} tries, ready after {time.monotonic() - begun:.0f} s", flush=True)
    campaign = Campaign(home, args.jobs, args.keep is not None)
    campaign.run(tries)
    print(campaign.table())
    print(f"seed {args.seed}: {len(campaign.findings)} findings in {time.monotonic() - begun:.0f} s")
    for seconds, name in campaign.slowest[::-1]:
        print(f"slow: {seconds:.1f} s for {name}")
    for tried, verdict in campaign.findings:
        print(f"\n{verdict.outcome.value}: {tried.row}: {tried.case.name}\n    $ {verdict.command}")
        again = f"--seed {args.seed} --only {tried.row!r} --case {tried.case.name!r} --keep FOLDER"
        print(f"    again: python tests/attacks/attack.py {again}\n{verdict.said[-2000:]}")
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
