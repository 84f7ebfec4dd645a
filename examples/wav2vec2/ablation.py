"""What is quantized, the input or the targets or both: wav2vec 2.0's own 2 × 2, small enough for one core.

    python examples/wav2vec2/ablation.py RUN

Twelve small networks learn from the toy corpus, three seeds of each kind; how well a layer of theirs tells
phones apart (ABX) is held against log-mel, and against the same networks before they have learnt. A finished
row is in RUN/results.md at once; a killed run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish, spread

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "valid", "test")
HEARD = "test"  # of which phones are told apart
KINDS = {  # the input's, the targets'
    "continuous, quantized": (False, True),
    "continuous, continuous": (False, False),
    "quantized, quantized": (True, True),
    "quantized, continuous": (True, False),
}
SIZES = {  # 0.57 million weights
    "conv_feature_layers": "'[(64, 10, 5)] + [(64, 3, 2)] * 4 + [(64, 2, 2)] * 2'",
    "encoder_layers": 4,
    "encoder_embed_dim": 96,
    "encoder_ffn_embed_dim": 384,
    "encoder_attention_heads": 4,
    "conv_pos": 32,
    "conv_pos_groups": 8,
    "final_dim": 48,
    "latent_vars": 32,
    "num_negatives": 50,
    "layer_norm_first": "true",  # with norms behind the blocks it takes longer to begin to learn
    "feature_grad_mult": 1,
    "latent_temp": "[1.0,0.5]",
    **dict.fromkeys(("dropout", "attention_dropout", "dropout_input", "dropout_features"), 0),
}


@dataclass(frozen=True)
class Row:
    """One network."""

    kind: str
    seed: int
    learns: bool = True

    @property
    def name(self) -> str:
        words = self.kind.replace(", ", "_") if self.learns else "untrained"
        return f"{words}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    run: Path
    rows: Sequence[Row]
    updates: int
    minutes: float
    layer: int
    jobs: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        rows = [
            row
            for seed in args.seeds
            for row in (*(Row(kind, seed) for kind in KINDS), Row(next(iter(KINDS)), seed, learns=False))
        ]
        return cls(args.run.resolve(), rows, args.updates, args.minutes, args.layer, args.jobs)

    @property
    def data(self) -> Path:
        return self.run / "corpus" / "data"


def stages(plan: Plan) -> Iterator[Stage]:
    command = [*pipeline.VQW2V, "toy", str(plan.data), "--minutes", f"{plan.minutes:g}", "--speakers", "6"]
    title = f"Making {plan.minutes:g} minutes of speech by 6 voices"
    yield Stage("corpus", [command], title, 0.3, shown="^  ", result=str(plan.data))
    yield from told_apart(plan, "logmel", "logmel", "-")
    for row in plan.rows:
        yield training(plan, row)
        checkpoint = plan.run / row.name / "checkpoint_last.pt"
        yield from told_apart(plan, row.name, f"w2v2:{plan.layer}", checkpoint)


def training(plan: Plan, row: Row) -> Stage:
    """One of the networks; the one that learns nothing takes a single update with no learning rate."""
    updates = plan.updates if row.learns else 1
    quantized_input, quantized_targets = (str(each).lower() for each in KINDS[row.kind])
    overrides = [f"task.data={plan.data}", f"common.seed={row.seed}", "common.cpu=true"]
    overrides += [f"++model.{name}={value}" for name, value in SIZES.items()]
    overrides += [
        f"++model.quantize_input={quantized_input}",
        f"++model.quantize_targets={quantized_targets}",
    ]
    overrides += [f"optimization.max_update={updates}", f"lr_scheduler.total_num_update={max(updates, 2)}"]
    overrides += [f"lr_scheduler.warmup_updates={updates // 12}", "checkpoint.save_interval_updates=0"]
    overrides += [f"optimization.lr=[{0.001 if row.learns else 0.0}]", "dataset.disable_validation=true"]
    overrides += ["task.max_sample_size=48000", "dataset.max_tokens=144000", "dataset.num_workers=0"]
    overrides += ["criterion.loss_weights=[0.1,0]"]  # as large has them
    return pipeline.train(
        *(plan.run, row.name, HERE / "small.yaml", overrides),
        title=f"Input and targets {row.kind}, seed {row.seed}" if row.learns else "Nothing learnt",
        minutes=1.3 if row.learns else 0.1,
        needs=["corpus"],
    )


def told_apart(plan: Plan, name: str, layer: str, checkpoint: Path | str) -> Iterator[Stage]:
    features = f"features_{name}"
    needs = ["corpus", *([name] if checkpoint != "-" else [])]
    yield pipeline.features(plan.run, features, layer, plan.data, [HEARD], 0.1, needs, checkpoint)
    yield pipeline.abx(plan.run, f"abx_{name}", plan.run / features / "data", plan.data, HEARD, [features])


def write_table(plan: Plan, done: Set[str]) -> None:
    """ABX errors of the finished rows: mean and standard deviation over seeds."""
    lines = ["| input, targets | within speakers | across |", "|---|---|---|"]
    groups = {kind: [row.name for row in plan.rows if row.kind == kind and row.learns] for kind in KINDS}
    groups["nothing learnt"] = [row.name for row in plan.rows if not row.learns]
    for title, names in {**groups, "log-mel": ["logmel"]}.items():
        found = [
            json.loads((plan.run / f"abx_{name}" / "abx.json").read_text(encoding="utf-8"))
            for name in names
            if f"abx_{name}" in done
        ]
        if found:
            cells = (spread([100 * each[side] for each in found]) for side in ("within", "across"))
            count = f" ({len(found)})" if len(found) > 1 else ""
            lines.append(f"| {title}{count} | {' | '.join(cells)} |")
    write_whole(plan.run / "results.md", "\n".join(lines) + "\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, default=400, help="of each network (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=12, help="of toy speech (default: %(default)s)")
    parser.add_argument("--layer", type=int, default=2, help="that is compared, of 4 (default: %(default)s)")
    pipeline.add_jobs(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("ablation.py", "results.md", lambda: Plan.of(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())
