"""A made-up language: sound that somebody speaks, and text that nobody has spoken.

    python examples/wav2vec_u/language.py OUT --rung L1

OUT/features holds frames of utterances, OUT/text other lines of the same language, and OUT/labels what was
said, for measuring. Lines begin alike, and two phones may follow each. On rung L0 a frame is a symbol: a
vector with a number at a hidden place, and noise. On L1 a phone is a Gaussian, and lasts one to three
frames. In the language `flat` a line may begin with any phone, and any follows any other alike.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.stores.features import FEATURES, FeatureWriter
from vqw2v_plugin.stores.labels import Labels, write_labels

NUM_PHONES, FOLLOWERS = 10, 2  # so many may follow a phone
LENGTHS = (8, 17)  # of a line, from and to before
SIZES = {"train": 2000, "valid": 200}  # of utterances, and of lines of text
NOISE, LOUD = 0.3, 1.5  # of each number; what a symbol of L0 stands out by
RUNGS = ("L0", "L1", "flat")
Line = NDArray[np.int64]


@dataclass(frozen=True)
class Language:
    """What follows what [V, V], what lines begin with [V], and how each phone sounds [V, D]."""

    follows: NDArray[np.float64]
    begins: NDArray[np.float64]
    sounds: NDArray[np.float64]
    longest: int  # frames of a phone

    def line(self, rng: np.random.Generator) -> Line:
        found = [int(rng.choice(NUM_PHONES, p=self.begins))]
        size = int(rng.integers(*LENGTHS))
        while len(found) < size:
            found.append(int(rng.choice(NUM_PHONES, p=self.follows[found[-1]])))
        return np.array(found)

    def frames(self, line: Line, rng: np.random.Generator) -> NDArray[np.float32]:  # [T, D]
        lasts = rng.integers(1, self.longest + 1, len(line))
        heard = self.sounds[np.repeat(line, lasts)]
        return (heard + NOISE * rng.normal(size=heard.shape)).astype(np.float32)


def language_of(rung: str, seed: int) -> Language:
    rng = np.random.default_rng(seed)
    follows = np.zeros((NUM_PHONES, NUM_PHONES))
    for phone, row in enumerate(follows):
        others = np.delete(np.arange(NUM_PHONES), phone)
        chosen = others if rung == "flat" else rng.choice(others, FOLLOWERS, replace=False)
        row[chosen] = 1 / len(chosen) if rung == "flat" else rng.dirichlet(np.ones(FOLLOWERS))
    begins = np.full(NUM_PHONES, 1 / NUM_PHONES)
    if rung != "flat":
        begins = np.eye(NUM_PHONES)[int(rng.integers(NUM_PHONES))]
    if rung == "L0":
        return Language(follows, begins, LOUD * np.eye(NUM_PHONES)[rng.permutation(NUM_PHONES)], 1)
    return Language(follows, begins, rng.normal(size=(NUM_PHONES, 32)), 3)


def names(line: Line) -> tuple[str, ...]:
    return tuple(f"p{phone}" for phone in line)


def make(out: Path, rung: str, seed: int, sizes: dict[str, int]) -> None:
    """The three folders."""
    language, labels = language_of(rung, seed), {}
    for number, (split, count) in enumerate(sizes.items()):
        rng = np.random.default_rng([seed, number])
        said = [language.line(rng) for _ in range(count)]
        utts = tuple(f"{split}{i}" for i in range(count))
        write_features(out / "features", split, utts, [language.frames(line, rng) for line in said])
        labels[split] = Labels(utts, tuple(map(names, said)))
        unsaid = [" ".join(names(language.line(rng))) for _ in range(count)]
        (out / "text").mkdir(parents=True, exist_ok=True)
        write_whole(out / "text" / f"{split}.phn", "".join(f"{line}\n" for line in unsaid))
    counts = [(name, 1) for name in names(np.arange(NUM_PHONES))]
    write_whole(out / "text" / "dict.phn.txt", "".join(f"{name} {count}\n" for name, count in counts))
    write_labels(out / "labels", "phones", labels, counts, {"made_with": "examples/wav2vec_u/language.py"})


def write_features(
    folder: Path, split: str, utts: Sequence[str], frames: Sequence[NDArray[np.float32]]
) -> None:
    writer = FeatureWriter(folder, split, np.float32, frames[0].shape[1])
    for rows in frames:
        writer.add(rows)
    sizes = [len(rows) for rows in frames]
    splits = FEATURES.read_about(folder).get("splits", {})
    splits[split] = {"utterances": len(utts), "frames": sum(sizes)}
    about = {"dim": frames[0].shape[1], "store": "fp32", "splits": splits}
    writer.publish(zip(utts, sizes, strict=True), about)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--rung", choices=RUNGS, default="L1", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the language (default: %(default)s)")
    parser.add_argument(
        "--utterances", type=int, default=SIZES["train"], help="to learn from (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.utterances < 1 or args.seed < 0:
        print("language.py: error: `--utterances` and `--seed` are numbers from 1 and 0 up", file=sys.stderr)
        return 2
    make(args.out, args.rung, args.seed, {**SIZES, "train": args.utterances})
    print(f"{args.out}: features, text, and labels for measuring, of the language {args.rung}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
