"""wav → tokens → states on a GPU: a process of one side, which makes the steps that it is asked for.

No torch at the top: a process of our own is to start from nothing.
"""

from __future__ import annotations

import timeit
import traceback
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import bert_sides
import sides
import wav2vec2_sides
from sides import MODEL, settle

SMALL = {
    "conv_feature_layers": "[(16, 10, 5), (16, 8, 4), (16, 4, 2), (16, 4, 2), (16, 4, 2)]",
    "conv_aggregator_layers": "[(16, 2, 1), (16, 3, 1)]",
}
_MOST_STEPS = 200
_SHOWN = 10  # kernels
_READERS = 8
_CLIPS = 400


@dataclass(frozen=True)
class Plan:
    device: str
    folder: str  # of weights and audio
    seconds: float  # of each row; 0: twice is enough, and everything is small
    threads: int

    @property
    def small(self) -> bool:
        return not self.seconds

    def pick(self, large: Any, small: Any) -> Any:
        return small if self.small else large


@dataclass(frozen=True)
class Run:
    """A row on one side: its step, and the seconds of audio that one takes."""

    step: Callable[[int], object]
    audio: float = 0.0
    work: str = ""  # whose operations are counted
    precision: str = ""


@dataclass(frozen=True)
class Found:
    """What is sent back."""

    least: float  # seconds of a step
    most: float
    audio: float = 0.0
    work: str = ""
    precision: str = ""
    peak: float = 0.0  # MiB
    launches: int = 0
    waits: int = 0
    dearest: tuple[str, ...] = ()
    gflop: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)


def serve(connection: Any, side: str, plan: Plan) -> None:
    """Answers each name of a row with what was found, or with why nothing was."""
    import torch

    torch.set_num_threads(plan.threads)
    while (name := connection.recv()) is not None:
        try:
            connection.send(prepare(plan) if name == "prepare" else measured(ROWS[name](plan, side), plan))
        except BaseException as error:
            traceback.print_exc()
            connection.send(f"{type(error).__name__}: {error}".splitlines()[0][:200])
        if plan.device != "cpu":
            torch.cuda.empty_cache()


def measured(run: Run, plan: Plan) -> Found:
    """The least and most seconds, each read when the device has ended; then a step under the profiler."""
    import torch

    number, taken = 0, []
    for number in range(plan.pick(3, 1)):
        run.step(number)
    settle(plan.device)
    if plan.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    stop = timeit.default_timer() + plan.seconds
    while len(taken) < 2 or (timeit.default_timer() < stop and len(taken) < _MOST_STEPS):
        number += 1
        begun = timeit.default_timer()
        run.step(number)
        settle(plan.device)
        taken.append(timeit.default_timer() - begun)
    peak = sides.most(plan.device)
    launches, waits, dearest = profiled(partial(run.step, number + 1), plan)
    found = Found(min(taken), max(taken), run.audio, run.work, run.precision, peak)
    return replace(found, launches=launches, waits=waits, dearest=dearest)


def profiled(step: Callable[[], object], plan: Plan) -> tuple[int, int, tuple[str, ...]]:
    """How often the device was called and waited for, and the kernels that took longest."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = plan.device != "cpu"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        step()
    rows = profiler.key_averages()
    if not on_gpu:  # there are operators alone
        calls = [row for row in rows if row.key.startswith("aten::")]
        waits = sum(row.count for row in calls if row.key == "aten::_local_scalar_dense")
        dearest = sorted(calls, key=lambda row: -row.self_cpu_time_total)[:_SHOWN]
        shown = [f"{row.self_cpu_time_total / 1e3:8.3f} ms {row.count:5d} × {row.key}" for row in dearest]
        return sum(row.count for row in calls), waits, tuple(shown)
    kernels = [row for row in rows if str(row.device_type).endswith("CUDA")]
    launches = sum(
        row.count for row in rows if "LaunchKernel" in row.key or row.key.startswith("cudaMemsetAsync")
    )
    waits = sum(row.count for row in rows if row.key in ("cudaStreamSynchronize", "cudaEventSynchronize"))
    dearest = sorted(kernels, key=lambda row: -row.self_device_time_total)[:_SHOWN]
    shown = [f"{row.self_device_time_total / 1e3:8.3f} ms {row.count:5d} × {row.key[:90]}" for row in dearest]
    return launches, waits, tuple(shown)


def prepare(plan: Plan) -> Found:
    """Weights for both sides; what a step computes, and how quick the device's products are."""
    gflop = {name: sides.prepare(_job(plan, "stock", name, "fp32")) for name in ("gumbel", "kmeans")}
    bert_sides.prepare(_bert_job(plan, "stock"))
    for task in ("pretrain", "finetune"):
        wav2vec2_sides.prepare(_wav2vec2_job(plan, "stock", task), for_transformers=False)
    peaks = (
        {}
        if plan.small
        else {each: sides.matmul_peak(plan.threads, each, plan.device) for each in sides.PRECISIONS}
    )
    return Found(0.0, 0.0, gflop=gflop, peaks=peaks)


def _job(plan: Plan, side: str, quantizer: str, precision: str) -> sides.Job:
    model = MODEL | (SMALL if plan.small else {})
    batch, samples = plan.pick((10, 150_000), (2, 16_000))
    return sides.Job(
        side, quantizer, batch, samples, plan.threads, precision, plan.device, plan.folder, model
    )


def pretraining(plan: Plan, side: str, quantizer: str, precision: str) -> Run:
    from fairseq.logging import metrics

    job = _job(plan, side, quantizer, precision)
    trainer = sides.build_trainer(job)
    trainer.begin_epoch(1)

    def step(number: int) -> None:
        with metrics.aggregate("train"):
            trainer.train_step([sides.batch_of(job, number)])

    return Run(step, job.audio_seconds, quantizer, precision)


def _network(plan: Plan, side: str) -> Any:
    """The encoder with its Gumbel quantizer, for evaluation, and what makes codes of [B, S]."""
    model = sides.build_trainer(_job(plan, side, "gumbel", "fp32")).model.eval()
    if side == "ours":
        return model.network, model.network.encode
    return model, lambda wav: model.vector_quantizer.forward_idx(model.feature_extractor(wav))[1]


def encoding(plan: Plan, side: str, precision: str) -> Run:
    import torch

    from vqw2v_plugin.modules.kernels.rounding import exact

    _, encode = _network(plan, side)
    batch, samples = plan.pick((16, 240_000), (2, 16_000))
    wav = 0.1 * torch.randn(batch, samples).to(plan.device)

    @torch.no_grad()
    def step(number: int) -> None:
        with exact(wav.device) if precision == "fp32" else torch.autocast(plan.device, torch.bfloat16):
            encode(wav)

    return Run(step, batch * samples / 16_000)


def clips(plan: Plan, side: str, precision: str) -> Run:
    """Clips of 2 to 15 s, from the processor's memory and back: stock's script takes one at a time."""
    import torch

    network, encode = _network(plan, side)
    drawn, longest = torch.Generator().manual_seed(3), plan.pick(240_000, 16_000)
    sizes = torch.randint(longest // 7, longest, (plan.pick(64, 3),), generator=drawn).tolist()
    wavs = [0.1 * torch.randn(n, generator=drawn) for n in sizes]
    if side == "ours":
        codes_of = _tokenizer(network, plan, precision).encode
        return Run(lambda _: codes_of(wavs, 16_000), sum(sizes) / 16_000)

    @torch.no_grad()
    def step(number: int) -> None:
        for wav in wavs:
            encode(wav[None].to(plan.device)).cpu()

    return Run(step, sum(sizes) / 16_000)


def clip(plan: Plan, side: str) -> Run:
    """One clip at a time, from the processor's memory and back."""
    import torch

    network, encode = _network(plan, side)
    wav = 0.1 * torch.randn(plan.pick(240_000, 16_000))
    if side == "ours":
        encode = _tokenizer(network, plan).encode
        return Run(lambda _: encode(wav, 16_000), len(wav) / 16_000)

    @torch.no_grad()
    def step(number: int) -> None:
        encode(wav[None].to(plan.device)).cpu()

    return Run(step, len(wav) / 16_000)


def _tokenizer(network: Any, plan: Plan, precision: str = "fp32") -> Any:
    from vqw2v_plugin import Tokenizer
    from vqw2v_plugin.checkpoints.wav2vec import Loaded

    return Tokenizer(Loaded(network, 16_000, False), plan.device, precision)


def corpus(plan: Plan, side: str) -> Run:
    """FLAC → codes on disk; stock's side reads, encodes and copies file by file, as its script does."""
    import numpy as np
    import soundfile
    import torch

    folder, samples = Path(plan.folder) / side, plan.pick(240_000, 16_000)
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.flac" for i in range(plan.pick(_CLIPS, 4))]
    for i, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(i).normal(0, 0.1, samples).clip(-1, 1), 16_000)
    network, encode = _network(plan, side)
    audio = len(paths) * samples / 16_000
    if side == "ours":
        return Run(partial(_discretized, network, plan, folder, paths, samples), audio)

    @torch.no_grad()
    def step(number: int) -> None:
        for path in paths:
            wav = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
            encode(wav[None].to(plan.device)).cpu()

    return Run(step, audio)


def _discretized(
    network: Any, plan: Plan, folder: Path, paths: list[Path], samples: int, number: int
) -> None:
    from vqw2v_plugin.common.locks import Rank
    from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
    from vqw2v_plugin.jobs.discretize import DiscretizeOptions, discretize

    manifest, weights = folder / "train.tsv", folder / "weights"
    write_manifest(manifest, folder, [{"path": path.name, "samples": samples} for path in paths])
    weights.write_bytes(b"known by its name alone")
    options = DiscretizeOptions(readers=plan.pick(_READERS, 2))
    out = str(folder / f"out{number}")
    discretize(_tokenizer(network, plan), str(weights), Manifest(manifest), out, options, Rank())


def asg(plan: Plan, side: str) -> Run:
    """Stock's side: torch's CTC of the same emissions and targets."""
    from asg import make_steps

    sizes = plan.pick((16, 1000, 31, 100), (2, 40, 8, 5))
    args = Namespace(
        device=plan.device,
        wide=False,
        **dict(zip(("batch", "frames", "labels", "length"), sizes, strict=True)),
    )
    step = make_steps(args)["ASG" if side == "ours" else "torch ctc_loss"]
    return Run(lambda _: step())


def _bert_job(plan: Plan, side: str) -> bert_sides.Job:
    size, tokens = plan.pick(("base", 8192), ("tiny", 600))
    return bert_sides.Job(
        side, size, tokens, plan.pick(15.0, 2.0), plan.threads, "bf16", plan.device, plan.folder
    )


def bert(plan: Plan, side: str) -> Run:
    from fairseq.logging import metrics

    job = _bert_job(plan, side)
    trainer = bert_sides.build_trainer(job)
    trainer.begin_epoch(1)

    def step(number: int) -> None:
        with metrics.aggregate("train"):
            trainer.train_step([bert_sides.make_batch(job, number)])

    return Run(step, sum(bert_sides.batch_lengths(job, 0)) / bert_sides.FRAMES)


def _wav2vec2_job(plan: Plan, side: str, task: str) -> wav2vec2_sides.Job:
    """175,000 samples of each of eight, without padding, which stock's pretraining of BASE crops away."""
    size, batch, seconds = plan.pick(("base", 8, 175_000 / 16_000), ("least", 2, 1.0))
    precision = plan.pick("bf16", "fp32")  # stock has no bf16 on a processor
    return wav2vec2_sides.Job(
        side, task, True, size, batch, seconds, plan.threads, precision, plan.device, plan.folder
    )


def wav2vec2(plan: Plan, side: str, task: str) -> Run:
    """Forward, backward and torch's Adam, as `wav2vec2.py` has it."""
    job = _wav2vec2_job(plan, side, task)
    return Run(wav2vec2_sides.make_step(job), sum(wav2vec2_sides.lengths_of(job, 0)) / 16_000)


ROWS: dict[str, Callable[[Plan, str], Run]] = {
    "pretrain-gumbel-bf16": partial(pretraining, quantizer="gumbel", precision="bf16"),
    "pretrain-kmeans-bf16": partial(pretraining, quantizer="kmeans", precision="bf16"),
    "wav2vec2-pretrain-bf16": partial(wav2vec2, task="pretrain"),
    "clips-fp32": partial(clips, precision="fp32"),
    "clips-bf16": partial(clips, precision="bf16"),
    "asg": asg,
    "bert-base-bf16": bert,
    "discretize": corpus,
    "wav2vec2-finetune-bf16": partial(wav2vec2, task="finetune"),
    "encode-fp32": partial(encoding, precision="fp32"),
    "encode-bf16": partial(encoding, precision="bf16"),
    "clip": clip,
    "pretrain-gumbel-fp32": partial(pretraining, quantizer="gumbel", precision="fp32"),
    "pretrain-kmeans-fp32": partial(pretraining, quantizer="kmeans", precision="fp32"),
}


def row_names() -> list[str]:
    return list(ROWS)
