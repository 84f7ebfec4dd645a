"""One try: a stranger's file is given to a command in a process of its own, and judged by its end."""

from __future__ import annotations

import enum
import hashlib
import importlib
import os
import re
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fairseq
import torch
from forked import Ended, begin_child, ended
from tries import CPU_SECONDS, WALL_SECONDS, bound_memory

from vqw2v_plugin import register
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.common.said import DECLARED, PACKAGE, is_said
from vqw2v_plugin.common.words import sentence
from vqw2v_plugin.training.update_guard import NumericalTroubleError

IN, OUT, MARK = "in", "made", "CODE-RAN"
_COMMAND, _RESULT = ".command", ".result"
_UNCOMPARED = (".json", ".html", ".log", ".tsv")
_LONGEST_FILE = 1 << 30
_LONGEST_SENTENCE = 3_100  # characters
_FAIRSEQ = str(Path(fairseq.__file__).parent) + os.sep


class Works(enum.Enum):
    """What it means that a command takes the file."""

    SAME = "gives what the whole file gives"  # it is the same, damaged or written otherwise
    ANY = "may say something else"
    NEVER = "says what nobody can mean"


class Case(NamedTuple):
    """A stranger's file: `make` writes it into a folder and answers by which word a command is given it."""

    name: str
    make: Callable[[Path], str]
    kind: str = ""  # of the whole file that it is like
    works: Works = Works.ANY
    says: tuple[str, ...] = ()  # what an error may name instead of the file


class Reader(NamedTuple):
    """A command that reads it; `command` is told the file, where it may write, and the file's kind."""

    name: str
    command: Callable[[str, str, str], list[str]]
    lenient: bool = False  # shows what it can and tells what it cannot


class Outcome(enum.Enum):
    WORKS = "works"
    CLEAR = "clear error"
    UNCLEAR = "unclear error"
    SILENT = "silent wrong"
    TRACEBACK = "traceback"
    HANG = "hang"
    CRASH = "crash"
    CODE = "code run"

    @property
    def is_finding(self) -> bool:
        return self not in (Outcome.WORKS, Outcome.CLEAR)


class Verdict(NamedTuple):
    outcome: Outcome
    said: str  # the end of what the command said
    result: str  # what it printed and wrote
    command: str


def begin(case: Case, reader: Reader, folder: Path) -> int:
    """The number of the process that does it."""
    folder.mkdir(parents=True)
    return begin_child(lambda: _work(case, reader, folder), folder, seconds=WALL_SECONDS)


def verdict(case: Case, reader: Reader, folder: Path, status: int, clean: str | None) -> Verdict:
    """Of the process that ended in `folder`; `clean` is the result of the whole file."""
    end = ended(status, folder)
    word, *words = _read(folder / _COMMAND).split("\n") if (folder / _COMMAND).exists() else ("", "?")
    result = _read(folder / _RESULT) if (folder / _RESULT).exists() else ""
    outcome = _outcome(case, reader, folder, end, word, result, clean)
    return Verdict(outcome, (end.out[-300:] + end.err[-3000:]).strip(), result, " ".join(words))


def run(command: list[str]) -> int:
    """As from a shell, in this process."""
    program, *words = command
    if program == "vqw2v":
        return main(words)
    try:
        if program == "python":
            exec(compile(words[1], "a user's own lines", "exec"), {"__name__": "__main__"})
            return 0
        sys.argv = command
        register()  # for this process, which has a stdout of its own
        return int(importlib.import_module(program.replace("fairseq-", "fairseq_cli.")).cli_main() or 0)
    except Exception as error:  # these programs end in a traceback of a sentence, too
        named = isinstance(error, OSError) and error.filename is not None
        meant = isinstance(error, DECLARED) and (is_said(error, PACKAGE, _FAIRSEQ) or named)
        if not meant and not isinstance(error, NumericalTroubleError):
            raise
        print(f"{type(error).__name__}: {sentence(str(error))}", file=sys.stderr)
        return 2


def _work(case: Case, reader: Reader, folder: Path) -> int:
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name in (IN, OUT):
        (folder / name).mkdir()
    word = case.make(folder / IN)
    command = reader.command(word, str(folder / OUT / "output"), case.kind)
    written = "\n".join([word.replace("\n", " "), *(_quoted(part) for part in command)])
    (folder / _COMMAND).write_text(written, encoding="utf-8", errors="surrogateescape")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LONGEST_FILE, _LONGEST_FILE))
    bound_memory()
    for sign in (signal.SIGPROF, signal.SIGALRM):  # end the process, whatever the parent does with them
        signal.signal(sign, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    status = run(command)
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.flush()
    result = "" if reader.lenient else _result(folder, word, command[0])
    (folder / _RESULT).write_text(result, errors="surrogateescape")
    return status


def _quoted(word: str) -> str:
    """For a shell, on one line."""
    plain = word if word.isprintable() else ascii(word)
    return shlex.quote(plain if len(plain) < 400 else f"{plain[:200]}…{len(word):,} characters")


def _result(folder: Path, word: str, program: str) -> str:
    """What it printed, but for names, and sums of what it wrote, but for what tells where that is from."""
    printed = _read(folder / ".stdout") if not program.startswith("fairseq") else ""
    printed = re.sub(r"\b[\d.]+ s\b", "… s", printed)
    lines = [printed.replace(word, "IT").replace(str(folder), "HERE") if word else printed]
    for path in sorted((folder / OUT).rglob("*")):
        if (
            os.path.isfile(path)  # a link may be to a name that is none
            and not path.is_symlink()
            and path.suffix not in _UNCOMPARED
            and path.stat().st_size
        ):
            lines.append(f"{path.relative_to(folder)} {_sum(path)}")
    return "\n".join(lines)


def _sum(path: Path) -> str:
    """Of a checkpoint its weights alone."""
    if path.suffix != ".pt":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    weights = torch.load(path, weights_only=True)["model"]
    parts = (f"{name} {weights[name].shape} {weights[name].tolist()}" for name in sorted(weights))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _outcome(
    case: Case, reader: Reader, folder: Path, end: Ended, word: str, result: str, clean: str | None
) -> Outcome:
    if list(folder.rglob(MARK)):
        return Outcome.CODE
    if end.status < 0:
        return Outcome.HANG if -end.status in (signal.SIGPROF, signal.SIGALRM) else Outcome.CRASH
    if "Traceback (most recent call last)" in end.said or end.status not in (0, 1, 2):
        return Outcome.TRACEBACK
    if end.status == 0:
        wrong = case.works is Works.NEVER or (case.works is Works.SAME and result != clean)
        return Outcome.SILENT if wrong and not reader.lenient else Outcome.WORKS
    return Outcome.CLEAR if _is_clear(case, folder, end, word) else Outcome.UNCLEAR


def _is_clear(case: Case, folder: Path, end: Ended, word: str) -> bool:
    """One sentence, without what the system said of memory, that names the file or what is wrong in it."""
    lines = [line for line in end.err.splitlines() if line.strip()] or [""]
    last = lines[-1]
    choices = re.match(r"fairseq-\w+: error: argument .* invalid choice: ", last)  # argparse lists them all
    if (len(last) > _LONGEST_SENTENCE and not choices) or "allocate memory" in last:
        return False
    path = Path(word)
    names = {
        word,
        path.name,
        str(folder / IN),  # where a command is given the folder that holds it
        *(found.name for part in (IN, OUT) for found in (folder / part).rglob("*")),
        *case.says,
    }
    return any(sentence(name)[:100] in "\n".join(lines[-3:]) for name in names)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
