"""wav ──wav2vec 2.0──▶ states, what learning costs: a step of pretraining or fine-tuning beside others'.

Stock fairseq's network, transformers' (where they are installed) and ours train in fresh processes that take
turns: same sizes, first weights, batches and optimizer.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from sides import SPAWN, Step, common_options, describe
from wav2vec2_sides import SIDES, SIZES, Job, lengths_of, prepare, worker

from vqw2v_plugin.stack import StackError, check_stack

CASES = {
    "pretrain": ("pretrain", True),
    "pretrain-mix": ("pretrain", False),
    "finetune": ("finetune", True),
    "finetune-mix": ("finetune", False),
}
HEADER = """

| precision | step | audio, s | stock, s | transformers, s | ours, s | ratio to stock | to the better \
| stock, MiB | transformers, MiB | ours, MiB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
_SAME = {"pretrain": 0.1, "finetune": 0.01}  # first losses: masks and distractors are each side's own


def compare(job: Job, sides: list[str], steps: int) -> dict[str, list[Step]]:
    """Steps of all sides by turns, after a warm-up whose losses show that they do the same work."""
    with ExitStack() as open_now:
        workers = {side: open_now.enter_context(worker(replace(job, side=side))) for side in sides}
        first = {side: step(0).loss for side, step in workers.items()}
        if any(not math.isclose(loss, first["stock"], rel_tol=_SAME[job.task]) for loss in first.values()):
            raise SystemExit(f"wav2vec2.py: error: {job.task}: the first losses differ: {first}")
        taken: dict[str, list[Step]] = {side: [] for side in sides}
        for number in range(1, steps + 1):
            for side, step in workers.items():
                taken[side].append(step(number))
    return taken


def row(job: Job, name: str, taken: dict[str, list[Step]]) -> str:
    """Batches differ in size, so times are summed."""
    steps = len(taken["ours"])
    total = {side: sum(step.seconds for step in found) for side, found in taken.items()}
    added = {side: found[-1].peak - found[-1].before for side, found in taken.items()}
    audio = sum(sum(lengths_of(job, number)) for number in range(1, steps + 1)) / 16_000 / steps
    others = min(seconds for side, seconds in total.items() if side != "ours")
    cells = [
        *(job.precision, name, f"{audio:.1f}"),
        *(f"{total[side] / steps:.2f}" if side in total else "" for side in SIDES),
        *(f"**{total['stock'] / total['ours']:.2f}**", f"{others / total['ours']:.2f}"),
        *(f"{added[side]:,.0f}" if side in added else "" for side in SIDES),
    ]
    return f"| {' | '.join(cells)} |"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    common_options(parser)
    parser.add_argument("--steps", type=int, default=2, help="steps of each side after a warm-up")
    parser.add_argument("--size", choices=list(SIZES), default="base", help="of all networks")
    parser.add_argument("--batch", type=int, default=4, help="utterances")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the longest utterance")
    cases = f"some of {', '.join(CASES)}; mix: of unequal lengths (default: %(default)s)"
    parser.add_argument("--cases", default="pretrain,finetune", help=cases)
    clock = "processor: seconds that each side's process had, for a machine that others use (default: wall)"
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help=clock)
    parser.add_argument("--precisions", default="fp32,bf16", help="of all sides: fp32, bf16")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("wav2vec2.md"), help="the report"
    )
    args = parser.parse_args()
    args.cases, args.precisions = args.cases.split(","), args.precisions.split(",")
    if args.steps < 1 or not set(CASES).issuperset(args.cases):
        parser.error(f"`--steps` must be at least 1 and `--cases` some of {', '.join(CASES)}")
    if not {"fp32", "bf16"}.issuperset(args.precisions):
        parser.error(f"`--precisions` is {','.join(args.precisions)}; expected some of fp32, bf16")
    return args


def main() -> int:
    args = parse_args()
    try:
        check_stack()
    except StackError as error:
        raise SystemExit(f"wav2vec2.py: error: {error}") from None
    sides = [side for side in SIDES if side != "transformers" or find_spec("transformers")]
    about = (
        f"{describe(args.threads, args.device)}; {args.size.upper()}, {args.batch} utterances of up to "
        f"{args.seconds:g} s; mean of {args.steps} steps a side, "
        f"{'processor seconds' if args.clock == 'processor' else 'by the clock'}."
    )
    if len(sides) < len(SIDES):
        about += " transformers are not installed."
    print(about + HEADER, flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in args.precisions:
            for case in args.cases:
                task, equal = CASES[case]
                sizes = (args.size, args.batch, args.seconds, args.threads, precision, args.device, folder)
                job = Job("", task, equal, *sizes, args.clock)
                if not job.path.exists():
                    with SPAWN.Pool(1, maxtasksperchild=1) as child:
                        child.apply(prepare, [job])
                rows.append(row(job, case, compare(job, sides, args.steps)))
                print(rows[-1], flush=True)
    lines = "\n".join(rows)
    text = f"# A step of wav2vec 2.0: stock fairseq's, transformers' and ours\n\n{about}{HEADER}\n{lines}\n"
    args.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
