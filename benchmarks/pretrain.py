"""wav → z → tokens and c, the cost of learning it: a vq-wav2vec step of ours against stock fairseq's own.

Each side trains in a fresh process through fairseq's `Trainer`: same sizes, same first weights, same batches.
They take turns, so that both share what else the machine does. No torch here: a child's peak starts at ours.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import multiprocessing
import os
import platform
import re
import resource
import statistics
import sys
import tempfile
import timeit
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vqw2v_plugin.stack import StackError, check_stack

logging.disable(logging.WARNING)  # fairseq prints every layer
warnings.simplefilter("ignore")
SPAWN = multiprocessing.get_context("spawn")
SIDES = ("stock", "ours")
# the 33 M model; what is not named here has the same default on both sides
MODEL = {"prediction_steps": 12, "combine_groups": True, "vq_depth": 2, "vq_vars": 320, "vq_groups": 2}
TRAINING = "--cpu --optimizer adam --lr [1e-05] --lr-scheduler fixed --activation relu"
NAMES = {
    "stock": "--task audio_pretraining --arch wav2vec --criterion wav2vec --vq-type",
    "ours": "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --quantizer",
}
HEADER = """

| quantizer | batch | stock, s | ours, s | ratio | stock, MiB | ours, MiB | ratio \
| stock, of peak | ours, of peak |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Job:
    side: str
    quantizer: str
    batch: int
    samples: int
    threads: int
    precision: str
    folder: str  # of the weights

    @property
    def weights(self) -> Path:
        return Path(self.folder) / f"{self.side}-{self.quantizer}.pt"


@dataclass(frozen=True)
class Step:
    seconds: float
    loss: float  # bits a prediction
    peak: float  # MiB, the most so far
    before: float  # MiB resident before the first step


def build_trainer(job: Job) -> Any:
    """The trainer that fairseq-train would build."""
    import torch
    from fairseq import models, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import vqw2v_plugin

    vqw2v_plugin.register()
    line = ["no-data", *NAMES[job.side].split(), job.quantizer, *TRAINING.split()]
    line += [f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in MODEL.items()]
    line += ["--vq-temp", "[2.0,0.5,0.999995]"]  # stock's schedule
    if job.side == "stock" and job.quantizer == "kmeans":
        line += ["--loss-weights", "[1]"]  # ours weighs the k-means loss so by itself
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = job.precision == "bf16"  # the flag of that name would ask for a TPU
    task = tasks.setup_task(cfg.task)
    model = models.build_model(cfg.model, task)
    model.load_state_dict(torch.load(job.weights, weights_only=True))
    return Trainer(cfg, task, model, task.build_criterion(cfg.criterion))


def serve(connection: Any, job: Job) -> None:
    """Take a step each time the parent sends its number, and answer with a `Step`."""
    import torch
    from fairseq.logging import metrics

    torch.set_num_threads(job.threads)
    trainer = build_trainer(job)
    trainer.begin_epoch(1)
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # the peak so far is of loading the weights
    before = pages * resource.getpagesize() / 2**20
    while (number := connection.recv()) is not None:
        noise = torch.Generator().manual_seed(number)
        source = torch.randn(job.batch, job.samples, generator=noise) * 0.1  # [B, S]
        sample = {"id": torch.arange(job.batch), "net_input": {"source": source}}
        begun = timeit.default_timer()
        with metrics.aggregate("train"):
            logs = trainer.train_step([sample])
        seconds, usage = timeit.default_timer() - begun, resource.getrusage(resource.RUSAGE_SELF)
        connection.send(Step(seconds, float(logs["loss"]), usage.ru_maxrss / 1024, before))


def prepare(job: Job) -> float:
    """Write stock's first weights, and the same in our layout; return the GFLOP of a step."""
    import torch
    from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
    from torch._subclasses import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from vqw2v_plugin.checkpoints import build_network, stock_settings, stock_weights
    from vqw2v_plugin.modules.contrastive import contrastive_loss

    torch.manual_seed(1)
    config = Wav2VecConfig()
    for name, value in {**MODEL, "vq_type": job.quantizer, "infonce": False}.items():
        setattr(config, name, value)
    settings, stock = stock_settings(vars(config)), Wav2VecModel(config).state_dict()
    torch.save(stock, replace(job, side="stock").weights)
    ours = stock_weights(stock, build_network(settings))
    torch.save({f"network.{name}": value for name, value in ours.items()}, replace(job, side="ours").weights)
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:  # only shapes are computed
        out = build_network(settings).contrast(torch.randn(job.batch, job.samples))
        (contrastive_loss(out.scored) + out.quantized.loss).backward()
    return float(counter.get_total_flops() / 1e9)


def matmul_peak(threads: int, precision: str) -> float:
    """GFLOP/s of the fastest of 30 products of 2048 × 2048 matrices."""
    import torch

    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * 2048**3 / min(timeit.repeat(lambda: torch.mm(a, a), number=1, repeat=30)) / 1e9


@contextmanager
def worker(job: Job) -> Iterator[Callable[[int], Step]]:
    """A process that trains; call it with the number of a step."""
    connection, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()

    def step(number: int) -> Step:
        try:
            connection.send(number)
            return connection.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            process.join()
            reason = "killed; is there too little memory?" if process.exitcode == -9 else "its error is above"
            raise SystemExit(f"pretrain.py: error: {job.side}, {job.quantizer} ended ({reason})") from None

    try:
        yield step
        connection.send(None)
        process.join()
    finally:
        process.kill()


def compare(job: Job, steps: int) -> dict[str, list[Step]]:
    """Steps of both sides by turns, after a warm-up whose losses show that both do the same work."""
    with worker(replace(job, side="stock")) as stock, worker(replace(job, side="ours")) as ours:
        first = stock(0).loss, ours(0).loss
        if not math.isclose(*first, rel_tol=0.02):  # each draws its own negatives
            raise SystemExit(f"pretrain.py: error: {job.quantizer}: the first losses differ: {first}")
        pairs = [(stock(number), ours(number)) for number in range(1, steps + 1)]
    return {side: list(taken) for side, taken in zip(SIDES, zip(*pairs, strict=True), strict=True)}


def row(job: Job, gflop: float, taken: dict[str, list[Step]], rate: float) -> str:
    seconds = {side: sorted(step.seconds for step in taken[side]) for side in SIDES}
    median = {side: statistics.median(seconds[side]) for side in SIDES}
    peak = {side: taken[side][-1].peak for side in SIDES}
    added = {side: peak[side] - taken[side][-1].before for side in SIDES}
    cells = [
        *(job.quantizer, f"{job.batch} × {job.samples:,}"),
        *(f"{median[side]:.2f} ({seconds[side][0]:.2f}–{seconds[side][-1]:.2f})" for side in SIDES),
        f"{median['stock'] / median['ours']:.2f}",
        *(f"{added[side]:,.0f} ({peak[side]:,.0f})" for side in SIDES),
        f"{added['stock'] / added['ours']:.2f}",
        *(f"{gflop / median[side] / rate:.0%}" for side in SIDES),
    ]
    return f"| {' | '.join(cells)} |"


def describe(args: argparse.Namespace) -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}: {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} "
        f"cores (load {os.getloadavg()[0]:.1f} before), {args.threads} threads; torch {version('torch')}; "
        f"{args.precision}; median (min–max) of {args.steps} steps a side."
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--steps", type=int, default=5, help="steps of each side after a warm-up")
    parser.add_argument("--cases", default="4x48000,2x150000", help="batches, as utterances x samples")
    parser.add_argument("--quantizers", default="gumbel,kmeans", help="one or both")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each side")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of both sides")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.md"), help="the report")
    args = parser.parse_args()
    args.cases, args.quantizers = args.cases.split(","), args.quantizers.split(",")
    if args.steps < 1 or not {"gumbel", "kmeans"}.issuperset(args.quantizers):
        parser.error("`--steps` must be at least 1 and `--quantizers` gumbel, kmeans or gumbel,kmeans")
    return args


def main() -> int:
    args = parse_args()
    try:
        check_stack()
    except StackError as error:
        raise SystemExit(f"pretrain.py: error: {error}") from None
    about, rows, rate = describe(args), [], 0.0
    print(about + HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder, SPAWN.Pool(1, maxtasksperchild=1) as child:
        for quantizer, case in itertools.product(args.quantizers, args.cases):
            job = Job("", quantizer, *map(int, case.split("x")), args.threads, args.precision, folder)
            rate = max(rate, child.apply(matmul_peak, [args.threads, args.precision]))
            rows.append((job, child.apply(prepare, [job]), compare(job, args.steps)))
            print(row(*rows[-1], rate), flush=True)
    about += f" Peak: {rate:,.0f} GFLOP/s, the most that a 2048³ matmul reached before any of the rows."
    table = "\n".join(row(*each, rate) for each in rows)
    args.out.write_text(f"# A step of pretraining, stock fairseq's and ours\n\n{about}{HEADER}\n{table}\n")
    print(about, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
