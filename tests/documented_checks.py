"""Whether a documented command is right, as far as can be told without running it: program, options, files.

Each program has one function here; what it does not understand is a DocumentError.
"""

import argparse
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from documented import ROOT, Command, DocumentError
from forked import in_child

from vqw2v_plugin.__main__ import COMMANDS, build_parser
from vqw2v_plugin.stack import FORK

# Words that stand for what only the reader knows.
_PLACEHOLDERS = {"FIRST_HOST": "localhost", "R": "0"}


def check(command: Command, folder: Path) -> None:
    """Raises DocumentError, or what the program itself says; `folder` is to work in."""
    words = [_PLACEHOLDERS.get(word, word) for word in command.words]
    known = PROGRAMS.get(words[0])
    if known is None:
        raise DocumentError(f"{command.where}: these tests do not know the program {words[0]}")
    try:
        known(words[1:], folder)
    except (DocumentError, AssertionError) as error:
        raise DocumentError(f"{command.where}: {' '.join(words)}: {error}") from error


def check_in_sentence(command: Command) -> None:
    """Of a command that stands in a sentence, often without its arguments: program, file, option names."""
    program, *words = command.words
    if program == "make":
        check_make(words, ROOT)
    elif program == "pip":
        check_pip(words, ROOT)
    elif program == "vqw2v":
        if words[0] not in COMMANDS:
            raise DocumentError(f"{command.where}: no such command of vqw2v as {words[0]}")
    elif program == "python":
        need_module(words[1]) if words[0] == "-m" else need_file(words[0])


def check_vqw2v(words: Sequence[str], folder: Path) -> None:
    """By the command's own parser."""
    if not words or words[0] not in COMMANDS:
        raise DocumentError(f"no such command of vqw2v; there are {', '.join(COMMANDS)}")
    parser = build_parser(words[0])

    def parse() -> None:
        parser.parse_args(words)

    _expect_parsed(parse, folder)


def check_python(words: Sequence[str], folder: Path) -> None:
    """`-m MODULE …` or a script of ours."""
    if words[0] != "-m":
        check_script(words, folder)
    elif words[1] == "vqw2v_plugin":
        check_vqw2v(words[2:], folder)
    elif words[1] == "pytest":
        for word in words[2:]:
            need_file(word) if "/" in word else None
    elif words[1].startswith("vqw2v_plugin."):
        need_module(words[1])
        if words[2:]:
            raise DocumentError(f"{words[1]} takes no options")
    else:
        raise DocumentError(f"these tests do not know the module {words[1]}")


def check_script(words: Sequence[str], folder: Path) -> None:
    """Run as far as its options are parsed."""
    need_file(words[0])
    if "argparse" not in (ROOT / words[0]).read_text(encoding="utf-8"):
        raise DocumentError(f"{words[0]} parses no options, so these tests cannot stop it there")

    def run() -> None:
        parse = argparse.ArgumentParser.parse_args

        def parse_and_stop(parser: argparse.ArgumentParser, *given: object, **more: object) -> None:
            parse(parser, *given, **more)  # type: ignore[call-overload]
            sys.exit(0)

        argparse.ArgumentParser.parse_args = parse_and_stop  # type: ignore[assignment, method-assign]
        sys.argv[:] = words
        sys.path[:0] = [str(ROOT / words[0]).rpartition("/")[0], str(ROOT)]
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        sys.exit("ended without parsing its options")

    _expect_parsed(run, folder)


def check_fairseq(words: Sequence[str], folder: Path, program: str) -> None:
    """By fairseq itself, up to where the work would begin; also yaml files and hydra's overrides."""
    words = in_checkout(words)
    if "--config-name" in words:  # of a name without a file fairseq makes its defaults
        folder_of, name = (words[words.index(option) + 1] for option in ("--config-dir", "--config-name"))
        need_file(f"{folder_of}/{name}.yaml")
    _expect_parsed(lambda: start_fairseq(program, words, only_parse=True), folder)


def in_checkout(words: Sequence[str]) -> list[str]:
    """With the path of `--config-dir` from the checkout, where the documents' reader stands."""
    return [str(ROOT / w) if before == "--config-dir" else w for before, w in pairwise(["", *words])]


def start_fairseq(program: str, words: Sequence[str], only_parse: bool = False) -> None:
    """What the console script of this name does; call it in a child."""
    from fairseq.distributed import utils as distributed
    from fairseq_cli import generate, hydra_train, train

    if only_parse:
        distributed.call_main = lambda cfg, main, **_: None
        generate.main = lambda args: None
    sys.argv[:] = [program, *words]
    main: dict[str, Callable[[], None]] = {
        "fairseq-train": train.cli_main,
        "fairseq-hydra-train": hydra_train.cli_main,
        "fairseq-generate": generate.cli_main,
    }
    main[program]()


def check_torchrun(words: Sequence[str], folder: Path) -> None:
    """Its own options by its own parser, then what it starts."""
    from torch.distributed.run import get_args_parser

    args = get_args_parser().parse_args(list(words))
    started = [args.training_script, *args.training_script_args]
    check_words(["python", "-m", *started] if args.module else started, folder)


def check_words(words: Sequence[str], folder: Path) -> None:
    """A command that another one starts."""
    if words[0] not in PROGRAMS:
        raise DocumentError(f"these tests do not know the program {words[0]}")
    PROGRAMS[words[0]](words[1:], folder)


def check_make(words: Sequence[str], folder: Path) -> None:
    """Targets and variables of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, assigned, _ = word.partition("=")
        pattern = rf"^{name} \?=" if assigned else rf"^{name}:.*##"
        if not re.search(pattern, makefile, re.MULTILINE):
            raise DocumentError(f"the Makefile has no {'variable' if assigned else 'target'} {name}")


def check_pip(words: Sequence[str], folder: Path) -> None:
    """Extras that setup.py has, and the fairseq that the stack means."""
    if words[0] not in ("install", "uninstall"):
        raise DocumentError("expected `pip install` or `pip uninstall`")
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for word in words[1:]:
        for extra in re.findall(r"[\w,]+(?=\]$)", word.partition("[")[2]):
            missing = [name for name in extra.split(",") if f'"{name}":' not in setup]
            if missing:
                raise DocumentError(f"setup.py has no extra {', '.join(missing)}")
        if word.startswith("fairseq") and word != FORK:
            raise DocumentError(f"{word} is not {FORK}, which the stack means")


def need_file(name: str) -> None:
    """A file or folder of the checkout."""
    if not (ROOT / name).exists():
        raise DocumentError(f"there is no {name}")


def need_module(name: str) -> None:
    """A module or package of ours."""
    path = name.replace(".", "/")
    need_file(path if (ROOT / path).is_dir() else f"{path}.py")


def _expect_parsed(work: Callable[[], None], folder: Path) -> None:
    ended = in_child(work, folder)
    if ended.status:
        raise DocumentError(f"status {ended.status}: {ended.said[-1500:]}")


PROGRAMS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "vqw2v": check_vqw2v,
    "python": check_python,
    ".venv/bin/python": check_python,
    "fairseq-train": lambda words, folder: check_fairseq(words, folder, "fairseq-train"),
    "fairseq-hydra-train": lambda words, folder: check_fairseq(words, folder, "fairseq-hydra-train"),
    "fairseq-generate": lambda words, folder: check_fairseq(words, folder, "fairseq-generate"),
    "torchrun": check_torchrun,
    "srun": check_words,
    "make": check_make,
    "pip": check_pip,
}
