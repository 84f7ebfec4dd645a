"""wav → z → tokens and c, how the cost of learning grows: with audio, batch and codebook.

Our side alone, each case in a fresh process; straight lines are fitted to the seconds and to the memory.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

from sides import MODEL, SPAWN, Job, common_options, describe, prepare, worker

# what grows → (utterances, samples, codes a group) of each case
GROWTHS = {
    "audio length": [(2, 40_000 * 2**i, 320) for i in range(4)],
    "batch": [(2**i, 40_000, 320) for i in range(4)],
    "codebook": [(2, 80_000, 160 * 4**i) for i in range(4)],
}
HEADER = "\n\n| grows | batch | codes a group | s a step | MiB |\n| --- | --- | --- | --- | --- |"


def measure(job: Job, steps: int) -> tuple[float, float]:
    """The least seconds of `steps` steps after a warm-up, and the MiB that training adds."""
    with SPAWN.Pool(1) as child:
        child.apply(prepare, [job])
    with worker(job) as step:
        step(0)
        taken = [step(number) for number in range(1, steps + 1)]
    return min(each.seconds for each in taken), taken[-1].peak - taken[-1].before


def line(sizes: list[int], costs: list[float]) -> str:
    """The straight line through the costs, x being size ÷ the smallest size, and how well it fits."""
    x = [size / sizes[0] for size in sizes]
    fit, r = statistics.linear_regression(x, costs), statistics.correlation(x, costs)
    return f"{fit.intercept:.2f} + {fit.slope:.2f}·x (r² {r * r:.3f})"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    common_options(parser)
    parser.add_argument("--steps", type=int, default=3, help="steps of each case after a warm-up")
    parser.add_argument("--quantizer", choices=["gumbel", "kmeans"], default="gumbel")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("growth.md"), help="the report")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    about = (
        f"{describe(args.threads, args.device)}; {args.quantizer}, {args.precision}; the least of "
        f"{args.steps} steps; MiB that training adds, much of it gradients and Adam's state."
    )
    print(about + HEADER, flush=True)
    rows, fits = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, cases in GROWTHS.items():
            found = []
            for batch, samples, codes in cases:
                model = {**MODEL, "vq_vars": codes}
                settings = (batch, samples, args.threads, args.precision, args.device, folder)
                job = Job("ours", args.quantizer, *settings, model=model)
                found.append(measure(job, args.steps))
                seconds, memory = found[-1]
                rows.append(f"| {name} | {batch} × {samples:,} | {codes:,} | {seconds:.2f} | {memory:,.0f} |")
                print(rows[-1], flush=True)
            sizes = [math.prod(case) for case in cases]
            seconds_line, memory_line = (line(sizes, [each[i] for each in found]) for i in range(2))
            fits.append(f"- {name}: seconds {seconds_line}; MiB {memory_line}")
    lines = "\n".join(fits)
    text = f"# How the cost of a step grows\n\n{about}{HEADER}\n" + "\n".join(rows)
    args.out.write_text(
        f"{text}\n\nStraight lines, x = size ÷ the smallest size:\n\n{lines}\n", encoding="utf-8"
    )
    print(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
