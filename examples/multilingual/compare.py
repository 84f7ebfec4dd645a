"""What other languages do to codes: one language alone, and all of them mixed, with the same compute.

    python examples/multilingual/compare.py RUN MANIFEST CORPORA --yaml examples/multilingual/vq_small.yaml \\
        --alone en --alphas 1 0.5 --sets so762_more/test kathleen_en/dev emodb_de/test

MANIFEST has a column `lang`. CORPORA is a folder of test corpora with phone times, as benchmarks/codes.py
reads them. Each training makes as many updates of as much audio. What is finished is in RUN/results.md at
once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from prepare import mixture_name

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish

HERE = Path(__file__).resolve().parent
CODES = HERE.parents[1] / "benchmarks" / "codes.py"
SETS = ("so762_more/test", "kathleen_en/dev", "emodb_de/test")
HEAD = ("training", "set", "ABX across", "within", "PNMI", "95 %", "in use", "bit/s")


@dataclass(frozen=True)
class Row:
    """One pretraining: its mixture, and the split that it learns from."""

    name: str
    title: str
    mixture: Path
    subset: str = "train"


@dataclass(frozen=True)
class Plan:
    run: Path
    corpora: Path
    config: Path
    rows: Sequence[Row]
    sets: Sequence[str]
    overrides: Sequence[str]
    updates: int
    maps: bool
    jobs: int
    data: Stage  # what makes the manifests

    @classmethod
    def of(cls, args: argparse.Namespace, data: Stage, corpora: Path, rows: Sequence[Row]) -> Plan:
        """By the options that `add_settings` adds."""
        config = args.yaml.resolve()
        settings = OmegaConf.load(config)
        updates = args.updates or int(settings.optimization.max_update)
        overrides = [f"optimization.max_update={updates}", *_schedule(settings.lr_scheduler, updates)]
        overrides += [f"common.seed={args.seed}", f"common.cpu={str(not args.gpu).lower()}"]
        overrides += [f"common.bf16={str(args.bf16).lower()}", "dataset.num_workers=0"]
        sets, maps = args.sets, not args.no_map
        return cls(args.run.resolve(), corpora, config, rows, sets, overrides, updates, maps, args.jobs, data)


def manifests_of(run: Path) -> Path:
    return run.resolve() / "data" / "manifests"


def languages(args: argparse.Namespace) -> Plan:
    """Those alone, and all of them with each α."""
    data = manifests_of(args.run)
    rows = [Row(lang, f"{lang} alone", data / mixture_name(1), f"train_{lang}") for lang in args.alone]
    rows += [
        Row(f"all_{alpha:g}", f"all languages, α {alpha:g}", data / mixture_name(alpha))
        for alpha in args.alphas
    ]
    alphas = sorted({1.0, *args.alphas})
    command = [sys.executable, str(HERE / "prepare.py"), str(data), str(args.manifest.resolve())]
    command += ["--alphas", *map(str, alphas)]
    made = Stage("data", [command], "The languages, and their mixtures", 0.1, shown=".")
    return Plan.of(args, made, args.corpora.resolve(), rows)


def _schedule(scheduler: dict[str, int], updates: int) -> Iterator[str]:
    """A shorter training has a shorter warm-up."""
    if "total_num_update" in scheduler:
        yield f"lr_scheduler.total_num_update={updates}"
    yield f"lr_scheduler.warmup_updates={min(int(scheduler['warmup_updates']), updates // 8)}"


def stages(plan: Plan) -> Iterator[Stage]:
    """Each training's results as soon as it is over."""
    yield plan.data
    for row in plan.rows:
        yield training(plan, row)
        yield codes(plan, row)
        if plan.maps:
            yield usage_map(plan, row)


def training(plan: Plan, row: Row) -> Stage:
    overrides = [f"task.data={row.mixture}", f"dataset.train_subset={row.subset}", *plan.overrides]
    return pipeline.train(
        *(
            plan.run,
            f"train_{row.name}",
            plan.config,
            [*overrides, f"++task.audio_cache={plan.run / 'data' / 'audio'}"],
        ),
        title=f"Pretraining: {row.title}",
        minutes=plan.updates / 60,
        needs=["data"],
    )


def checkpoint(plan: Plan, row: Row) -> Path:
    return plan.run / f"train_{row.name}" / "checkpoint_last.pt"


def codes(plan: Plan, row: Row) -> Stage:
    """ABX and PNMI of all test sets."""
    name = f"codes_{row.name}"
    command = [sys.executable, str(CODES), str(plan.corpora), "--sets", *plan.sets, "--workers", "1"]
    command += ["--tokenizers", f"{row.name}={checkpoint(plan, row)}", "--runs", str(plan.run / name)]
    command += ["--out", str(plan.run / name / "codes.json")]
    title = f"What its codes tell about phones: {row.title}"
    return Stage(name, [command], title, 2 * len(plan.sets), [f"train_{row.name}"], [CODES])


def usage_map(plan: Plan, row: Row) -> Stage:
    """Which codes are whose."""
    name = f"map_{row.name}"
    out = plan.run / name / "usage.json"
    command = [
        *pipeline.VQW2V,
        "usage",
        str(checkpoint(plan, row)),
        str(manifests_of(plan.run) / "valid.tsv"),
    ]
    command += ["--by", "lang", "--out", str(out)]
    title = f"Which languages use which codes: {row.title}"
    return Stage(name, [command], title, 1, [f"train_{row.name}"], shown=".", result=str(out))


def write_table(plan: Plan, done: Set[str]) -> None:
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for row in plan.rows:
        if f"codes_{row.name}" in done:
            found = json.loads((plan.run / f"codes_{row.name}" / "codes.json").read_text(encoding="utf-8"))
            for each in found:
                lines.append("| " + " | ".join([row.title, *(each[name] for name in HEAD[1:])]) + " |")
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


def add_settings(parser: argparse.ArgumentParser, sets: Sequence[str]) -> None:
    """Of trainings, and of what is asked of them."""
    parser.add_argument("--yaml", type=Path, default=HERE / "vq_small.yaml", help="settings of all trainings")
    parser.add_argument("--sets", nargs="+", default=list(sets), metavar="CORPUS/SPLIT")
    parser.add_argument("--updates", type=int, metavar="N", help="of each training (default: the yaml's)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="train in bf16")
    parser.add_argument("--gpu", action="store_true", help="train on a GPU")
    pipeline.add_jobs(parser)
    parser.set_defaults(jobs=1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="to learn from, with a column lang")
    parser.add_argument("corpora", type=Path, metavar="CORPORA", help="folder of the test corpora")
    parser.add_argument("--alone", nargs="*", default=["en"], metavar="LANG", help="languages by themselves")
    parser.add_argument("--alphas", type=float, nargs="*", default=[1.0, 0.5], metavar="ALPHA", help="of all")
    parser.add_argument("--no-map", action="store_true", help="leave out which languages use which codes")
    add_settings(parser, SETS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("compare.py", "results.md", lambda: languages(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())
