"""wav → z, before it: how long a training step of ours waits for audio that workers decode and crop.

Trains the 33 M model through fairseq's `Trainer` on batches of fairseq's own iterator, as fairseq-train does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import timeit
from pathlib import Path

from sides import SPAWN, Job, build_trainer, common_options, describe, prepare


def train(job: Job, max_tokens: int, workers: int, steps: int) -> list[tuple[float, float]]:
    """(seconds waited, seconds trained) of each step; the first also starts the workers."""
    import torch
    from fairseq.logging import metrics

    torch.set_num_threads(job.threads)
    trainer = build_trainer(job)
    trainer.task.load_dataset("train")
    batches = trainer.task.get_batch_iterator(
        trainer.task.dataset("train"), max_tokens=max_tokens, seed=1, num_workers=workers, data_buffer_size=10
    )
    trainer.begin_epoch(1)
    times: list[tuple[float, float]] = []
    epoch = iter(batches.next_epoch_itr())
    while len(times) < steps:
        begun = timeit.default_timer()
        batch = next(epoch, None)
        came = timeit.default_timer()
        if batch is None:  # what an epoch's start costs is counted too
            epoch = iter(batches.next_epoch_itr())
            batch = next(epoch)
            came = timeit.default_timer()
        with metrics.aggregate("train"):
            float(trainer.train_step([batch])["loss"])
        times.append((came - begun, timeit.default_timer() - came))
    return times


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    common_options(parser)
    parser.add_argument("data", type=Path, help="folder with train.tsv, a manifest of FLAC files")
    parser.add_argument("--steps", type=int, default=10, help="steps to time, after the first")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--max-tokens", type=int, default=300_000, help="samples a batch")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("loading.md"), help="the report")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    about = describe(args.threads, args.device)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            *("ours", "gumbel", 1, 16_000, args.threads, args.precision, args.device, folder),
            data=str(args.data.resolve()),
        )
        with SPAWN.Pool(1) as child:
            child.apply(prepare, [job])
        times = train(job, args.max_tokens, args.workers, args.steps + 1)
    (first, _), rest = times[0], times[1:]
    waited, trained = (sum(column) for column in zip(*rest, strict=True))
    text = (
        f"{about}; {args.precision}, batches of up to {args.max_tokens:,} samples, {args.workers} workers "
        f"that decode. Of {len(rest)} steps, {waited + trained:.1f} s, {waited / (waited + trained):.2%} was "
        f"waiting for data ({waited / len(rest) * 1000:.1f} ms a step, at most {max(rest)[0] * 1000:.0f} ms)"
        f"; the first batch, with the start of the workers, took {first:.1f} s."
    )
    args.out.write_text(f"# Waiting for data\n\n{text}\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
