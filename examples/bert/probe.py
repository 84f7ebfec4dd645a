"""Which layer separates phones: a linear probe's frame accuracy on feature folders, as a table.

    python examples/bert/probe.py z c q bert6 --phones valid.phones.ctm test.phones.ctm --train valid
    python examples/bert/probe.py z c q bert6 --phones all.phones.ctm --split all

Each folder is one that `vqw2v features` wrote. With --split, each utterance is tested
by a classifier trained on others.
"""

import argparse
import sys
from pathlib import Path

from vqw2v_plugin.analysis.probe import ProbeResult, cross_probe, labelled_frames, probe
from vqw2v_plugin.corpora.ctm import Segments, read_ctm


def measure(folder: Path, segments: dict[str, Segments], args: argparse.Namespace) -> tuple[ProbeResult, int]:
    """What the probe finds in the folder's features, and how many features a frame has."""
    if args.split is not None:
        frames = labelled_frames(folder, args.split, segments, args.most)
        return cross_probe(frames, args.folds), frames.x.shape[1]
    train = labelled_frames(folder, args.train, segments, args.most)
    return probe(train, labelled_frames(folder, args.test, segments)), train.x.shape[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("features", nargs="+", type=Path, metavar="FEATURES", help="feature folders")
    parser.add_argument("--phones", nargs="+", required=True, metavar="CTM", help="phone times of the splits")
    parser.add_argument("--train", default="train", help="split to learn from (default: %(default)s)")
    parser.add_argument("--test", default="test", help="split to test on (default: %(default)s)")
    parser.add_argument("--split", help="the only split there is: its utterances take turns")
    parser.add_argument("--folds", type=int, default=4, help="turns, with --split (default: %(default)s)")
    parser.add_argument(
        "--most", type=int, default=50_000, metavar="N", help="frames to learn from (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.folds < 2 or args.most < 1:
        parser.error(f"`--folds` is {args.folds} and `--most` {args.most}; expected 2 and 1 at least")
    return args


def main() -> int:
    args = parse_args()
    try:
        segments = {utt: found for path in args.phones for utt, found in read_ctm(path).items()}
        for number, folder in enumerate(args.features):
            found, dim = measure(folder, segments, args)
            if not number:
                print(
                    f"{found.num_frames:,} test frames of {found.num_phones} phones; the most frequent phone "
                    f"alone: {found.majority:.1%}\n\n| features | a frame | accuracy |\n|---|---|---|"
                )
            print(f"| {folder.name} | {dim} | {found.accuracy:.1%} |", flush=True)
    except ValueError as error:
        raise SystemExit(f"probe.py: error: {error}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
