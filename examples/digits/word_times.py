"""How far the times of recognised words are from the true ones: the median and the 90th percentile, in ms.

    python examples/digits/word_times.py hypotheses-test.jsonl test.words.ctm

Words are matched by the error rate's alignment; only correct ones count.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from vqw2v_plugin.common.words import lines_of
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.decoding.scoring import align


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("hypotheses", type=Path, metavar="HYPOTHESES.jsonl")
    parser.add_argument("times", type=Path, metavar="TRUE.ctm")
    args = parser.parse_args()
    try:
        starts, ends = distances(args.hypotheses, args.times)
    except (ValueError, OSError) as error:
        print(f"word_times.py: error: {error}", file=sys.stderr)
        return 2
    print(f"{len(starts):,} words that are right; distance from the true time, ms:")
    for name, found in (("start", starts), ("end", ends)):
        middle, far = np.percentile(np.abs(found), [50, 90])
        print(f"  {name}: median {middle:.0f}, 90 % within {far:.0f}, mean error {np.mean(found):+.0f}")
    return 0


def distances(hypotheses: Path, times: Path) -> tuple[list[float], list[float]]:
    """Recognised minus true times, in ms, of all starts and ends."""
    true = read_ctm(times)
    starts: list[float] = []
    ends: list[float] = []
    for line in lines_of(hypotheses.read_text(encoding="utf-8")):
        said = json.loads(line)
        if said["utt"] not in true:
            raise ValueError(f"{times} has no utterance {said['utt']}; is it of the same split?")
        known = true[said["utt"]]
        pairs = align(list(known.labels), [word["word"] for word in said["words"]])
        i = j = 0
        for pair in pairs:
            if pair.reference is not None and pair.reference == pair.hypothesis:
                starts.append(1000 * (said["words"][j]["start"] - float(known.starts[i])))
                ends.append(1000 * (said["words"][j]["end"] - float(known.ends[i])))
            i += pair.reference is not None
            j += pair.hypothesis is not None
    if not starts:
        raise ValueError(f"{hypotheses}: no word is right, so there is no distance to tell")
    return starts, ends


if __name__ == "__main__":
    sys.exit(main())
