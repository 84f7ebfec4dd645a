"""`vqw2v report`: one HTML page of a run, finished or not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_MOST_CLIPS, _LONGEST_CLIP, _LONGEST_ENCODING = 1_000, 3_600.0, 1e6
HELP = "make one HTML page of a run: curves, codes, phones, errors, sound"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "folder", metavar="RUN", help="folder of a recipe's run, finished or not; a training's folder will do"
    )
    add("out", metavar="OUT.html", help="the page, one file that needs no network")
    add("--utt", metavar="ID", action="append", default=[], help="an utterance to show; may be repeated")
    add(
        "--clips",
        type=int,
        default=4,
        metavar="N",
        help="how many to choose otherwise (default: %(default)s)",
    )
    add(
        "--clip-seconds",
        type=float,
        default=6.0,
        metavar="S",
        help="of each, at most; the sound is in the page (default: %(default)s)",
    )
    add(
        "--corpus", metavar="FOLDER", help="manifests and their CTMs (default: as the run's stages name them)"
    )
    add("--split", help="count codes over this split (default: the largest with phone times)")
    add(
        "--picture",
        metavar="FILE.png[=CAPTION]",
        action="append",
        default=[],
        help="a drawing of your own for the page; may be repeated",
    )
    add(
        "--encode-minutes",
        type=float,
        default=5.0,
        metavar="M",
        help="audio to encode where a run has checkpoints but no tokens; 0: none (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from ..analysis.pictures import Picture
    from ..analysis.report_page.assemble import make_report
    from ..analysis.run_view import PageOptions, RunView
    from ..common.bounds import check_between
    from ..common.files import write_whole
    from ..common.targets import check_output
    from ..recipes.folder import RunFolder

    check_between("--clips", args.clips, 0, _MOST_CLIPS)
    check_between("--clip-seconds", args.clip_seconds, 0.01, _LONGEST_CLIP)
    check_between("--encode-minutes", args.encode_minutes, 0, _LONGEST_ENCODING)
    out = Path(args.out)
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"OUT is {args.out!r}; expected the name of a page, such as report.html")
    check_output(out)
    options = PageOptions(
        utts=tuple(args.utt),
        num_clips=args.clips,
        clip_seconds=args.clip_seconds,
        encode_minutes=args.encode_minutes,
        corpus=args.corpus,
        split=args.split,
        pictures=tuple(Picture.parse(text) for text in args.picture),
    )
    view = RunView(RunFolder(args.folder, without=out.parent), options, say=_say)
    page, lacking = make_report(view)
    content = page.encode(errors="backslashreplace")  # json and names of files may hold halves of characters
    write_whole(out, content)
    print(f"{out}: {len(content) / 1e6:.1f} MB, {len(view.run.stages)} stages")
    if lacking:
        print(f"  nothing to show yet under: {', '.join(lacking)}; the page names the stages that make it")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
