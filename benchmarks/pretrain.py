"""wav → z → tokens and c, the cost of learning it: a vq-wav2vec step of ours against stock fairseq's own.

Both sides train in fresh processes: same sizes, same first weights, same batches. They take turns, so that
both share what else the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sides import PRECISIONS, SPAWN, Job, Step, common_options, describe, matmul_peak, prepare, worker

from vqw2v_plugin.stack import StackError, check_stack

SIDES = ("stock", "ours")
HEADER = """

| precision | quantizer | batch | stock, s | ours, s | ratio | stock, audio s/s | ours, audio s/s \
| stock, of peak | ours, of peak | stock, MiB | ours, MiB | ratio | ours against stock fp32 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Row:
    job: Job
    gflop: float
    taken: dict[str, list[Step]]

    def least(self, side: str) -> float:
        """Seconds of the step that other programs disturbed least."""
        return min(step.seconds for step in self.taken[side])

    def most(self, side: str) -> float:
        return max(step.seconds for step in self.taken[side])

    def added(self, side: str) -> float:
        return self.taken[side][-1].peak - self.taken[side][-1].before


def compare(job: Job, steps: int) -> dict[str, list[Step]]:
    """Steps of both sides by turns, after a warm-up whose losses show that both do the same work."""
    with worker(replace(job, side="stock")) as stock, worker(replace(job, side="ours")) as ours:
        first = stock(0).loss, ours(0).loss
        if not math.isclose(*first, rel_tol=0.02):  # each draws its own negatives
            raise SystemExit(f"pretrain.py: error: {job.quantizer}: the first losses differ: {first}")
        pairs = [(stock(number), ours(number)) for number in range(1, steps + 1)]
    return {side: list(taken) for side, taken in zip(SIDES, zip(*pairs, strict=True), strict=True)}


def format_row(row: Row, peaks: dict[str, float], fp32: Row | None) -> str:
    job = row.job
    cells = [
        *(job.precision, job.quantizer, f"{job.batch} × {job.samples:,}"),
        *(f"{row.least(side):.2f} (–{row.most(side):.2f})" for side in SIDES),
        f"**{row.least('stock') / row.least('ours'):.2f}**",
        *(f"{job.audio_seconds / row.least(side):.1f}" for side in SIDES),
        *(f"{row.gflop / row.least(side) / peaks[job.precision]:.0%}" for side in SIDES),
        *(f"{row.added(side):,.0f} ({row.taken[side][-1].peak:,.0f})" for side in SIDES),
        f"**{row.added('stock') / row.added('ours'):.2f}**",
        f"{fp32.least('stock') / row.least('ours'):.2f}" if fp32 else "",
    ]
    return f"| {' | '.join(cells)} |"


def table(rows: list[Row], peaks: dict[str, float]) -> str:
    fp32 = {(r.job.quantizer, r.job.batch, r.job.samples): r for r in rows if r.job.precision == "fp32"}
    found = (format_row(r, peaks, fp32.get((r.job.quantizer, r.job.batch, r.job.samples))) for r in rows)
    return "\n".join(found)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    common_options(parser)
    parser.add_argument("--steps", type=int, default=3, help="steps of each side after a warm-up")
    parser.add_argument("--cases", default="4x48000,2x150000", help="batches, as utterances x samples")
    parser.add_argument("--quantizers", default="gumbel,kmeans", help="one or both")
    parser.add_argument("--precisions", default="fp32,bf16", help=f"of both sides: {', '.join(PRECISIONS)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.md"), help="the report")
    args = parser.parse_args()
    for name in ("cases", "quantizers", "precisions"):
        setattr(args, name, getattr(args, name).split(","))
    if args.steps < 1 or not {"gumbel", "kmeans"}.issuperset(args.quantizers):
        parser.error("`--steps` must be at least 1 and `--quantizers` gumbel, kmeans or gumbel,kmeans")
    if not set(PRECISIONS).issuperset(args.precisions):
        parser.error(
            f"`--precisions` is {','.join(args.precisions)}; expected some of {', '.join(PRECISIONS)}"
        )
    return args


def main() -> int:
    args = parse_args()
    try:
        check_stack()
    except StackError as error:
        raise SystemExit(f"pretrain.py: error: {error}") from None
    about = f"{describe(args.threads, args.device)}; the least (–most) of {args.steps} steps a side."
    rows: list[Row] = []
    peaks = dict.fromkeys(args.precisions, 0.0)
    print(about + HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder, SPAWN.Pool(1, maxtasksperchild=1) as child:
        for precision, quantizer, case in itertools.product(args.precisions, args.quantizers, args.cases):
            sizes = map(int, case.split("x"))
            job = Job("", quantizer, *sizes, args.threads, precision, args.device, folder)
            rate = child.apply(matmul_peak, [args.threads, precision, args.device])
            peaks[precision] = max(peaks[precision], rate)
            rows.append(Row(job, child.apply(prepare, [job]), compare(job, args.steps)))
            print(table(rows, peaks).splitlines()[-1], flush=True)
    rates = ", ".join(f"{rate:,.0f} in {precision}" for precision, rate in peaks.items())
    about += (
        f" Peak, GFLOP/s, the most that a product of large matrices reached before any of the rows: {rates}."
    )
    text = f"# A step of pretraining, stock fairseq's and ours\n\n{about}{HEADER}\n{table(rows, peaks)}\n"
    args.out.write_text(text, encoding="utf-8")
    print(about, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
