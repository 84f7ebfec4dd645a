"""`vqw2v new`: one's own corpus (wav … text) looked at; yaml and commands of the whole path written."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recipes.own_plan import FrontPlan
    from ..recipes.own_script import Given

HELP = "look at a corpus of your own and write the commands from its audio to words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="RUN", help="folder for run.sh, acoustic.yaml and all that they make")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="folder of manifests, or what `vqw2v manifest` reads: a corpus, tables, audio with transcripts",
    )
    parser.add_argument("--audio", metavar="DIR", help="where the files lie that a table names")
    parser.add_argument("--text", metavar="COLUMN", help="the manifests' transcripts (default: seen)")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="features of this one (default: cepstra, or log-mels)"
    )
    parser.add_argument("--layer", help="of the checkpoint (default: c of a vq_wav2vec)")
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="0: a CPU (default: %(default)s)")
    parser.add_argument("--refresh", action="store_true", help="write over files that were changed since")


def run(args: argparse.Namespace) -> int:
    from ..common.bounds import check_between
    from ..common.files import make_folder, write_whole
    from ..recipes.own_corpus import look_at
    from ..recipes.own_files import files
    from ..recipes.own_plan import plan_for, spectra
    from ..recipes.own_words import advised, expected, told

    check_between("--gpus", args.gpus, 0, 64)
    if args.layer and not args.checkpoint:
        raise ValueError("`--layer` is of a checkpoint; name it with `--checkpoint`, or leave both out")
    folder = Path(args.out).absolute()
    own = str(Path(args.user_dir).absolute()) if args.user_dir else None
    given = replace(_given(args, folder), user_dir=own)
    look = look_at(given.manifests, args.text)
    front = _front(args) if args.checkpoint else spectra(look)
    plan = plan_for(look, front, args.gpus)
    written = files(look, plan, given)
    if not args.refresh:
        _check_unchanged(folder, written)
    make_folder(folder)
    for name, text in written.items():
        write_whole(folder / name, text)
    for line in told(look):
        print(line)
    print(f"{expected(look)} (a rule of thumb)")
    for line in advised(look, plan, bool(given.listing)):
        print(line)
    print(f"{', '.join(str(folder / name) for name in written)}: every line says why it is so")
    print(f"next: sh {folder}/run.sh")
    return 0


def _check_unchanged(folder: Path, written: dict[str, str]) -> None:
    for name, text in written.items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise ValueError(
                f"{path} is there and says something else; name another folder, or replace it by --refresh"
            )


def _given(args: argparse.Namespace, folder: Path) -> Given:
    """The manifests; of anything else they are made first, as the script will make them again."""
    from ..recipes.own_script import Given

    data = [Path(each).absolute() for each in args.data]
    if len(data) == 1 and _is_manifests(data[0]):
        return Given(data[0], text=args.text)
    return _list(args, [str(each) for each in data], folder / "manifests")


def _is_manifests(folder: Path) -> bool:
    """What `vqw2v manifest` wrote, or rows with texts that somebody wrote in its form."""
    from ..corpora.manifest import Manifest, ManifestError

    if (folder / "refused.tsv").is_file():
        return True
    try:
        return (folder / "train.tsv").is_file() and len(Manifest(folder / "train.tsv").columns) > 2
    except ManifestError:
        return False


def _list(args: argparse.Namespace, data: list[str], out: Path) -> Given:
    from ..corpora.collect import CollectOptions, collect
    from ..corpora.gather import Sources, gather
    from ..corpora.splits import SplitPlan
    from ..recipes.own_corpus import look_at
    from ..recipes.own_plan import trim_for
    from ..recipes.own_script import Given

    sources = Sources(audio=args.audio)
    own = {entry.split for entry in gather(data, sources).entries}
    valid = None if "valid" in own else 0.1
    test = 0.0 if any(name.startswith("test") for name in own) else 0.1
    plan = SplitPlan(valid, test)
    collect(data, out, CollectOptions(sources, plan=plan))
    trim = trim_for(look_at(out, args.text))
    if trim is not None:
        collect(data, out, CollectOptions(sources, plan=plan, trim=trim))
    options = [
        *(["--audio", str(Path(args.audio).absolute())] if args.audio else []),
        *(["--valid", f"{valid:g}"] if valid else []),
        *(["--test", f"{test:g}"] if test else []),
        *(["--trim", f"{trim:g}"] if trim is not None else []),
    ]
    return Given(out, (*data, *options), len(data), args.text)


def _front(args: argparse.Namespace) -> FrontPlan:
    from ..checkpoints.format import load_any
    from ..features.base import FeatureOptions
    from ..features.registry import make_features
    from ..recipes.own_plan import FrontPlan

    path = Path(args.checkpoint).absolute()
    layer = args.layer
    if layer is None:
        model = load_any(path).header.model
        if model != "vq_wav2vec":
            raise ValueError(f"{path} is of a {model}; say which `--layer` is wanted, such as w2v2:6")
        layer = "c"
    features = make_features(FeatureOptions(layer, str(path)))
    seconds = features.stride / features.sample_rate
    return FrontPlan(layer, features.dim, seconds, str(path), sample_rate=features.sample_rate)
