"""`vqw2v path`: where fairseq finds the plugin, for `fairseq-train … --user-dir "$(vqw2v path)"`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print the folder that fairseq's --user-dir wants"


def plugin_folder() -> Path:
    """The folder of the package itself, wherever it is installed."""
    return Path(__file__).resolve().parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`path` takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the folder and nothing else, so that a shell can use it."""
    print(plugin_folder())
    return 0
