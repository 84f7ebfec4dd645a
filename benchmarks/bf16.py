"""How encoder and quantizer learn in bf16: its loss curve against the spread of fp32's over seeds, drawn.

Trains a small model through fairseq-hydra-train once a precision and seed; `--runs` keeps what is done.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("fp32", "bf16")
Curve = dict[int, float]  # update → bits a prediction


def train(precision: str, seed: int, args: argparse.Namespace) -> Curve:
    """The logged losses of one training; a finished one is read from `--runs`."""
    kept = args.runs / f"{args.config.stem}-{precision}-{seed}-{args.updates}.json"
    if not kept.exists():
        command = [str(Path(sys.executable).with_name("fairseq-hydra-train"))]
        command += ["--config-dir", str(args.config.parent), "--config-name", args.config.stem]
        command += [f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={args.data.resolve()}"]
        command += [f"common.seed={seed}", f"common.bf16={str(precision == 'bf16').lower()}"]
        command += [
            f"optimization.max_update={args.updates}",
            f"++task.audio_cache={args.runs.resolve()}/audio",
        ]
        command += ["common.log_format=json", "common.log_interval=10", "dataset.disable_validation=true"]
        command += ["checkpoint.no_save=true", f"hydra.run.dir={args.runs.resolve()}/hydra"]
        env = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(
                f"bf16.py: error: {precision}, seed {seed}:\n{(done.stdout + done.stderr)[-3000:]}"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(read_log(done.stdout + done.stderr)))
    print(f"{precision}, seed {seed}: done", flush=True)
    return {int(update): loss for update, loss in json.loads(kept.read_text()).items()}


def read_log(text: str) -> Curve:
    lines = (json.loads(m) for m in re.findall(r"\[train_inner\].*?(\{.*\})", text))
    return {int(line["num_updates"]): float(line["loss"]) for line in lines}


def compare(curves: dict[str, list[Curve]]) -> str:
    """How often bf16's mean lies within fp32's spread, and both at the end."""
    updates = sorted(set.intersection(*(set(curve) for runs in curves.values() for curve in runs)))
    inside, gaps, spreads = 0, [], []
    for update in updates:
        fp32, bf16 = ([curve[update] for curve in curves[p]] for p in PRECISIONS)
        inside += min(fp32) <= statistics.mean(bf16) <= max(fp32)
        gaps.append(statistics.mean(bf16) - statistics.mean(fp32))
        spreads.append(max(fp32) - min(fp32))
    last = updates[-10:]
    ends = {p: sorted(statistics.mean(curve[u] for u in last) for curve in curves[p]) for p in PRECISIONS}
    said = "; ".join(f"{p} {', '.join(f'{end:.3f}' for end in ends[p])}" for p in PRECISIONS)
    return (
        f"{len(updates)} points up to update {updates[-1]}: the mean of {len(curves['bf16'])} seeds in bf16 "
        f"lies within the spread of {len(curves['fp32'])} seeds in fp32 at {inside / len(updates):.0%} of "
        f"them; on average it is {statistics.mean(gaps):+.4f} bits from their mean, where they are "
        f"{statistics.mean(spreads):.4f} apart. Bits a prediction of each seed, mean of the last {len(last)} "
        f"points: {said}."
    )


def draw(curves: dict[str, list[Curve]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    updates = sorted(curves["fp32"][0])
    columns = [[curve[u] for curve in curves["fp32"]] for u in updates]
    seeds = len(curves["fp32"])
    axes.fill_between(
        updates,
        *zip(*((min(c), max(c)) for c in columns), strict=True),
        alpha=0.3,
        label=f"fp32, {seeds} seeds",
    )
    for i, curve in enumerate(curves["bf16"]):
        axes.plot(*zip(*sorted(curve.items()), strict=True), lw=0.8, color="C3", label=None if i else "bf16")
    axes.set(xlabel="update", ylabel="contrastive loss, bits a prediction")
    axes.legend()
    figure.savefig(path, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("data", type=Path, help="folder with train.tsv, a manifest of recorded speech")
    parser.add_argument(
        "--config", type=Path, default=ROOT / "examples/toy/gumbel.yaml", help="what to train"
    )
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3, help="of each precision")
    parser.add_argument("--threads", type=int, default=1, help="more do not pay on a model this small")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/bf16", help="where finished runs are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("bf16.png"), help="the figure")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    order = [(precision, seed) for seed in range(1, args.seeds + 1) for precision in PRECISIONS]
    done = {key: train(*key, args) for key in order}
    curves = {p: [done[p, seed] for seed in range(1, args.seeds + 1)] for p in PRECISIONS}
    draw(curves, args.out)
    text = f"`{args.config.parent.name}/{args.config.name}` on {args.data.name}: {compare(curves)}"
    args.out.with_suffix(".md").write_text(
        f"# Learning in bf16\n\n![loss curves]({args.out.name})\n\n{text}\n"
    )
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
