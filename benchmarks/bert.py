"""tokens ──BERT──▶ states, what learning costs: a step of `vq_bert` against stock's `roberta`.

Both sides train in fresh processes: same sizes, weights and masked tokens. They take turns, so that both
share what else the machine does.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bert_sides import SIZES, Job, batch_lengths, gflop, prepare, worker
from sides import PRECISIONS, SPAWN, Step, common_options, describe, matmul_peak

from vqw2v_plugin.stack import StackError, check_stack

SIDES = ("stock", "ours")
HEADER = """

| precision | utterances | tokens | stock, s | ours, s | ratio | stock, MiB | ours, MiB \
| stock, of peak | ours, of peak |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def compare(job: Job, steps: int) -> dict[str, list[Step]]:
    """Steps of both sides by turns, after a warm-up whose losses show that both do the same work."""
    with worker(replace(job, side="stock")) as stock, worker(replace(job, side="ours")) as ours:
        first = stock(0).loss, ours(0).loss
        if not math.isclose(*first, rel_tol=0.01):  # each draws its own dropout
            raise SystemExit(f"bert.py: error: the first losses differ: {first}")
        pairs = [(stock(number), ours(number)) for number in range(1, steps + 1)]
    return {side: list(taken) for side, taken in zip(SIDES, zip(*pairs, strict=True), strict=True)}


def row(job: Job, taken: dict[str, list[Step]], rate: float) -> str:
    """Batches differ in size, so times are summed; beside their ratio, that of each step, least to most."""
    steps = range(1, 1 + len(taken["ours"]))
    total = {side: sum(step.seconds for step in taken[side]) for side in SIDES}
    ratios = sorted(a.seconds / b.seconds for a, b in zip(taken["stock"], taken["ours"], strict=True))
    added = {side: taken[side][-1].peak - taken[side][-1].before for side in SIDES}
    work = sum(gflop(job, number) for number in steps)
    tokens = statistics.mean(sum(batch_lengths(job, number)) for number in steps)
    cells = [
        *(job.precision, "mix" if job.seconds is None else f"{job.seconds:g} s", f"{tokens:,.0f}"),
        *(f"{total[side] / len(steps):.2f}" for side in SIDES),
        f"{total['stock'] / total['ours']:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})",
        *(f"{added[side]:,.0f}" for side in SIDES),
        *(f"{work / total[side] / rate:.0%}" for side in SIDES),
    ]
    return f"| {' | '.join(cells)} |"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    common_options(parser)
    parser.add_argument("--steps", type=int, default=5, help="steps of each side after a warm-up")
    parser.add_argument("--size", choices=list(SIZES), default="base", help="of both models")
    parser.add_argument("--max-tokens", type=int, default=3300, help="most tokens of a batch, with padding")
    parser.add_argument("--cases", default="mix,4,8,16,32", help="seconds of all utterances, or their mix")
    parser.add_argument("--precisions", default="fp32,bf16", help=f"of both sides: {', '.join(PRECISIONS)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("bert.md"), help="the report")
    args = parser.parse_args()
    args.cases = [None if case == "mix" else float(case) for case in args.cases.split(",")]
    args.precisions = args.precisions.split(",")
    if args.steps < 1 or not set(PRECISIONS).issuperset(args.precisions):
        parser.error(f"`--steps` must be at least 1 and `--precisions` some of {', '.join(PRECISIONS)}")
    return args


def main() -> int:
    args = parse_args()
    try:
        check_stack()
    except StackError as error:
        raise SystemExit(f"bert.py: error: {error}") from None
    about = (
        f"{describe(args.threads, args.device)}; BERT {args.size}, batches of up to {args.max_tokens} "
        f"tokens; mean of {args.steps} steps a side (ratio: least–most of a step)."
    )
    rows: list[tuple[Job, dict[str, list[Step]]]] = []
    print(about + HEADER, flush=True)
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, SPAWN.Pool(1, maxtasksperchild=1) as child:
        for precision in args.precisions:
            for seconds in args.cases:
                job = Job(
                    "", args.size, args.max_tokens, seconds, args.threads, precision, args.device, folder
                )
                rate = max(
                    peaks.get(precision, 0.0),
                    child.apply(matmul_peak, [args.threads, precision, args.device]),
                )
                peaks[precision] = rate
                if not replace(job, side="ours").weights.exists():
                    child.apply(prepare, [job])
                rows.append((job, compare(job, args.steps)))
                print(row(*rows[-1], rate), flush=True)
    about += " Peak: " + ", ".join(f"{p} {rate:,.0f} GFLOP/s" for p, rate in peaks.items())
    about += ", the most that a 2048³ matmul reached before any of the rows."
    table = "\n".join(row(job, taken, peaks[job.precision]) for job, taken in rows)
    title = "# A step of BERT on tokens, stock fairseq's and ours"
    args.out.write_text(f"{title}\n\n{about}{HEADER}\n{table}\n")
    print(about, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
