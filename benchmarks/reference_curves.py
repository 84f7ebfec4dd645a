"""How each shipped pretraining yaml begins: its first updates, seed by seed, in a table and drawn.

Trains the yaml itself through fairseq-hydra-train, with four crops of 3 s an update; the learning rate and
the temperature are those of the whole training. What is done is kept in `--runs`; a killed one goes on.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vqw2v_plugin.analysis.curves import Curves, parse_log  # noqa: E402
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest  # noqa: E402

EXAMPLES = ROOT / "examples/vq_wav2vec"
NAMES = ("wav2vec", "gumbel", "kmeans", "fsq")
CROPS, SAMPLES, RATE = 4, 48_000, 16_000
WHOLE = 400_000  # updates of the shipped training: its schedules stay


def draw_hours(data: Path, hours: float, out: Path) -> None:
    """A manifest of so much of the audio, by utterances; less is a part of more."""
    whole = Manifest(data / "train.tsv")
    columns = {name: whole.column(name) for name in whole.columns}
    left, kept = hours * 3600 * RATE, set[int]()
    for i in random.Random(1).sample(range(len(whole)), len(whole)):
        left -= int(whole.sizes[i])
        if left < 0:
            break
        kept.add(i)
    rows = [{name: values[i] for name, values in columns.items()} for i in sorted(kept)]
    write_manifest(out / "train.tsv", whole.root, rows, whole.columns)


def folder_of(name: str, seed: int, args: argparse.Namespace) -> Path:
    of = f"-{args.hours:g}h" if args.hours else ""
    return (args.runs / f"{name}{of}-{seed}").resolve()


def train(name: str, seed: int, args: argparse.Namespace) -> Path:
    """The log of one training, which may have been done before."""
    folder = folder_of(name, seed, args)
    command = [str(Path(sys.executable).with_name("fairseq-hydra-train"))]
    command += ["--config-dir", str(EXAMPLES), "--config-name", name]
    command += [f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={args.data.resolve()}"]
    command += [f"checkpoint.save_dir={folder}", f"hydra.run.dir={folder}/hydra", f"common.seed={seed}"]
    command += ["distributed_training.distributed_world_size=1", "common.cpu=true"]
    command += [f"task.max_sample_size={SAMPLES}", f"dataset.max_tokens={CROPS * SAMPLES}"]
    command += [f"optimization.max_update={args.updates}", "optimization.update_freq=[1]"]
    command += [f"++model.max_update={WHOLE}", f"++lr_scheduler.lr_period_updates={WHOLE}"]
    command += [
        f"common.log_interval={args.every}",
        "dataset.disable_validation=true",
        "dataset.num_workers=1",
    ]
    command += [f"checkpoint.save_interval_updates={args.save_every}", "common.log_format=json"]
    command += [f"common.bf16={str(args.bf16).lower()}"]
    return run_training(command, folder, f"{name}, seed {seed}", args)


def run_training(command: Sequence[str], folder: Path, name: str, args: argparse.Namespace) -> Path:
    """Its log; a training that is done already is not run again."""
    log, done = folder / "train.log", folder / f"updates-{args.updates}"
    if done.exists():
        return log
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    with log.open("a", encoding="utf-8") as out:
        code = subprocess.run(command, env=env, stdout=out, stderr=subprocess.STDOUT).returncode
    if code:
        end = log.read_text(encoding="utf-8")[-3000:]
        raise SystemExit(f"{Path(sys.argv[0]).name}: error: {name} ended with {code}:\n{end}")
    minutes = (time.monotonic() - began) / 60
    done.write_text(f"{minutes:.1f} minutes\n", encoding="utf-8")
    print(f"{name}: {args.updates} updates in {minutes:.0f} min", flush=True)
    return log


SHOWN = (20, 40, 50, 100, 200, 500, 1_000)
METRICS = {  # as the log calls it: how the table does
    "loss": "loss",
    "accuracy": "accuracy",
    "code_perplexity": "perplexity",
    "group_share.0": "group 0",
    "group_share.1": "group 1",
    "dead_codes": "dead",
}


def values(curves: Curves, metric: str) -> dict[int, float]:
    """By update; 0 to 1 for shares of the codebook, as they are logged."""
    points = curves.points.get("training", ())
    return {point.updates: point.values[metric] for point in points if metric in point.values}


def table(found: Mapping[tuple[str, int], Curves]) -> str:
    """A row for each yaml and update; seeds side by side."""
    lines = [f"| yaml | update | {' | '.join(METRICS.values())} |", "|" + "---|" * (2 + len(METRICS))]
    for name in dict.fromkeys(name for name, _ in found):
        runs = [curves for (other, _), curves in found.items() if other == name]
        for update in SHOWN:
            cells = []
            for metric in METRICS:
                held = [each for run in runs if (each := values(run, metric).get(update)) is not None]
                cells.append(", ".join(f"{value:.3g}" for value in held))
            if any(cells):
                lines.append(f"| `{name}.yaml` | {update} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: Mapping[tuple[str, int], Curves], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metrics = {"accuracy": "accuracy (chance 0.09)", "code_perplexity": "perplexity of a group's codes"}
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(10, 4), layout="constrained")
    for axis, (metric, label) in zip(axes, metrics.items(), strict=True):
        for i, name in enumerate(NAMES):
            runs = [curves for (other, _), curves in found.items() if other == name]
            for j, run in enumerate(runs):
                points = sorted(values(run, metric).items())
                if points and (metric == "accuracy" or name != "wav2vec"):
                    axis.plot(*zip(*points, strict=True), color=f"C{i}", lw=1, label=None if j else name)
        axis.set(xlabel="update", ylabel=label)
        axis.legend()
    figure.savefig(path, dpi=120)


def read(name: str, seed: int, args: argparse.Namespace) -> Curves:
    return parse_log(train(name, seed, args).read_text(encoding="utf-8"))


def write(found: Mapping[tuple[str, int], Curves], args: argparse.Namespace) -> None:
    out: Path = args.out
    draw(found, out.with_suffix(".png"))
    numbers = sorted({seed for _, seed in found})
    seeds = (
        f"seed {numbers[0]}" if len(numbers) == 1 else f"seeds {', '.join(map(str, numbers))} side by side"
    )
    minutes = statistics.mean(minutes_of(folder_of(name, seed, args)) for name, seed in found)
    precision, seconds = "bf16" if args.bf16 else "fp32", SAMPLES / RATE
    hours = args.updates * CROPS * seconds / 3600
    drawn = f" of {args.hours:g} h" if args.hours else " of audio"
    machine = platform.processor() or platform.machine()
    text = (
        f"Each yaml of `examples/vq_wav2vec` as it is, {CROPS} crops of {seconds:g} s an update "
        f"({args.updates} updates hear {hours:.1f} h{drawn}), {precision}, {seeds}; "
        f"{minutes:.0f} minutes each on {args.threads} threads of a busy {machine}. Values are means over "
        f"the {args.every} updates before; `group` is the share of a group's codes that would do as well if "
        f"all were as frequent, `dead` are codes of both groups that 50 updates did not use.\n\n"
    )
    head = f"# How trainings begin\n\n![curves]({out.stem}.png)\n\n"
    out.write_text(head + text + table(found), encoding="utf-8")


def minutes_of(folder: Path) -> float:
    (path,) = folder.glob("updates-*")
    return float(path.read_text(encoding="utf-8").split()[0])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("data", type=Path, help="folder with train.tsv, a manifest of recorded speech")
    parser.add_argument(
        "--hours", type=float, help="so much of the audio, by utterances; less is a part of more (all)"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="which yaml")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10, help="updates between two points of a curve")
    parser.add_argument("--save-every", type=int, default=250, help="updates a killed training loses at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="not fp32")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/reference", help="where runs are kept")
    out = Path(__file__).with_suffix(".md")
    parser.add_argument("--out", type=Path, default=out, help="the table; a picture goes beside it")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.hours:
        drawn = args.runs / f"{args.hours:g}h"
        draw_hours(args.data, args.hours, drawn)
        args.data = drawn
    order: Sequence[tuple[str, int]] = [(name, seed) for seed in args.seeds for name in args.only]
    found = {key: read(*key, args) for key in order}
    write({key: found[key] for key in sorted(found, key=lambda key: (NAMES.index(key[0]), key[1]))}, args)
    print(args.out.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
