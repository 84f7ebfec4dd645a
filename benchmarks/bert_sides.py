"""tokens ──BERT──▶ states, what learning costs: processes that train stock's roberta or our vq_bert.

Each is fresh and trains through fairseq's `Trainer`. No torch here: a child's peak starts at its parent's.
"""

from __future__ import annotations

import math
import random
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sides import SPAWN, Step, held, most, settle

SIZES = {"base": (12, 768, 3072, 12), "small": (12, 512, 2048, 8), "tiny": (4, 128, 512, 4)}
NUM_SYMBOLS = 13_500  # joint codes that the paper's Gumbel model uses
FRAMES = 100  # a second
MASKED = 1 - 0.95**10
# Seconds of read speech, deciles as LibriSpeech's: most utterances have 12 to 16 s, a quarter fewer than 8 s.
MIX = (1.5, 3.0, 5.5, 8.5, 11.5, 13.0, 13.9, 14.6, 15.2, 15.8, 16.6)


@dataclass(frozen=True)
class Job:
    side: str
    size: str
    max_tokens: int
    seconds: float | None  # of every utterance; None: the mix
    threads: int
    precision: str
    device: str  # cpu or cuda
    folder: str  # of the weights and the dictionary

    @property
    def weights(self) -> Path:
        return Path(self.folder) / f"{self.side}-{self.size}.pt"


def batch_lengths(job: Job, number: int) -> list[int]:
    """Tokens of each utterance of a batch: neighbours in a corpus sorted by length, as both batch it."""
    if job.seconds is not None:
        length = round(job.seconds * FRAMES)
        return [length] * max(1, job.max_tokens // (length + 2))
    draw = random.Random(7)
    corpus = sorted(round(FRAMES * quantile(draw.random())) for _ in range(2000))
    begin = random.Random(number).randrange(len(corpus))
    lengths: list[int] = []
    for length in reversed(corpus[: begin + 1]):
        if (len(lengths) + 1) * (max([*lengths, length]) + 2) > job.max_tokens:
            break
        lengths.append(length)
    return lengths or [corpus[0]]


def quantile(share: float) -> float:
    low, rest = divmod(share * (len(MIX) - 1), 1)
    return MIX[int(low)] + rest * (MIX[int(low) + 1] - MIX[int(low)])


def make_batch(job: Job, number: int) -> dict[str, Any]:
    """The same masked utterances as either side's data sets hand them to its model."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from vqw2v_plugin.modules.bert.vocabulary import EOS, PAD
    from vqw2v_plugin.modules.layers.masks import corrupt, span_mask

    generator = torch.Generator().manual_seed(number)
    codes, mask_id = torch.arange(4, 4 + NUM_SYMBOLS), 4 + NUM_SYMBOLS
    seen, targets = [], []
    for length in batch_lengths(job, number):
        tokens = torch.randint(4, 4 + NUM_SYMBOLS, (length,), generator=generator)
        mask = span_mask(length, 0.05, 10, generator=generator)
        shown = corrupt(tokens, mask, mask_id, codes, 0.1, 0.1, generator)
        seen.append(torch.cat([torch.tensor([0]), shown, torch.tensor([EOS])]))
        targets.append(torch.nn.functional.pad(torch.where(mask, tokens, PAD), (1, 1), value=PAD))
    sizes = [len(x) for x in seen]
    common = {"id": torch.arange(len(seen)), "ntokens": sum(sizes), "nsentences": len(seen)}
    if job.side == "stock":
        net_input = {"src_tokens": pad_sequence(seen, True, PAD), "src_lengths": torch.tensor(sizes)}
        return {**common, "net_input": net_input, "target": pad_sequence(targets, True, PAD)}
    target = torch.cat(targets)
    masked, counts = target.ne(PAD).nonzero().squeeze(1), [int(t.ne(PAD).sum()) for t in targets]
    net_input = {"tokens": torch.cat(seen), "lengths": sizes, "masked": masked, "counts": counts}
    return {**common, "net_input": net_input, "target": target[masked]}


def command_line(job: Job) -> list[str]:
    layers, dim, inner, heads = SIZES[job.size]
    line = ["--optimizer", "adam", "--lr", "[1e-05]", "--lr-scheduler", "fixed"]
    line += ["--encoder-layers", str(layers), "--encoder-embed-dim", str(dim)]
    line += ["--encoder-ffn-embed-dim", str(inner), "--encoder-attention-heads", str(heads)]
    line += ["--dropout", "0.1", "--attention-dropout", "0.1", "--max-positions", str(job.max_tokens)]
    if job.device == "cpu":
        line += ["--cpu"]
    if job.side == "stock":
        return [*line, "--task", "masked_lm", "--arch", "roberta_base", "--criterion", "masked_lm"]
    return [*line, "--task", "vq_token_pretraining", "--arch", "vq_bert", "--criterion", "vq_masked_tokens"]


def build_trainer(job: Job) -> Any:
    """The trainer that fairseq-train would build."""
    import torch
    from fairseq import models, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    import vqw2v_plugin

    vqw2v_plugin.register()
    line = [job.folder, *command_line(job)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    cfg.common.bf16 = job.precision == "bf16"  # the flag of that name would ask for a TPU
    cfg.common.fp16 = job.precision == "fp16"
    task = tasks.setup_task(cfg.task)
    model = models.build_model(cfg.model, task)
    if job.weights.exists():
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
        sample = make_batch(job, number)
        settle(job.device)
        begun = timeit.default_timer()
        with metrics.aggregate("train"):
            logs = trainer.train_step([sample])
        settle(job.device)
        seconds = timeit.default_timer() - begun
        loss = float(logs["loss"]) if logs else math.nan  # fp16's scaler may have taken no step
        connection.send(Step(seconds, loss, most(job.device), before))


def prepare(job: Job) -> None:
    """Write a dictionary, stock's first weights, and the same in our layout."""
    import torch

    from vqw2v_plugin.checkpoints.stock_roberta import bert_weights_of_stock
    from vqw2v_plugin.stores.symbols import write_dict

    write_dict(Path(job.folder) / "dict.txt", ((f"{i // 320}-{i % 320}", 1) for i in range(NUM_SYMBOLS)))
    torch.manual_seed(1)
    stock = replace(job, side="stock")
    weights = build_trainer(stock).model.state_dict()
    ours = {f"network.{name}": value for name, value in bert_weights_of_stock(weights).items()}
    torch.save(weights, stock.weights)
    torch.save(ours, replace(job, side="ours").weights)


def gflop(job: Job, number: int) -> float:
    """Matrix products that the masked tokens' loss needs: no padding, a last layer for masked tokens."""
    layers, dim, inner, _ = SIZES[job.size]
    lengths = [n + 2 for n in batch_lengths(job, number)]
    full, square = sum(lengths), sum(n * n for n in lengths)
    per_state, per_head = dim * dim + 2 * dim * inner, dim * dim + dim * NUM_SYMBOLS
    linear = full * layers * 3 * dim * dim + (layers - 1 + MASKED) * full * per_state
    attention = (layers - 1 + MASKED) * square * 2 * dim
    return 3 * 2 * (linear + attention + MASKED * full * per_head) / 1e9


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
            raise SystemExit(f"bert.py: error: {job.side} ended ({reason})") from None

    try:
        yield step
        connection.send(None)
        process.join()
    finally:
        process.kill()
