"""features ──generator──▶ phones, what learning without labels costs: an update beside stock's structure.

    python benchmarks/wav2vec_u.py

The other side is stock's `wav2vec_u` told again in plain words: runs are joined row by row on the
processor, both networks have gradients in every update and are clipped together, and one of them steps.
Ours joins all rows at once and computes what steps alone. Both have the sizes of w2vu.yaml, the same
weights and batches; the losses of the first two updates must agree, or it stops.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vqw2v_plugin.modules.layers.padding import padding
from vqw2v_plugin.modules.unpaired import losses
from vqw2v_plugin.modules.unpaired.config import UnpairedConfig
from vqw2v_plugin.modules.unpaired.network import UnpairedNetwork, one_hot

SIZES = {
    "w2vu": UnpairedConfig(),
    "toy": UnpairedConfig(32, 10, 1, discriminator_dim=32, discriminator_kernel=3),
}
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def batch_of(config: UnpairedConfig, size: int, frames: int, number: int) -> Batch:
    """Utterances of half to all of so many frames, in which neighbours are alike, and lines as long."""
    generator = torch.Generator().manual_seed(number)
    lengths = torch.randint(frames // 2, frames + 1, (size,), generator=generator)
    x = torch.randn(size, frames, config.input_dim, generator=generator)
    x = x.view(size, -1, 2, config.input_dim)[:, :, :1].expand(-1, -1, 2, -1).reshape(size, frames, -1)
    x = x.masked_fill(padding(lengths, frames).unsqueeze(2), 0.0)
    text = torch.randint(config.num_columns, (size, frames), generator=generator)
    return x, lengths, text, lengths


def joined_by_rows(logits: Tensor, lengths: Tensor, at_random: bool) -> tuple[Tensor, Tensor]:
    """As stock does it."""
    best = logits.argmax(-1)
    best[padding(lengths, logits.size(1))] = -1
    found = [row.cpu().unique_consecutive(return_inverse=True, return_counts=True) for row in best]
    most = max(len(kinds) for kinds, _, _ in found)
    joined = logits.new_zeros(len(logits), most, logits.size(2))
    counts = torch.zeros(len(logits), dtype=torch.long)
    for b, (kinds, where, sizes) in enumerate(found):
        if at_random:
            first = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)[:-1]])
            first = first + (sizes * torch.rand(len(sizes))).long()
            joined[b, : len(kinds)] = logits[b, first]
        else:
            joined[b].index_add_(0, where, logits[b])
            joined[b, : len(sizes)] = joined[b, : len(sizes)] / sizes.unsqueeze(1)
        counts[b] = int((kinds != -1).sum())
        joined[b, counts[b] :] = 0
    return joined, counts


def plain_loss(network: UnpairedNetwork, batch: Batch, number: int) -> Tensor:
    """Both networks in every update."""
    config, (x, lengths, text, text_lengths) = network.config, batch
    made = network.generator(x, lengths)
    logits, counts = joined_by_rows(made.logits, made.lengths, not config.mean_pool_join)
    generated, size = logits.softmax(-1), len(x)
    real = one_hot(text, text_lengths, config.num_columns, x.dtype)
    of_generated = network.discriminator(generated, counts)
    of_text = network.discriminator(real, text_lengths)
    if number % 2:
        loss = losses.taken_for(of_generated, 1.0) + losses.taken_for(of_text, 0.0)
        part, other, _ = losses.common_part(real, text_lengths, generated, counts)
        share = torch.rand(size)
        penalty = losses.gradient_penalty(network.discriminator, part, other, share)
        return loss + config.gradient_penalty * penalty
    loss = losses.taken_for(of_generated, 0.0)
    loss = loss + losses.diversity(generated.flatten(0, 1)) * size * config.code_penalty
    return loss + losses.smoothness(logits, counts, True) * size * config.smoothness_weight


def our_loss(network: UnpairedNetwork, batch: Batch, number: int) -> Tensor:
    x, lengths, text, text_lengths = batch
    if number % 2:
        return network.discriminator_step(x, lengths, text, text_lengths).loss
    return network.generator_step(x, lengths).loss


class Side:
    """One network with its two optimizers."""

    def __init__(self, config: UnpairedConfig, loss: Callable[[UnpairedNetwork, Batch, int], Tensor]) -> None:
        torch.manual_seed(0)
        self.network, self.loss = UnpairedNetwork(config).train(), loss
        parts: list[nn.Module] = [self.network.generator, self.network.discriminator]
        self.adams = [
            torch.optim.Adam(part.parameters(), lr, (0.5, 0.98), 1e-6)
            for part, lr in zip(parts, (4e-4, 5e-4), strict=True)
        ]

    def update(self, batch: Batch, number: int) -> tuple[float, float]:
        """Its loss, and the seconds it took."""
        begin = time.perf_counter()
        torch.manual_seed(number)
        self.network.zero_grad()
        loss = self.loss(self.network, batch, number)
        (loss / len(batch[0])).backward()  # type: ignore[no-untyped-call]
        held = [p for p in self.network.parameters() if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(held, 5.0)
        self.adams[number % 2].step()
        return float(loss.detach()) / len(batch[0]), time.perf_counter() - begin


def check(config: UnpairedConfig, size: int, frames: int) -> None:
    """Without anything that is drawn, both sides say the same."""
    same = replace(config, generator_dropout=0.0, mean_pool_join=True, stock_padding=True)
    sides = [Side(same, plain_loss), Side(same, our_loss)]
    for number in (0, 1):
        batch = batch_of(config, size, frames, number)
        said = [side.update(batch, number)[0] for side in sides]
        if not math.isclose(*said, rel_tol=1e-3):
            raise SystemExit(f"wav2vec_u.py: error: the losses of update {number} differ: {said}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--size", choices=SIZES, default="w2vu", help="of the networks (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=160, help="utterances (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=80, help="of the longest (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="updates of each network (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    if min(args.batch, args.pairs, args.threads) < 1 or args.frames < 4 or args.frames % 2:
        print(
            "wav2vec_u.py: error: numbers are from 1 up, `--frames` is even and at least 4", file=sys.stderr
        )
        return 2
    torch.set_num_threads(args.threads)
    config = SIZES[args.size]
    load = os.getloadavg()[0]
    check(config, args.batch, args.frames)
    sides = {"stock's structure": Side(config, plain_loss), "ours": Side(config, our_loss)}
    taken: dict[str, list[list[float]]] = {name: [[], []] for name in sides}
    for number in range(2, 2 + 2 * args.pairs):
        batch = batch_of(config, args.batch, args.frames, number)
        for name, side in sides.items():
            taken[name][number % 2].append(side.update(batch, number)[1])
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} thread, "
        f"load {load:.1f} before the run; {args.size}, {args.batch} utterances of up to {args.frames} "
        "frames, fp32\n"
    )
    print("| update of the | stock's structure, s | ours, s | ratio |\n| --- | --- | --- | --- |")
    for turn, learns in enumerate(("generator", "adversary")):
        stock, ours = (statistics.median(taken[name][turn]) for name in sides)
        print(f"| {learns} | {stock:.3f} | {ours:.3f} | {stock / ours:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
