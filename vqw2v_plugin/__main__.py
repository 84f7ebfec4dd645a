"""The command line, `vqw2v COMMAND …` or `python -m vqw2v_plugin COMMAND …`: one table and no more."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType

from .common.said import DECLARED
from .common.user_code import use_user_dir
from .common.words import sentence
from .stack import explain_import_error

# command: (module in commands/, its help line). A new command is one line here and one file there.
COMMANDS: dict[str, tuple[str, str]] = {
    "toy": ("toy", "make a corpus of synthetic speech with word and phone times"),
    "manifest": ("manifest", "list the audio of a folder or a corpus in manifests, with splits"),
    "new": ("new", "look at a corpus of your own and write the commands from its audio to words"),
    "discretize": ("discretize", "turn a manifest's audio into tokens that fairseq-train reads"),
    "features": ("features", "dump z, c, quantized, BERT, log-mel or MFCC features for acoustic models"),
    "cluster": ("cluster", "find k-means clusters of any layer's frames: a tokenizer like any other"),
    "labels": ("labels", "make label files and a dictionary from transcripts or classes"),
    "segment": ("segment", "turn a manifest's audio into segments, for recognition without labels"),
    "phones": ("phones", "turn a text into phones with silence, for recognition without labels"),
    "decipher": (
        "decipher",
        "turn segments into phones by EM on a text's bigrams: what an adversary should beat",
    ),
    "usage": ("usage", "show how a checkpoint's codes are used"),
    "abx": ("abx", "tell how well features or tokens tell phones apart (ABX)"),
    "encode": ("encode", "turn audio files into codes"),
    "import": ("import_", "make a checkpoint from stock fairseq's or from an exported folder"),
    "export": ("export", "write a checkpoint as safetensors and json"),
    "lm": ("lm", "train an n-gram language model (ARPA) from text"),
    "tune": ("tune", "find the decoder's weights with the fewest errors on a dev set's emissions"),
    "transcribe": ("transcribe", "turn audio files into words with times and confidences"),
    "report": ("report", "make one HTML page of a run: curves, codes, phones, errors, sound"),
    "results": ("results", "print all error rates and recalls of a folder of runs as tables"),
    "path": ("path", "print the folder that fairseq's --user-dir wants"),
}


# those that read checkpoints of models, whose quantizers may be a stranger's
BUILD_NETWORKS: tuple[str, ...] = (
    *("discretize", "features", "cluster", "segment", "usage", "abx", "encode"),
    *("import", "export", "transcribe", "report", "new"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; mistakes of the caller become one line on stderr and exit status 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()  # here and not at exit, where a closed pipe would end in a traceback
        return status
    except KeyboardInterrupt:
        print("vqw2v: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`); give Python's own flush at exit somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DECLARED as error:
        return _fail(_message(error))
    except ImportError as error:
        sentence = explain_import_error(error)
        if not sentence:
            raise
        return _fail(sentence)


def build_parser(chosen: str = "") -> argparse.ArgumentParser:
    """The parser; only the chosen command's module is imported and asked for its arguments."""
    parser = argparse.ArgumentParser(
        prog="vqw2v",
        description="Speech to discrete tokens and on to text, as a fairseq plugin.",
        epilog="`vqw2v COMMAND --help` tells more.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, help_line) in COMMANDS.items():
        command = commands.add_parser(name, help=help_line, allow_abbrev=False)
        if name == chosen:
            module = load_command(name)
            command.description = module.HELP
            module.add_arguments(command)
            if name in BUILD_NETWORKS:
                command.add_argument(
                    "--user-dir", metavar="FOLDER", help="a plugin of your own, for checkpoints that need it"
                )
            command.set_defaults(run=module.run)
    return parser


def load_command(name: str) -> ModuleType:
    """The module of commands/ that the table names."""
    return importlib.import_module(f".commands.{COMMANDS[name][0]}", __package__)


def _run(arguments: list[str]) -> int:
    """Parse and run; argparse itself answers --help and wrong options."""
    chosen = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if chosen and chosen not in COMMANDS:
        return _fail(_unknown(chosen))
    parser = build_parser(chosen)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    if empty := next((word[:-3] for word in arguments if re.fullmatch(r"--[\w-]+=--", word)), ""):
        return _fail(f"`{empty}` is '--'; expected a value")  # argparse would take it for an empty list
    args = parser.parse_args(arguments)
    if "" in vars(args).values() and (nameless := _empty(parser, chosen, args)):
        return _fail(f"{nameless} is empty; expected a name")  # as of a variable that is not set
    if user_dir := getattr(args, "user_dir", None):
        use_user_dir(user_dir)
    return int(args.run(args))


def _empty(parser: argparse.ArgumentParser, chosen: str, args: argparse.Namespace) -> str:
    """The first argument without a dash that is an empty word: it would be the folder one stands in."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    named = (a for a in commands.choices[chosen]._actions if not a.option_strings)
    return next((str(a.metavar or a.dest) for a in named if getattr(args, a.dest, None) == ""), "")


def _unknown(name: str) -> str:
    """The sentence for a command that the table lacks."""
    closest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    guess = f"; did you mean `{closest[0]}`?" if closest else ""
    return f"unknown command `{name}`: the commands are {', '.join(COMMANDS)}{guess}"


def _message(error: Exception) -> str:
    """What went wrong, without Python's `[Errno 2]`."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _fail(message: str) -> int:
    """One line on stderr."""
    print(f"vqw2v: error: {sentence(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
