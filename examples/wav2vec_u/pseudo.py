"""What a model said, as transcripts that another learns from: hypotheses → lines `utterance<TAB>phones`.

    python examples/wav2vec_u/pseudo.py OUT.txt hypotheses-train.jsonl hypotheses-valid.jsonl

Silence is left out, and so are utterances of which nothing was said.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.text.units import SILENCES


def read_hypotheses(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(utterance, phones) of each line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        yield said["utt"], [phone for phone in said["text"].split() if phone not in SILENCES]


def write(out: Path, hypotheses: Sequence[Path]) -> int:
    """How many utterances there are."""
    lines = [(utt, phones) for path in hypotheses for utt, phones in read_hypotheses(path) if phones]
    if not lines:
        raise ValueError(f"{hypotheses[0]}: nothing was said in any utterance; choose another model")
    write_whole(out, "".join(f"{utt}\t{' '.join(phones)}\n" for utt, phones in lines))
    return len(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT.txt")
    parser.add_argument("hypotheses", type=Path, nargs="+", metavar="HYPOTHESES.jsonl")
    args = parser.parse_args()
    try:
        print(f"{args.out}: {write(args.out, args.hypotheses):,} utterances")
    except (ValueError, KeyError, OSError) as error:
        print(f"pseudo.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
