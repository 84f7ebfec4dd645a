"""`vqw2v usage --by`: which codes languages, domains or speakers share, and how far apart they are."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

_MOST_MINUTES, _MOST_FRAMES = 10_000, 1_000_000


def add_group_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "which codes groups of utterances share, in place of the above"
    ).add_argument
    add("--by", metavar="COLUMN", help="of the manifests: lang, domain, speaker or any other")
    add(
        "--group-minutes",
        type=float,
        default=5.0,
        metavar="M",
        help="of each group, at most, drawn by the seed (default: %(default)s)",
    )
    add(
        "--least-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="leave out groups with less (default: %(default)s)",
    )
    add(
        "--least-frames",
        type=int,
        metavar="N",
        help="a group uses a code that N of its frames have (default: a tenth of an even share, 5 at least)",
    )
    add("--png", metavar="FILE", help="the map as a picture; wants matplotlib")


def check_group_arguments(args: argparse.Namespace) -> None:
    """Refuses what does not go together before anything is read."""
    from pathlib import Path

    from ..analysis.map_png import need_matplotlib
    from ..common.bounds import check_between
    from ..common.targets import check_output

    if not args.by:
        if len(args.manifest) > 1:
            raise ValueError(f"{len(args.manifest)} manifests are named; expected one, or `--by COLUMN`")
        if args.png:
            raise ValueError("`--png` draws what `--by COLUMN` finds: say that too, or leave it out")
        return
    others = [name for name in ("phones", "untrained", "mfcc", "robust") if getattr(args, name)]
    if others:
        raise ValueError(f"`--{others[0]}` does not go with `--by`: ask for one after the other")
    if not args.manifest:
        raise ValueError("`--by` wants manifests that have the column; name one or more")
    check_between("--group-minutes", args.group_minutes, 0.01, _MOST_MINUTES)
    check_between("--least-seconds", args.least_seconds, 0, 60 * args.group_minutes)
    if args.least_frames is not None:
        check_between("--least-frames", args.least_frames, 1, _MOST_FRAMES)
    if args.png:
        need_matplotlib()
        check_output(Path(args.png))


def map_groups_of(args: argparse.Namespace, tokenizer: Tokenizer) -> int:
    """Which codes languages, domains or speakers share."""
    from pathlib import Path

    from ..analysis.code_map_files import to_json, to_table, told
    from ..analysis.group_codes import MapOptions, map_groups, places_of
    from ..analysis.map_png import draw_map
    from ..common.files import write_whole
    from ..common.words import sentence
    from ..corpora.manifest import Manifest

    minutes, least = args.group_minutes, args.least_seconds
    options = MapOptions(args.by, minutes, least, args.seed, args.least_frames)
    manifests = [Manifest(path) for path in args.manifest]
    found = map_groups(tokenizer, manifests, options, lambda text: print(sentence(text)))
    print("\n".join(told(found.made, args.by)))
    if args.png:
        draw_map(found.made, f"{Path(args.checkpoint).name}, codes by {args.by}", Path(args.png))
    if args.out and args.out.endswith(".tsv"):
        write_whole(Path(args.out), to_table(found.made, args.by).encode(errors="surrogateescape"))
    elif args.out:
        files = places_of(found.rows, found.own.values())
        about = {"checkpoint": Path(args.checkpoint).name, **to_json(found.made, args.by, found.own)}
        content = json.dumps({**about, "files": files}, ensure_ascii=False)
        write_whole(Path(args.out), (content + "\n").encode(errors="backslashreplace"))
    return 0
