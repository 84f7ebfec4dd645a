"""Which features know a speaker's mood, or a language: heads on any features beside heads on any others.

    python examples/utterance/compare.py RUN TABLE … --column emotion --features log-mel=logmel MFCC=mfcc \\
        c=c@PRETRAINED.pt codes=q@PRETRAINED.pt mix=w2v2:0,w2v2:6,w2v2:-1@WAV2VEC2.pt

Each fold of speakers is answered once, by a head that has learnt from all others; a row's figures are over
all utterances of the corpus, its spread is that of the seeds. Layers by commas are mixed by weights that are
learnt. A finished row is in RUN/results.md at once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.decoding.class_scoring import ClassCounts
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.compared import Features, parse_features
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish, spread

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Row:
    """The heads of one seed, a fold each."""

    features: Features
    seed: int

    def name(self, fold: int) -> str:
        return f"{self.features.name}_{fold}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    run: Path
    tables: Sequence[Path]
    column: str
    most: int | None
    folds: int
    rows: Sequence[Row]
    options: Sequence[str]
    jobs: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        rows = [Row(f, seed) for seed in args.seeds for f in parse_features(args.features, several=True)]
        tables = [table.resolve() for table in args.tables]
        options = [f"optimization.max_update={args.updates}", *args.options]
        return cls(args.run.resolve(), tables, args.column, args.most, args.folds, rows, options, args.jobs)

    @property
    def data(self) -> Path:
        return self.run / "data" / "manifests"

    @property
    def splits(self) -> list[str]:
        return [f"fold{number}" for number in range(self.folds)]


def stages(plan: Plan) -> Iterator[Stage]:
    """Shared ones when first needed, so that the first rows finish early."""
    yield data(plan)
    yield pipeline.labels(
        plan.run, "labels", plan.data, plan.splits, ("--unit", "class", "--column", "class"), ["data"]
    )
    made = set[str]()
    for row in plan.rows:
        for stage in (*features(plan, row.features), *heads(plan, row)):
            if stage.name not in made:
                made.add(stage.name)
                yield stage


def data(plan: Plan) -> Stage:
    command = [sys.executable, str(HERE / "prepare.py"), str(plan.data), *map(str, plan.tables)]
    command += ["--column", plan.column, "--folds", str(plan.folds)]
    command += ["--most", str(plan.most)] if plan.most else []
    return Stage("data", [command], "Folds whose speakers are apart", 0.1, shown=".")


def features(plan: Plan, chosen: Features) -> Iterator[Stage]:
    """A folder a layer."""
    for layer, folder in zip(chosen.layers, _folders(plan, chosen), strict=True):
        yield pipeline.features(
            *(plan.run, folder.parent.name, layer, plan.data, plan.splits),
            minutes=2,
            needs=["data"],
            checkpoint=chosen.checkpoint or "-",
            bert=chosen.bert,
        )


def _folders(plan: Plan, chosen: Features) -> list[Path]:
    if len(chosen.layers) == 1:
        return [plan.run / f"features_{chosen.name}" / "data"]
    names = [layer.replace(":", "") for layer in chosen.layers]
    return [plan.run / f"features_{chosen.name}_{name}" / "data" for name in names]


def heads(plan: Plan, row: Row) -> Iterator[Stage]:
    """Of each fold: a head that learns from the others, and its answers."""
    folders, labels = _folders(plan, row.features), plan.run / "labels" / "data"
    heard = ":".join(map(str, folders))
    for number, fold in enumerate(plan.splits):
        others = ",".join(split for split in plan.splits if split != fold)
        overrides = [f"task.data={heard}", f"task.labels={labels}", f"common.seed={row.seed}"]
        overrides += [
            f"dataset.train_subset='{others}'",
            "dataset.disable_validation=true",
            "common.cpu=true",
        ]
        yield pipeline.train(
            *(plan.run, row.name(number), HERE / "head.yaml", [*overrides, *plan.options]),
            title=f"A head on {row.features.name}, without {fold}, seed {row.seed}",
            minutes=0.5,
            needs=["labels", *(folder.parent.name for folder in folders)],
        )
        yield pipeline.answer(
            *(plan.run, f"answers_{row.name(number)}", plan.run / row.name(number) / "checkpoint_last.pt"),
            *(heard, labels, fold),
            title=f"Its answers on {fold}, whose speakers it does not know",
            minutes=0.2,
            needs=[row.name(number)],
            options=["--cpu"],
        )


def write_table(plan: Plan, done: Set[str]) -> None:
    """Accuracy and recall of the finished rows: mean and standard deviation over seeds."""
    lines = ["| features | accuracy | unweighted average recall |", "|---|---|---|"]
    chance = ""
    for name in dict.fromkeys(row.features.name for row in plan.rows):
        counts = [c for row in plan.rows if row.features.name == name and (c := answered(plan, row, done))]
        if counts:
            cells = (spread([100 * getattr(c, rate) for c in counts]) for rate in ("accuracy", "uar"))
            lines.append(f"| {name} ({len(counts)}) | {' | '.join(cells)} |")
            majority, num_classes = 100 * counts[0].majority, len(counts[0].recalls)
            chance = f"| one answer to all | {majority:.1f} | {100 / num_classes:.1f} |"
    write_whole(plan.run / "results.md", "\n".join([*lines, *([chance] if chance else [])]) + "\n")


def answered(plan: Plan, row: Row, done: Set[str]) -> ClassCounts | None:
    """Of all folds; None where one is still to come."""
    names = [f"answers_{row.name(number)}" for number in range(plan.folds)]
    if not done.issuperset(names):
        return None
    pairs = []
    for name, fold in zip(names, plan.splits, strict=True):
        with (plan.run / name / f"classes-{fold}.tsv").open(encoding="utf-8", newline="") as file:
            for each in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                pairs.append((each["class"], each["answer"]))
    return ClassCounts.of_pairs(pairs)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="as prepare.py reads them")
    parser.add_argument("--column", required=True, help="of the classes")
    parser.add_argument("--most", type=int, metavar="N", help="utterances of each class (default: all)")
    parser.add_argument("--features", nargs="+", default=["log-mel=logmel", "MFCC=mfcc"], metavar="FEATURES")
    parser.add_argument("--folds", type=int, default=5, help="of speakers (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=400, help="of each head (default: %(default)s)")
    parser.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="for head.yaml")
    pipeline.add_jobs(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("compare.py", "results.md", lambda: Plan.of(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())
