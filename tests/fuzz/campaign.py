"""Fuzzing what reads strangers' bytes: each target in turn, in a process that may crash, hang or swell.

    python tests/fuzz/campaign.py --seconds 600 --seed 0 [TARGET …]

Prints executions and findings of each target, and exits 1 if there are any. A finding is a json in
`--findings` (runs/fuzz): mend the cause and move the json to tests/fuzz/findings, where a test replays it.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cases import Files, Finding, read_files, write_files
from judge import PACKAGE, judge
from reached import Reached
from structures import mutate
from targets import TARGETS, Target
from tries import guarded, peak, rearm, silent, swollen, tried

_LEAST = 10  # tries of a turn, however slow the machine is
_WATCHED = 0.3  # of the tries: it takes twice the time


class Fuzzer:
    """One target; what its mutants reach first is mutated further."""

    def __init__(self, target: Target, seed: int, home: Path, findings: Path) -> None:
        self.target, self.seed, self.home, self.findings = target, seed, home, findings
        self.corpus, self.case = home / "corpus", home / "case"
        self.known: set[str] = set()
        self.deaths = self.rounds = 0
        self.executions = ctypes.c_uint64.from_buffer(mmap.mmap(-1, 8))  # shared with the child
        made = home / "made"
        target.make(made)
        for number, folder in enumerate(sorted(path for path in made.iterdir() if path.is_dir())):
            shutil.copytree(folder, self.corpus / f"{number:06d}")

    def check_seeds(self) -> None:
        """Each is read as it is, or there is nothing to learn from mutants."""
        for folder in sorted(self.corpus.iterdir()):
            if why := tried(self.target.read, read_files(folder), self.case):
                raise SystemExit(f"{self.target.name}: its own seed {folder.name} is not read: {why}")
            with silent():
                self.target.read(_copied(read_files(folder), self.case))

    def run(self, seconds: float) -> None:
        """Until the time is over, whatever happens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rounds += 1
            why = guarded(lambda: self._work(end))
            if why:
                self.deaths += 1
                files = read_files(self.case)
                if again := tried(self.target.read, files, self.case):  # not slow through being watched alone
                    self._keep(Finding(self.target.name, again, files, self._seed))

    @property
    def _seed(self) -> str:
        return f"{self.seed}/{self.target.name}/{self.rounds}/{self.executions.value}"

    def _work(self, end: float) -> None:
        rng = random.Random(f"{self.seed}/{self.target.name}/{self.rounds}")
        corpus = [read_files(folder) for folder in sorted(self.corpus.iterdir())]
        reached = Reached(PACKAGE)
        for files in list(corpus):
            rearm()
            write_files(files, self.case)
            reached.new(lambda: judge(self.target.read, self.case))
        before = peak()
        least = self.executions.value + _LEAST
        while time.monotonic() < end or self.executions.value < least:
            rearm()
            files = mutant(corpus, rng)
            write_files(files, self.case)
            said: list[str] = []
            rearm()
            self.executions.value += 1
            attempt = lambda: said.append(judge(self.target.read, self.case))  # noqa: B023, E731
            new = reached.new(attempt) if rng.random() < _WATCHED else attempt()
            why = said[0] or swollen(before)
            if why:
                self._keep(Finding(self.target.name, why, files, self._seed))
                before = peak()
            elif new:
                corpus.append(files)
                write_files(files, self.corpus / f"{len(corpus):06d}")

    def _keep(self, finding: Finding) -> None:
        """One for each first line, whichever process came upon it."""
        mark = self.home / "known"
        first = finding.why.splitlines()[0]
        known = mark.read_text().split("\n") if mark.exists() else []
        if first not in known:
            finding.write(self.findings)
            mark.write_text("\n".join([*known, first]))


def _copied(files: Files, folder: Path) -> Path:
    write_files(files, folder)
    return folder


def mutant(corpus: list[Files], rng: random.Random) -> Files:
    """A case with one of its files changed, at times two, or one gone."""
    files = dict(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2))):
        if not files:
            break
        name = rng.choice(sorted(files))
        other = rng.choice(corpus).get(name, b"") if rng.random() < 0.7 else files[rng.choice(sorted(files))]
        if rng.random() < 0.02:
            del files[name]
        else:
            files[name] = mutate(files[name], other, rng)
    return files


def shrink(finding: Finding, folder: Path, tries: int = 60) -> Finding:
    """The same finding with fewer bytes, as far as so many tries lead."""
    read, first = TARGETS[finding.target].read, finding.why.splitlines()[0]
    files = dict(finding.files)
    parts = [(name, parts, i) for parts in (2, 4, 8, 16, 32) for name in files for i in range(parts)]
    for name, num_parts, i in parts[:tries]:
        size = len(files[name])
        less = files[name][: size * i // num_parts] + files[name][size * (i + 1) // num_parts :]
        if len(less) < size and tried(read, {**files, name: less}, folder).splitlines()[:1] == [first]:
            files[name] = less
    return Finding(finding.target, finding.why, files, finding.seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=600, help="all in all (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other mutants")
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="default: %(default)s")
    args = parser.parse_args()
    if unknown := set(args.targets) - set(TARGETS):
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as home:
        return _campaign(args, Path(home))


def _campaign(args: argparse.Namespace, home: Path) -> int:
    chosen = [TARGETS[name] for name in args.targets or TARGETS]
    earlier = set(args.findings.glob("*.json"))
    begun = time.monotonic()
    fuzzers = [Fuzzer(target, args.seed, home / target.name, args.findings) for target in chosen]
    for fuzzer in fuzzers:
        fuzzer.check_seeds()
    print(f"{len(fuzzers)} targets are ready after {time.monotonic() - begun:.0f} s", flush=True)
    shares = sum(target.share for target in chosen)
    turns, end = max(1, round(args.seconds / shares / 10)), time.monotonic() + args.seconds
    ahead = shares * turns
    for fuzzer in fuzzers * turns:
        fuzzer.run(max(0.0, end - time.monotonic()) * fuzzer.target.share / ahead)
        ahead -= fuzzer.target.share
    found = []
    for path in sorted(set(args.findings.glob("*.json")) - earlier):
        found.append(shrink(Finding.read(path), home / "shrunk" / "case"))
        path.unlink()
        found[-1].write(args.findings)
    counts = Counter(finding.target for finding in found)
    print(f"{'target':16}{'executions':>12}{'deaths':>8}{'kept':>6}{'findings':>10}")
    for fuzzer in fuzzers:
        kept, name = len(list(fuzzer.corpus.iterdir())), fuzzer.target.name
        print(f"{name:16}{fuzzer.executions.value:12,}{fuzzer.deaths:8}{kept:6}{counts[name]:10}")
    total = sum(fuzzer.executions.value for fuzzer in fuzzers)
    print(f"seed {args.seed}: {total:,} executions, {len(found)} findings")
    for finding in found:
        print(f"\n{args.findings / finding.name}: {finding.why}")
        print(tried(TARGETS[finding.target].read, finding.files, home / "shrunk" / "case"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
