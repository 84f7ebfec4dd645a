"""wav → z → tokens and c, the cost of learning it: one vq-wav2vec step of ours against stock fairseq's own.

Each side trains in a fresh process of its own through fairseq's `Trainer`: same sizes, same weights, same batches.
The two take turns, so that whatever else the machine does falls on both. This process imports no torch, because
a child's peak memory starts at its parent's.
"""

from __future__ import annotations

import argparse
import logging
import math
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vqw2v_plugin.stack import StackError, check_stack

SPAWN = multiprocessing.get_context("spawn")
SIDES = ("stock", "ours")
MIB = 1024**2
MODEL = {"prediction_steps": 12, "combine_groups": True, "vq_depth": 2, "vq_vars": 320, "vq_groups": 2}
COMMON = (
    "--cpu --optimizer adam --lr [1e-05] --lr-scheduler fixed --activation relu --vq-temp [2.0,0.5,0.999995]"
)
COLUMNS = [
    "quantizer", "batch", "stock s", "ours s", "faster", "stock MiB", "ours MiB", "leaner", "stock peak", "ours peak",
]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What one process trains."""

    side: str
    quantizer: str
    batch: int
    samples: int
    threads: int
    bf16: bool
    folder: str  # where `prepare` left the weights


@dataclass(frozen=True)
class Step:
    seconds: float
    loss: float  # bits a prediction
    added: float  # MiB, the peak so far over what was resident before the first step
    peak: float  # MiB, absolute


def build_trainer(job: Job) -> Any:
    """The trainer that fairseq-train would build for this side, with the weights that both sides share."""
    import torch
    from fairseq import models, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import vqw2v_plugin

    vqw2v_plugin.register()
    names = {
        "stock": f"--task audio_pretraining --arch wav2vec --criterion wav2vec --vq-type {job.quantizer}",
        "ours": f"--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --quantizer {job.quantizer}",
    }[job.side]
    if job.side == "stock" and job.quantizer == "kmeans":
        names += " --loss-weights [1]"  # ours weighs the k-means loss so by itself
    sizes = [f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in MODEL.items()]
    line = ["no-data", *names.split(), *COMMON.split(), *sizes]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = job.bf16  # the flag of that name would switch to TPUs
    task = tasks.setup_task(cfg.task)
    model, criterion = models.build_model(cfg.model, task), task.build_criterion(cfg.criterion)
    model.load_state_dict(torch.load(weights_file(job), weights_only=True))
    return Trainer(cfg, task, model, criterion)


def weights_file(job: Job) -> Path:
    return Path(job.folder) / f"{job.side}-{job.quantizer}.pt"


def serve(connection: Connection, job: Job) -> None:
    """Take one step each time the parent sends its number, and answer with a `Step`."""
    import torch
    from fairseq.logging import metrics

    logging.disable(logging.WARNING)  # fairseq prints every layer, hydra its plans
    warnings.simplefilter("ignore")
    torch.set_num_threads(job.threads)
    trainer = build_trainer(job)
    trainer.begin_epoch(1)
    before = resident()
    connection.send("ready")
    while (number := connection.recv()) is not None:
        noise = torch.Generator().manual_seed(number)
        source = torch.randn(job.batch, job.samples, generator=noise) * 0.1
        sample = {"id": torch.arange(job.batch), "net_input": {"source": source}}
        begun = time.perf_counter()
        with metrics.aggregate("train"):
            logs = trainer.train_step([sample])
        seconds, top = time.perf_counter() - begun, peak()
        connection.send(Step(seconds, float(logs["loss"]), top - before, top))


def resident() -> float:
    """MiB in memory now (where the system does not tell: the most so far)."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() / MIB if statm.exists() else peak()


def peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def prepare(job: Job) -> float:
    """Write stock's initial weights and the same ones in our layout; return the step's GFLOP."""
    import torch
    from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
    from torch.utils.flop_counter import FlopCounterMode

    from vqw2v_plugin.checkpoints import build_network, stock_settings, stock_weights
    from vqw2v_plugin.modules.contrastive import contrastive_loss

    torch.manual_seed(1)
    config = Wav2VecConfig()
    for name, value in {**MODEL, "vq_type": job.quantizer, "infonce": False}.items():
        setattr(config, name, value)
    stock = Wav2VecModel(config)
    torch.save(stock.state_dict(), weights_file(replace(job, side="stock")))
    ours = build_network(stock_settings(vars(config)))
    weights = stock_weights(stock.state_dict(), ours)
    torch.save({f"network.{k}": v for k, v in weights.items()}, weights_file(replace(job, side="ours")))

    counter = FlopCounterMode(display=False)  # convolutions and matrix products, forward and backward
    with counter, torch.device("meta"):
        out = ours.to("meta").contrast(torch.empty(job.batch, job.samples))
        (contrastive_loss(out.scored) + out.quantized.loss).backward()
    return float(counter.get_total_flops() / 1e9)


def matmul_peak(threads: int, bf16: bool) -> float:
    """GFLOP a second of the best of 20 products of 2048 × 2048 matrices."""
    import torch

    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048, dtype=torch.bfloat16 if bf16 else torch.float32)
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        torch.mm(a, a)
        took.append(time.perf_counter() - begun)
    return float(2 * 2048**3 / min(took) / 1e9)


def in_child(function: Callable[..., Any], *args: Any) -> Any:
    """The function's result, from a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(function, args)


@contextmanager
def worker(job: Job) -> Iterator[Callable[[int], Step]]:
    """A process that trains; call it with a step's number."""
    connection, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()

    def receive() -> Any:
        try:
            return connection.recv()
        except EOFError:
            process.join()
            reason = (
                "killed, most likely for memory" if process.exitcode == -9 else f"status {process.exitcode}"
            )
            raise RuntimeError(f"the process of {job.side}, {job.quantizer} ended early ({reason})") from None

    def step(number: int) -> Step:
        connection.send(number)
        return receive()  # type: ignore[no-any-return]

    try:
        receive()
        yield step
        connection.send(None)
        process.join()
    finally:
        process.kill()


def compare(job: Job, steps: int) -> dict[str, list[Step]]:
    """The steps of both sides, which took turns; the warm-up, which they begin with, has shown equal losses."""
    taken: dict[str, list[Step]] = {side: [] for side in SIDES}
    with worker(replace(job, side="stock")) as stock, worker(replace(job, side="ours")) as ours:
        for number in range(steps + 1):
            for side, step in zip(SIDES, (stock, ours), strict=True):
                taken[side].append(step(number))
    losses = [taken[side][0].loss for side in SIDES]
    if not math.isclose(*losses, rel_tol=0.02):
        raise RuntimeError(
            f"{job.quantizer}: first losses {losses} differ: the sides do not do the same work"
        )
    return taken


def row(job: Job, taken: dict[str, list[Step]], gflop: float, peak_rate: float) -> list[str]:
    seconds = {side: [step.seconds for step in taken[side][1:]] for side in SIDES}
    median = {side: statistics.median(seconds[side]) for side in SIDES}
    last = {side: taken[side][-1] for side in SIDES}
    return [
        job.quantizer,
        f"{job.batch} × {job.samples:,}",
        *(f"{median[s]:.2f} ({min(seconds[s]):.2f}–{max(seconds[s]):.2f})" for s in SIDES),
        f"{median['stock'] / median['ours']:.2f}×",
        *(f"{last[s].added:,.0f} ({last[s].peak:,.0f})" for s in SIDES),
        f"{last['stock'].added / last['ours'].added:.2f}×",
        *(f"{gflop / median[s] / peak_rate:.0%}" for s in SIDES),
    ]


def machine(threads: int) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.processor())
    from importlib.metadata import version

    return (
        f"{model}, {os.cpu_count()} cores (load average {os.getloadavg()[0]:.1f} at the start), {threads} threads; "
        f"Python {platform.python_version()}, torch {version('torch')}; {datetime.now(timezone.utc):%Y-%m-%d}"
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    here = Path(__file__).parent
    parser.add_argument("--steps", type=int, default=5, help="steps after one warm-up (default: %(default)s)")
    parser.add_argument(
        "--cases", default="4x48000,2x150000", help="utterances x samples (default: %(default)s)"
    )
    parser.add_argument("--quantizers", default="gumbel,kmeans", help="default: %(default)s")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="default: every core, %(default)s"
    )
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=here / "results.md", help="default: beside this file")
    args = parser.parse_args()
    try:
        args.cases = [tuple(map(int, case.split("x"))) for case in args.cases.split(",")]
        assert all(len(case) == 2 and min(case) > 0 for case in args.cases)
    except (ValueError, AssertionError):
        parser.error("`--cases` wants utterances x samples, separated by commas, such as 4x48000,2x150000")
    args.quantizers = args.quantizers.split(",")
    if args.steps < 1 or not {"gumbel", "kmeans"}.issuperset(args.quantizers):
        parser.error("`--steps` must be at least 1, `--quantizers` of gumbel and kmeans")
    return args


def main() -> int:
    args = parse_args()
    try:
        check_stack()
    except StackError as error:
        print(f"pretrain.py: error: {error}", file=sys.stderr)
        return 2
    bf16 = args.precision == "bf16"
    rate = in_child(matmul_peak, args.threads, bf16)
    report = [f"{machine(args.threads)}. 2048³ {args.precision} matmul: {rate:,.0f} GFLOP/s.", ""]
    report += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    print("\n".join(report), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for quantizer in args.quantizers:
            for batch, samples in args.cases:
                job = Job("", quantizer, batch, samples, args.threads, bf16, folder)
                gflop = in_child(prepare, job)
                report.append(f"| {' | '.join(row(job, compare(job, args.steps), gflop, rate))} |")
                print(report[-1], flush=True)
    args.out.write_text("# A pretraining step, stock fairseq against ours\n\n" + "\n".join(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
