"""How encoder and quantizer learn: whether they do, by the last updates of a training.

Shapes: B batch, T frames, N of all utterances one after the other, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..kernels import devices
from ..kernels.kept import kept
from ..layers.ranks import sum_over_ranks
from .health import MEMORY


class LearningSigns:
    """Sums over the last updates and over all ranks; a run that is resumed begins them anew."""

    def __init__(self) -> None:
        self._window: Tensor | None = None  # [6]
        self._pending: Tensor | None = None

    @torch.no_grad()
    def add(self, correct: Tensor, num_predictions: int, z: Tensor, c: Tensor) -> None:  # [], [B, T, C] both
        """One batch; it takes effect with the end of the update."""
        powers = _powers_at_once(z, c) if devices.is_gpu(z) else [*_power(z), *_power(c)]
        self.add_powers(correct, num_predictions, powers)

    @torch.no_grad()
    def add_powers(self, correct: Tensor, num_predictions: int, powers: Sequence[Tensor]) -> None:
        """The same where z's and c's powers are known: what varies over time, and all."""
        made = (_kept if devices.is_gpu(correct) else _number)(float(num_predictions), correct.device)
        sums = torch.stack([correct.float(), made, *powers])
        self._pending = sums if self._pending is None else self._pending + sums

    def discard(self) -> None:
        self._pending = None

    def end_update(self) -> None:
        if self._pending is None:
            return
        sums, self._pending = sum_over_ranks(self._pending), None
        self._window = sums if self._window is None else self._window * MEMORY + sums

    def shares(self) -> tuple[float, float, float] | None:
        """Accuracy, and how much of z's and of c's power varies over time; waits for the device."""
        if self._window is None:
            return None
        correct, made, z_varies, z, c_varies, c = self._window.tolist()
        return correct / max(made, 1.0), z_varies / max(z, 1e-30), c_varies / max(c, 1e-30)


def _number(value: float, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=torch.float32, device=device)


_kept = kept(8)(_number)  # the same for all batches of a size


def _power(x: Tensor) -> list[Tensor]:  # [B, T, C]
    """What of the mean square varies over time, and all of it."""
    wide = x.detach().float()
    total = wide.square().mean()
    return [total - wide.mean(1).square().mean(), total]


def _powers_at_once(z: Tensor, c: Tensor) -> list[Tensor]:
    """Both of z and of c, in few calls and without a copy in fp32."""
    means = [x.mean(1, dtype=torch.float32) for x in (z, c)]
    roots = [
        torch._foreach_norm(parts, 2, dtype=torch.float32) for parts in ([z.detach(), c.detach()], means)
    ]
    sizes = [float(x.numel()) for x in (z, c, *means)]
    powers = torch._foreach_div(torch._foreach_pow([*roots[0], *roots[1]], 2), sizes)
    varies = torch._foreach_sub(powers[:2], powers[2:])
    return [varies[0], powers[0], varies[1], powers[1]]


@torch.no_grad()
def packed_power(x: Tensor, lengths: Sequence[int]) -> list[Tensor]:  # [N, C]
    """Of utterances one after the other."""
    wide = x.detach().float()
    if devices.is_gpu(x):
        return _packed_at_once(wide, lengths)
    still = [
        part.mean(0).square().mean() * len(part) for part in torch.split(wide, list(lengths)) if len(part)
    ]
    total = wide.square().mean()
    return [total - torch.stack(still).sum() / len(wide), total]


def _packed_at_once(x: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """By one product with the means' weights: an utterance's mean and its share of all frames."""
    means = _membership(tuple(lengths), x.device) @ x  # [B, C], each mean × √(frames of it)
    total = x.square().mean()
    return [total - means.square().sum() / x.numel(), total]


@kept(maxsize=4)
def _membership(lengths: tuple[int, ...], device: torch.device) -> Tensor:  # [B, N]
    sizes = torch.tensor(lengths, device="cpu")
    owner = torch.arange(len(lengths), device="cpu").repeat_interleave(sizes)  # [N]
    rows = (torch.arange(len(lengths), device="cpu")[:, None] == owner).float()
    return (rows / sizes.clamp_min(1).sqrt()[:, None]).to(device, non_blocking=True)
