"""`make bugs`: each of a list of bugs is put into a copy of the project; which do the fast tests let live?

A list is json: objects with `what`, `file`, `old` (there once) and `new`. For each bug the tests of the
file's own name run first, then those of its room, then all others, until one fails. Everything runs in
children of one process that has imported what is slow, on a copy, so that the checkout stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = {".git", ".venv", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache", "build", "dist"}
_ARGUMENTS = ["-q", "-x", "-p", "no:cacheprovider", "--tb=no", "-W", "ignore", "--timeout=120"]
_PASSED, _FAILED, _NONE = 0, 1, 5  # pytest's exit codes
_KILLED = (_FAILED, 2, 3, 4)  # also where nothing can be imported any more


@dataclass(frozen=True)
class Bug:
    what: str
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Verdict:
    bug: Bug
    says: str  # killed, survived, or why it could not be tried
    by: str = ""  # the test
    seconds: float = 0.0


def main() -> int:
    args = parse_args()
    bugs = [Bug(**each) for path in args.lists for each in json.loads(path.read_text(encoding="utf-8"))]
    return _tell(try_all(args.root, [bug for bug in bugs if args.only in bug.what + bug.file], args.seconds))


def try_all(root: Path, bugs: Sequence[Bug], seconds: float) -> list[Verdict]:
    """Each in turn, on one copy."""
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(root, copy, ignore=lambda _, names: set(names) & _LEFT_OUT, symlinks=True)
        (copy / ".git").mkdir()
        _get_ready(copy)
        if _run(["--collect-only", "tests"], seconds)[0] != _PASSED:
            raise SystemExit(f"try_bugs.py: error: the tests of {root} do not even run without a bug")
        for bug in bugs:
            verdicts.append(_try(copy, bug, seconds))
            last = verdicts[-1]
            print(f"{last.says:9} {last.seconds:5.0f} s  {bug.file}: {bug.what}  {last.by}", flush=True)
    return verdicts


def _tell(verdicts: Sequence[Verdict]) -> int:
    count = {says: sum(each.says == says for each in verdicts) for says in ("killed", "survived")}
    stale = [each for each in verdicts if each.says not in count]
    print(f"\n{len(verdicts)} bugs: {count['killed']} killed, {count['survived']} survived", end="")
    print(f", {len(stale)} no longer fit the code" if stale else "")
    for each in verdicts:
        if each.says == "survived":
            print(f"  survived: {each.bug.file}: {each.bug.what}")
    return 1 if count["survived"] else 0


def _get_ready(copy: Path) -> None:
    """What children inherit: slow imports, and a project that is the copy."""
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), OMP_NUM_THREADS="1", MPLBACKEND="Agg")
    sys.path[:0] = [str(copy)]
    import fairseq.checkpoint_utils
    import fairseq.models
    import fairseq.tasks
    import fairseq.trainer  # noqa: F401
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import soundfile  # noqa: F401
    import torch

    torch.set_num_threads(1)


def _try(copy: Path, bug: Bug, seconds: float) -> Verdict:
    path = copy / bug.file
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    if content.count(bug.old) != 1:
        return Verdict(bug, "stale")
    state, began = path.stat(), time.monotonic()
    path.write_text(content.replace(bug.old, bug.new), encoding="utf-8")
    # compiled files are known by time and size: this one is like no other
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + time.time_ns() % 10**9 + 10**10))
    try:
        for tests in _in_turn(bug.file):
            code, by = _run(tests, seconds)
            if code in _KILLED or code < 0:
                return Verdict(bug, "killed", by, time.monotonic() - began)
        return Verdict(bug, "survived", "", time.monotonic() - began)
    finally:
        path.write_text(content, encoding="utf-8")
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def _in_turn(file: str) -> list[list[str]]:
    """Tests of the file's name, then of its room (or of the one around it that has tests), then all."""
    path = Path(file)
    named = sorted(str(found) for found in Path("tests").rglob(f"test_*{path.stem}*.py"))
    room = Path("tests", *path.parts[1:-1]) if path.parts[0] == "vqw2v_plugin" else Path("tests", "examples")
    while not room.is_dir():
        room = room.parent
    turns = [named, [str(room)] if room != Path("tests") else [], ["tests"]]
    return [tests for tests in turns if tests]


def _run(tests: Sequence[str], seconds: float) -> tuple[int, str]:
    """pytest's exit code, below 0 where it was killed or took too long; and the test that failed."""
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if not child:
            _child(tests, out.fileno())
        deadline = time.monotonic() + seconds
        while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            os.killpg(child, signal.SIGKILL)
        except OSError:
            pass
        if not done[0]:
            os.waitpid(child, 0)
            return -1, f"longer than {seconds:g} s"
        status = os.waitstatus_to_exitcode(done[1])
        out.seek(0)
        failed = [line for line in out if line.startswith(("FAILED", "ERROR"))]
    return (_PASSED if status == _NONE else status), failed[0].split(" ")[1].strip() if failed else ""


def _child(tests: Sequence[str], out: int) -> None:
    import pytest

    code = 99
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = int(pytest.main([*_ARGUMENTS, *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    lists = sorted(Path(__file__).parent.glob("*.json"))
    parser.add_argument("lists", type=Path, nargs="*", default=lists, help="json files of bugs")
    parser.add_argument("--only", default="", metavar="TEXT", help="bugs with this in their words or file")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    parser.add_argument("--seconds", type=float, default=1800, help="for the tests of one bug, in each turn")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
