"""How many labels learned features save: phones of a share of the training speakers, features by features.

    python examples/few_labels/compare.py RUN CORPUS … --features log-mel=logmel MFCC=mfcc \\
        c=c@PRETRAINED.pt codes=q@PRETRAINED.pt BERT=bert:5@PRETRAINED.pt+BERT.pt round2=speech:4@SPEECH.pt

The acoustic model, its settings and the drawn speakers are the same for all features. A finished row is in
RUN/results.md at once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from prepare import share_name

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.compared import Features, parse_features
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish, spread

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "valid", "test")
UPDATES, FEWEST = 1400, 400  # with all labels, and with very few


@dataclass(frozen=True)
class Row:
    """One training of the acoustic model."""

    features: Features
    share: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.features.name}_{self.share:g}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    run: Path
    corpora: Sequence[Path]
    rows: Sequence[Row]
    updates: int
    dtype: str
    jobs: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        features = parse_features(args.features)
        rows = [Row(f, share, seed) for seed in args.seeds for share in args.shares for f in features]
        corpora = [corpus.resolve() for corpus in args.corpora]
        return cls(args.run.resolve(), corpora, rows, args.updates, args.dtype, args.jobs)

    @property
    def data(self) -> Path:
        return self.run / "data" / "manifests"

    def updates_of(self, row: Row) -> int:
        """Fewer for fewer labels, which are seen more often all the same."""
        return max(min(FEWEST, self.updates), round(self.updates * row.share**0.3))


def stages(plan: Plan) -> Iterator[Stage]:
    """Shared ones when first needed, so that the first rows finish early."""
    yield data(plan)
    yield pipeline.labels(plan.run, "labels", plan.data, SPLITS, _PHONES, ["data"])
    made = {"data", "labels"}
    for row in plan.rows:
        for stage in (features(plan, row.features), labels(plan, row), *training(plan, row)):
            if stage.name not in made:
                made.add(stage.name)
                yield stage


_PHONES = ("--text", "phones", "--unit", "phones", "--no-boundary")  # word boundaries cannot be heard


def data(plan: Plan) -> Stage:
    shares, seeds = sorted({r.share for r in plan.rows}), sorted({r.seed for r in plan.rows})
    command = [sys.executable, str(HERE / "prepare.py"), str(plan.data), *map(str, plan.corpora)]
    command += ["--shares", *map(str, shares), "--seeds", *map(str, seeds)]
    return Stage("data", [command], "The corpora as one, and the speakers of each share", 0.1, shown=".")


def features(plan: Plan, chosen: Features) -> Stage:
    faster = ["--dtype", plan.dtype] if chosen.checkpoint and plan.dtype != "fp32" else []
    return pipeline.features(
        *(plan.run, f"features_{chosen.name}", chosen.layer, plan.data, SPLITS),
        minutes=3,
        needs=["data"],
        checkpoint=chosen.checkpoint or "-",
        bert=chosen.bert,
        options=[*faster, *chosen.options],
    )


def labels(plan: Plan, row: Row) -> Stage:
    """Of the share alone; what phones there are is known."""
    drawn = plan.data / share_name(row.share, row.seed) / "train.tsv"
    out = plan.run / labels_name(row) / "data"
    rest = [str(plan.data / f"{split}.tsv") for split in SPLITS[1:]]
    dictionary = ["--dict", str(plan.run / "labels" / "data" / "dict.phn.txt")]
    command = [*pipeline.VQW2V, "labels", str(drawn), *rest, str(out), *_PHONES, *dictionary]
    title = f"Labels of {row.share:.0%} of the speakers, drawn with seed {row.seed}"
    return Stage(labels_name(row), [command], title, 0.1, ["labels"])


def labels_name(row: Row) -> str:
    return f"labels_{row.share:g}_{row.seed}"


def training(plan: Plan, row: Row) -> Iterator[Stage]:
    """One acoustic model, and its errors on the test set."""
    heard = plan.run / f"features_{row.features.name}" / "data"
    said = plan.run / labels_name(row) / "data"
    updates = plan.updates_of(row)
    overrides = [f"task.data={heard}", f"task.labels={said}", f"common.seed={row.seed}"]
    overrides += [f"optimization.max_update={updates}", f"lr_scheduler.warmup_updates={updates // 14}"]
    yield pipeline.train(
        *(plan.run, row.name, HERE / "acoustic.yaml", overrides),
        title=f"{row.features.name}, {row.share:.0%} of the speakers, seed {row.seed}",
        minutes=5,
        needs=[f"features_{row.features.name}", labels_name(row)],
    )
    yield pipeline.decode(
        *(plan.run, f"scores_{row.name}", plan.run / row.name / "checkpoint_best.pt", heard, said, "test"),
        ["greedy", "--error-unit", "phones"],
        title="Its errors on speakers that nobody trained on",
        minutes=0.3,
        needs=[row.name],
        options=["--cpu"],
    )


def write_table(plan: Plan, done: Set[str]) -> None:
    """Phone error rates of the finished rows: mean and standard deviation over seeds."""
    names = list(dict.fromkeys(row.features.name for row in plan.rows))
    shares = sorted({row.share for row in plan.rows}, reverse=True)
    lines = [f"| features | {' | '.join(f'{share:.0%} of the speakers' for share in shares)} |"]
    lines.append("|---" * (1 + len(shares)) + "|")
    for name in names:
        cells = [_cell(rates(plan, name, share, done)) for share in shares]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


def rates(plan: Plan, name: str, share: float, done: Set[str]) -> list[float]:
    folders = [
        plan.run / f"scores_{row.name}"
        for row in plan.rows
        if (row.features.name, row.share) == (name, share) and f"scores_{row.name}" in done
    ]
    return [float(json.loads((folder / "errors-test.json").read_text())["rate"]) for folder in folders]


def _cell(rates: Sequence[float]) -> str:
    return spread(rates) + (f" ({len(rates)})" if len(rates) > 1 else "")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS", help="as prepare.py reads it")
    parser.add_argument("--features", nargs="+", default=["log-mel=logmel", "MFCC=mfcc"], metavar="FEATURES")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02, 0.1, 1.0], help="of the speakers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=UPDATES, help="with all labels (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("fp32", "bf16", "tf32"),
        default="fp32",
        help="of learned features (default: fp32)",
    )
    pipeline.add_jobs(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("compare.py", "results.md", lambda: Plan.of(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())
