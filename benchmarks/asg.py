"""states ──acoustic model──▶ letters, what learning it costs: ASG's loss against torch's CTC, in one run.

Both get the same emissions, lengths and targets, and run forward and backward, taking turns, so that they
share what else the machine does. `--wide` gives ASG scores that only its slower scan can sum.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vqw2v_plugin.modules.acoustic.asg import ASG

WIDE = 1000.0


def make_steps(args: argparse.Namespace) -> dict[str, Callable[[], Tensor]]:
    """name → one forward and backward pass; returns the losses [B]."""
    torch.manual_seed(1)
    emissions = torch.randn(args.batch, args.frames, args.labels)
    if args.wide:
        emissions[:, 0, 0] = WIDE
    emissions = emissions.to(args.device).requires_grad_()
    hops = torch.randint(1, args.labels - 1, (args.batch, args.length))
    targets = 1 + hops.cumsum(1) % (args.labels - 1)  # no label 0, CTC's blank, and no two equal neighbours
    lengths = torch.full((args.batch,), args.frames)
    target_lengths = torch.full((args.batch,), args.length)
    asg = ASG(args.labels).to(args.device)
    targets = targets.to(args.device)

    def ctc() -> Tensor:
        log_probs = emissions.log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(log_probs, targets, lengths, target_lengths, reduction="none")

    def ours() -> Tensor:
        return asg(emissions, lengths, targets, target_lengths)

    def step(loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def both_passes() -> Tensor:
            emissions.grad = asg.transitions.grad = None
            losses = loss()
            losses.sum().backward()
            if args.device != "cpu":
                torch.cuda.synchronize()
            return losses.detach()

        return both_passes

    return {"torch ctc_loss": step(ctc), "ASG": step(ours)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, value in {
        "batch": 16,
        "frames": 1000,
        "labels": 31,
        "length": 100,
        "rounds": 20,
        "threads": 2,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--wide", action="store_true", help="scores that span more than exp can hold")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"B = {args.batch}, T = {args.frames}, V = {args.labels}, L = {args.length}; "
        f"torch {torch.__version__}, {args.device}, {args.threads} of {os.cpu_count()} threads, "
        f"{platform.machine()}, load {os.getloadavg()[0]:.1f}"
    )
    steps = make_steps(args)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.rounds + 1):
        for name, step in steps.items():
            begun = time.perf_counter()
            losses = step()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - begun)
            assert losses.isfinite().all(), name
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        low, median, high = (1e3 * x for x in (min(times), medians[name], max(times)))
        print(f"{name:>15}: median {median:.1f} ms, {low:.1f} to {high:.1f}")
    ratio = medians["ASG"] / medians["torch ctc_loss"]
    print(f"{'ratio':>15}: {ratio:.2f} of the medians; expected at most 2")


if __name__ == "__main__":
    main()
