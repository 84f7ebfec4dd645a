"""`vqw2v path`: where fairseq finds the plugin, for `--user-dir "$(vqw2v path)"`, and its yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print the folder that fairseq's --user-dir wants"


def plugin_folder() -> Path:
    """The folder of the package itself, wherever it is installed."""
    return Path(__file__).resolve().parent.parent


def settings_folders() -> dict[str, Path]:
    """Folders of yaml by the stage that they are for: of a checkout, or in a package that was built."""
    package = plugin_folder()
    roots = (package / "settings", package.parent / "examples")
    return {
        path.parent.relative_to(root).as_posix(): path.parent
        for root in roots
        for path in root.glob("*/**/*.yaml")
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "stage",
        metavar="STAGE",
        nargs="?",
        help="the folder of its yaml instead, for `--config-dir`: acoustic, bert, vq_wav2vec, wav2vec2, "
        "wav2vec2/finetuning, …",
    )


def run(args: argparse.Namespace) -> int:
    """Print the folder and nothing else, so that a shell can use it."""
    folders = settings_folders() if args.stage else {}
    if args.stage and args.stage not in folders:
        raise ValueError(f"no yaml is of {args.stage!r}; expected one of {', '.join(sorted(folders))}")
    print(folders[args.stage] if args.stage else plugin_folder())
    return 0
