"""The papers' comparison at small scale: an acoustic model on spectra, wav2vec, vq-wav2vec and BERT.

    python examples/digits/compare.py FSDD RUN [--unlabelled MANIFEST …] [--speech DIR] \\
        [--given NAME=c/64@PRETRAINED.pt]

A finished row is in RUN/results.md at once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Set
from pathlib import Path

from plan import CORPORA, Input, Plan, Row, add_arguments, rates
from stages import stages

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes.compared import parse_features
from vqw2v_plugin.recipes.table import finish, spread

WAV2VEC = ("model.quantizer=none",)
GUMBEL = ("model.quantizer=gumbel", "+criterion.loss_weights=[0.1]")
KMEANS = (
    *("model.quantizer=kmeans", "+criterion.loss_weights=[1.0]"),
    '+model.quantizer_args=\'{"ema_decay": 0.99, "revive_after": 20}\'',  # hydra would parse bare braces
)
FEW = ("model.feature_masks=1", "model.feature_mask_width=3")  # of thirteen
INPUTS = {
    "logmel": Input("log-mel", "", "logmel"),
    "mfcc": Input("MFCC", "", "mfcc", training=FEW),
    "wav2vec_c": Input("wav2vec, c", "wav2vec", "c", settings=WAV2VEC),
    "gumbel_q": Input("vq-wav2vec Gumbel", "gumbel", "q", settings=GUMBEL),
    "kmeans_q": Input("vq-wav2vec k-means", "kmeans", "q", settings=KMEANS),
    "gumbel_bert": Input("vq-wav2vec Gumbel + BERT", "gumbel", "bert", settings=GUMBEL),
    "kmeans_bert": Input("vq-wav2vec k-means + BERT", "kmeans", "bert", settings=KMEANS),
    "logmel_ctc": Input("log-mel, CTC instead of ASG", "", "logmel", "vq_ctc"),
    "mfcc_ctc": Input("MFCC, CTC instead of ASG", "", "mfcc", "vq_ctc", training=FEW),
}


def main() -> int:
    args = parse_arguments()
    return finish("compare.py", "results.md", lambda: make_plan(args), stages, write_table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_arguments(parser)
    parser.add_argument(
        "--speech",
        type=Path,
        metavar="DIR",
        help="compare on this corpus too: train.tsv, valid.tsv or dev.tsv, test.tsv, with a column phones",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings a row, digits (default: %(default)s)")
    parser.add_argument(
        "--fractions", type=float, nargs="+", default=[1.0, 0.1], help="of the labels (default: 1 0.1)"
    )
    parser.add_argument(
        "--features",
        nargs="+",
        default=[name for name, chosen in INPUTS.items() if chosen.criterion == "asg"],
        choices=list(INPUTS),
        help="default: all with ASG",
    )
    parser.add_argument(
        "--given",
        nargs="+",
        default=[],
        metavar="NAME=LAYER[/COMPONENTS]@CHECKPOINT",
        help="also features of a model that was trained elsewhere",
    )
    return parser.parse_args()


def make_plan(args: argparse.Namespace) -> Plan:
    given = {each.name: each for each in parse_features(args.given)}
    if twice := given.keys() & INPUTS.keys():
        raise ValueError(f"`--given` has {min(twice)}, which `--features` knows; give another name")
    inputs = {**INPUTS, **{name: Input(name, "", each.layer, given=each) for name, each in given.items()}}
    corpora = [("digits", args.seeds), *([("speech", 1)] if args.speech else [])]
    rows = [
        Row(corpus, features, fraction, seed)
        for seed in range(1, args.seeds + 1)
        for corpus, seeds in corpora
        for fraction in args.fractions
        for features in (*args.features, *given)
        # Phones are learnt with phones.yaml's loss, whichever the digits are learnt with.
        if seed <= seeds and (corpus == "digits" or inputs[features].criterion == "asg")
    ]
    return Plan.of(args, inputs, rows)


def write_table(plan: Plan, done: Set[str]) -> None:
    """A table of the finished rows, written anew after each stage, so that it grows."""
    lines = ["| corpus | features | labels | trainings | greedy | lexicon, 4-gram |"]
    lines.append("|---|---|---|---|---|---|")
    for corpus, fraction, features in dict.fromkeys((r.corpus, -r.fraction, r.features) for r in plan.rows):
        rows = [r for r in plan.rows if (r.corpus, -r.fraction, r.features) == (corpus, fraction, features)]
        found = {decoder: rates(plan, rows, decoder, done) for decoder in ("greedy", "lexicon")}
        if found["greedy"]:
            what = (CORPORA[corpus], plan.inputs[features].called, f"{-fraction:.0%}", len(found["greedy"]))
            lines.append("| " + " | ".join([*map(str, what), *map(spread, found.values())]) + " |")
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
