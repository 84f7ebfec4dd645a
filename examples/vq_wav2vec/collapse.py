"""A codebook that collapses, the alarm, and the same run cured: figures and collapse.png.

    python examples/vq_wav2vec/collapse.py CORPUS      a folder that `vqw2v toy` made, or any with train.tsv

320 codes a group are too many for 10 minutes of speech, with a gradient that reaches only codes in use.
Needs matplotlib (`pip install 'vqw2v_plugin[report]'`); takes 2 to 4 minutes on 2 cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import vqw2v_plugin

HERE = Path(__file__).resolve().parent
NUM_CODES = 320
CURE = '{"ema_decay": 0.99, "revive_after": 20}'
LINE = re.compile(r"\[train_inner\]\[INFO\] - (\{.*\})")
ALARM = re.compile(r"the codebook has collapsed by update (\d+).*")


@dataclass(frozen=True)
class Run:
    updates: list[int]
    share: list[float]  # perplexity over the number of codes, mean over groups
    dead: list[float]  # codes unused over a log interval
    accuracy: list[float]
    alarm: str


def train(corpus: Path, folder: Path, updates: int, args: str) -> Run:
    """The toy recipe's k-means run, with 320 codes a group and the given `quantizer_args`."""
    options = {
        "common.user_dir": str(Path(vqw2v_plugin.__file__).parent),
        "common.log_format": "json",
        "common.log_interval": "10",
        "task.data": str(corpus.resolve()),
        "checkpoint.save_dir": str(folder),
        "checkpoint.no_save": "true",
        "hydra.run.dir": str(folder),
        "dataset.disable_validation": "true",
        "optimization.max_update": str(updates),
        "model.vq_vars": str(NUM_CODES),
        "model.quantizer_args": f"'{args}'",
    }
    command = [str(Path(sys.executable).parent / "fairseq-hydra-train")]
    command += ["--config-dir", str(HERE.parent / "toy"), "--config-name", "kmeans"]
    command += [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        command,
        env={"OMP_NUM_THREADS": "2", **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}\ncollapse.py: error: the training above failed")
    logs = [json.loads(line) for line in LINE.findall(done.stdout)]
    alarm = ALARM.search(done.stdout)
    return Run(
        updates=[int(log["num_updates"]) for log in logs],
        share=[sum(log["group_share"]) / len(log["group_share"]) for log in logs],
        dead=[float(log["dead_codes"]) for log in logs],
        accuracy=[float(log["accuracy"]) for log in logs],
        alarm=alarm[0] if alarm else "",
    )


def draw(runs: dict[str, Run], out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    panels = [
        ("share", f"perplexity / {NUM_CODES} (mean of 2 groups)"),
        ("dead", f"codes unused over 10 updates, of {2 * NUM_CODES}"),
        ("accuracy", "contrastive accuracy (0.09 by chance)"),
    ]
    for axis, (field, title) in zip(axes, panels, strict=True):
        for (name, run), colour in zip(runs.items(), ("tab:red", "tab:blue"), strict=True):
            axis.plot(run.updates, getattr(run, field), label=name, color=colour)
            if run.alarm:
                axis.axvline(int(ALARM.match(run.alarm)[1]), color=colour, linestyle=":", label="alarm")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("updates")
        axis.set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("corpus", type=Path, help="folder with train.tsv, such as runs/toy/corpus/data")
    parser.add_argument("--updates", type=int, default=300, help="of each run (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE / "collapse.png", help="the figure")
    args = parser.parse_args()
    runs = {}
    for name, own in (("as set: 320 codes, gradient alone", "{}"), (f"cured: {CURE}", CURE)):
        with tempfile.TemporaryDirectory() as folder:
            run = runs[name] = train(args.corpus, Path(folder), args.updates, own)
        print(
            f"{name}\n  after {run.updates[-1]} updates: perplexity {run.share[-1]:.1%} of {NUM_CODES}, "
            f"{run.dead[-1]:.0f} of {2 * NUM_CODES} codes unused, accuracy {run.accuracy[-1]:.3f}\n"
            f"  {run.alarm or 'no alarm'}",
            flush=True,
        )
    draw(runs, args.out)
    print(f"drawn: {args.out}")


if __name__ == "__main__":
    main()
