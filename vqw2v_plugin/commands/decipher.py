"""`vqw2v decipher`: segments as phones by the order of a text's phones: what an adversary should beat."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "turn segments into phones by EM on a text's bigrams: what an adversary should beat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("features", metavar="FEATURES", help="folder of segments, as `segment` writes it")
    add("text", metavar="TEXT", help="folder of phones, as `phones` writes it")
    add("out", metavar="OUT", help="folder for decipher.json and SPLIT.phn")
    add("--split", default="train", help="to learn from (default: %(default)s)")
    add("--read", nargs="+", metavar="SPLIT", help="to read then (default: the same)")
    add("--codes", type=int, metavar="N", help="clusters of segments (default: twice as many as phones)")
    add("--restarts", type=int, default=256, metavar="N", help="to choose from (default: %(default)s)")
    add("--seed", type=int, default=1, help="of clusters and restarts (default: %(default)s)")
    add(
        "--measure",
        metavar="LABELS",
        help="a label folder of phones: also say the true error; nothing else depends on it",
    )


def run(args: argparse.Namespace) -> int:
    from ..analysis.decipherment import decipher_folder, measured, summary
    from ..common.bounds import check_between
    from ..common.files import write_whole
    from ..common.locks import check_folder
    from ..modules.unpaired.decipher import Effort

    check_between("--seed", args.seed, 0, 2**62)
    check_between("--restarts", args.restarts, 1, 100_000)
    if args.codes is not None:
        check_between("--codes", args.codes, 2, 100_000)
    out = Path(args.out)
    check_folder(out)
    effort = Effort(restarts=args.restarts, seed=args.seed)
    found = decipher_folder(args.features, args.split, args.text, effort, args.codes)
    about = {
        "gain": found.solution.gain,
        "stay": found.solution.stay,
        "codes": found.centres.size(1),
    }
    splits = {}
    print(
        f"the order of phones explains {found.solution.gain:.3f} bits a segment (near 0: it tells nothing, "
        f"and what was found is a guess)"
    )
    for split in args.read or [args.split]:
        said = found.read(args.features, split)
        rows = {way: summary(spoken) for way, spoken in said.items()}
        if args.measure is not None:
            for way, errors in measured(said, args.measure, split).items():
                rows[way]["per"] = round(errors.rate, 2)
                print(f"{split}, {way}: {errors.describe('phones')}")
        splits[split] = rows
        for way, ending in (("decipherment", ""), ("unigram guess", ".guess")):
            write_whole(out / f"{split}{ending}.phn", "".join(f"{' '.join(p)}\n" for p in said[way].values()))
        write_whole(out / f"{split}.utt", "".join(f"{utt}\n" for utt in said["decipherment"]))
    write_whole(
        out / "decipher.json", json.dumps({**about, "splits": splits}, indent=1, sort_keys=True) + "\n"
    )
    print(f"{out}: decipher.json, and the phones of each split")
    return 0
