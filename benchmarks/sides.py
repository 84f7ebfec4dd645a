"""wav → z → tokens and c, the cost of learning it: processes that train one side, stock fairseq's or ours.

Each is fresh and trains through fairseq's `Trainer`. No torch at the top: a child's peak starts at ours.
"""

from __future__ import annotations

import argparse
import logging
import math
import multiprocessing
import os
import platform
import re
import resource
import timeit
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

logging.disable(logging.WARNING)  # fairseq prints every layer
warnings.simplefilter("ignore")
SPAWN = multiprocessing.get_context("spawn")
PRECISIONS = ("fp32", "bf16", "fp16")
# the 33 M model; what is not named here has the same default on both sides
MODEL = {"prediction_steps": 12, "combine_groups": True, "vq_depth": 2, "vq_vars": 320, "vq_groups": 2}
TRAINING = "--optimizer adam --lr [1e-05] --lr-scheduler fixed --activation relu"
NAMES = {
    "stock": "--task audio_pretraining --arch wav2vec --criterion wav2vec --vq-type",
    "ours": "--task vq_audio_pretraining --arch vq_wav2vec --criterion vq_contrastive --quantizer",
}


@dataclass(frozen=True)
class Job:
    side: str
    quantizer: str
    batch: int
    samples: int
    threads: int
    precision: str
    device: str  # cpu or cuda
    folder: str  # of the weights
    model: dict[str, Any] = field(default_factory=lambda: MODEL)
    data: str = "no-data"  # folder of manifests, where batches come from one

    @property
    def weights(self) -> Path:
        return Path(self.folder) / f"{self.side}-{self.quantizer}-{self.model['vq_vars']}.pt"

    @property
    def audio_seconds(self) -> float:
        return self.batch * self.samples / 16_000


@dataclass(frozen=True)
class Step:
    seconds: float
    loss: float  # bits a prediction
    peak: float  # MiB, the most so far
    before: float  # MiB held before the first step


def build_trainer(job: Job) -> Any:
    """The trainer that fairseq-train would build."""
    import torch
    from fairseq import models, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import vqw2v_plugin

    vqw2v_plugin.register()
    line = [job.data, *NAMES[job.side].split(), job.quantizer, *TRAINING.split()]
    line += [f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in job.model.items()]
    line += ["--vq-temp", "[2.0,0.5,0.999995]"]  # stock's schedule
    if job.device == "cpu":
        line += ["--cpu"]
    if job.side == "stock" and job.quantizer == "kmeans":
        line += ["--loss-weights", "[1]"]  # ours weighs the k-means loss so by itself
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = job.precision == "bf16"  # the flag of that name would ask for a TPU
    cfg.common.fp16 = job.precision == "fp16"
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
    before = held(job.device)
    while (number := connection.recv()) is not None:
        sample = batch_of(job, number)
        settle(job.device)
        begun = timeit.default_timer()
        with metrics.aggregate("train"):
            logs = trainer.train_step([sample])
        settle(job.device)
        seconds = timeit.default_timer() - begun
        loss = float(logs["loss"]) if logs else math.nan  # fp16's scaler may have taken no step
        connection.send(Step(seconds, loss, most(job.device), before))


def batch_of(job: Job, number: int) -> dict[str, Any]:
    """Noise, the same on both sides."""
    import torch

    noise = torch.Generator().manual_seed(number)
    source = torch.randn(job.batch, job.samples, generator=noise) * 0.1  # [B, S]
    return {"id": torch.arange(job.batch), "net_input": {"source": source}}


def settle(device: str) -> None:
    """Waits until a GPU has done what it was asked for: only then is the clock to be read."""
    if device == "cpu":
        return
    import torch

    torch.cuda.synchronize()


def held(device: str) -> float:
    """MiB in use: of the process, or of the GPU."""
    if device == "cpu":  # the process's peak so far is of loading the weights
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    import torch

    return float(torch.cuda.memory_allocated() / 2**20)


def most(device: str) -> float:
    """The most MiB that ever were in use."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    import torch

    return float(torch.cuda.max_memory_allocated() / 2**20)


def prepare(job: Job) -> float:
    """Write stock's first weights, and the same in our layout; return the GFLOP of a step."""
    import torch
    from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
    from torch._subclasses import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from vqw2v_plugin.checkpoints.stock_wav2vec import wav2vec_settings_of_stock, wav2vec_weights_of_stock
    from vqw2v_plugin.checkpoints.wav2vec import build_network
    from vqw2v_plugin.modules.wav2vec.contrastive import contrastive_loss

    torch.manual_seed(1)
    config = Wav2VecConfig()
    for name, value in {**job.model, "vq_type": job.quantizer, "infonce": False}.items():
        setattr(config, name, value)
    settings, stock = wav2vec_settings_of_stock(vars(config)), Wav2VecModel(config).state_dict()
    torch.save(stock, replace(job, side="stock").weights)
    network = build_network(settings)
    ours = {**network.state_dict(), **wav2vec_weights_of_stock(stock, network)}
    torch.save({f"network.{name}": value for name, value in ours.items()}, replace(job, side="ours").weights)
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:  # only shapes are computed
        network = build_network(settings)
        network.encoder.eval(), network.context.eval()  # in training these save products
        out = network.contrast(torch.randn(job.batch, job.samples))
        (contrastive_loss(out.scored) + out.quantized.loss).backward()
    return float(counter.get_total_flops() / 1e9)


def matmul_peak(threads: int, precision: str, device: str) -> float:
    """GFLOP/s of the fastest of 30 products of large square matrices."""
    import torch

    torch.set_num_threads(threads)
    size = 2048 if device == "cpu" else 8192
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.randn(size, size, dtype=dtype, device=device)

    def multiply() -> None:
        torch.mm(a, a)
        if device != "cpu":
            torch.cuda.synchronize()

    return 2 * size**3 / min(timeit.repeat(multiply, number=1, repeat=30)) / 1e9


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
            raise SystemExit(
                f"error: {job.side}, {job.quantizer}, {job.precision} ended ({reason})"
            ) from None

    try:
        yield step
        connection.send(None)
        process.join()
    finally:
        process.kill()


def describe(threads: int, device: str) -> str:
    """The date and the machine."""
    said = Path("/proc/cpuinfo").read_text()
    cpu, units = re.search(r"model name\s*: (.*)", said), "AMX" if "amx_bf16" in said else "no AMX"
    name = f"{cpu[1] if cpu else platform.machine()} ({units}), {os.cpu_count()} cores"
    if device != "cpu":
        name = SPAWN.Pool(1).apply(_gpu_name) + f" beside {name}"
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}: {name} (load {os.getloadavg()[0]:.1f} before), "
        f"{threads} threads; torch {version('torch')}"
    )


def _gpu_name() -> str:
    import torch

    return str(torch.cuda.get_device_name())


def common_options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each side")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to train")
