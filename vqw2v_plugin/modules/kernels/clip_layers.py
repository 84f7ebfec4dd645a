"""wav → z for evaluation: the layers of the encoder over pieces of one clip, whose group norms see all of it.

A layer is passed twice: once for its norm's statistics, and once for what comes of them.
Shapes: S samples, T frames, n frames of a piece, C channels in, O channels out, k taps, s stride, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import fold, has_matrix_units
from .first_layers import norm_of_patches

Activation = Callable[[Tensor], Tensor]
Pieces = Iterator[Tensor]


@dataclass(frozen=True)
class ClipNorm:
    """A group norm whose statistics are known: one multiplication and one addition a channel."""

    scale: Tensor  # [O]
    shift: Tensor  # [O]


class Moments:
    """Mean and variance of a layer's outputs, piece by piece, each group's for itself."""

    def __init__(self, groups: int, device: torch.device | None = None) -> None:
        self.groups, self.count = groups, 0
        self.mean = torch.zeros(
            groups, dtype=torch.float64, device=device
        )  # stays there: nobody waits for it
        self.spread = torch.zeros_like(self.mean)

    def add(self, y: Tensor) -> None:  # [n, O]
        parts = y.float().view(len(y), self.groups, -1).transpose(0, 1).reshape(self.groups, -1)
        size = parts.size(1)
        mean = parts.mean(1, keepdim=True)
        apart = parts - mean
        # the piece's mean in fp32 is not quite its mean: what it is off is put right in fp64
        off, spread = apart.sum(1).double() / size, apart.square().sum(1).double()
        here = mean[:, 0].double() + off
        total = self.count + size
        step = here - self.mean
        self.spread += spread - size * off.square() + step.square() * (self.count * size / total)
        self.mean += step * (size / total)
        self.count = total

    def norm(self, norm: nn.GroupNorm) -> ClipNorm:
        each = norm.num_channels // norm.num_groups
        gain = (self.spread / self.count + norm.eps).rsqrt()
        gain = gain.unsqueeze(1).expand(-1, each).flatten()  # [O]
        scale = gain if norm.weight is None else gain * norm.weight.detach().double()
        shift = -self.mean.unsqueeze(1).expand(-1, each).flatten() * scale
        if norm.bias is not None:
            shift = shift + norm.bias.detach().double()
        return ClipNorm(scale.float(), shift.float())


class ClipLayer:
    """A layer behind the first: `convolve`, then group norm and activation in `finish`."""

    taps = stride = 1

    def __init__(self, norm: nn.GroupNorm, activation: Activation, frame_bytes: int) -> None:
        self.norm, self.activation = norm, activation
        self.frame_bytes = frame_bytes  # of an output frame, where it is kept

    def convolve(self, x: Tensor) -> Tensor:  # [≥ k, C] → [n, O]
        raise NotImplementedError

    def finish(self, y: Tensor, norm: ClipNorm) -> Tensor:  # [n, O]
        """Norm and activation, in fp32."""
        return self.activation((y.float() * norm.scale).add_(norm.shift))


class ClipMap(ClipLayer):
    """Any map of single frames, in fp32, and no activation."""

    def __init__(self, convolve: Callable[[Tensor], Tensor], norm: nn.GroupNorm) -> None:
        super().__init__(norm, nn.Identity(), norm.num_channels * 4)
        self.map = convolve

    def convolve(self, x: Tensor) -> Tensor:  # [n, C] → [n, O]
        return self.map(x)


class ClipConv(ClipLayer):
    """A convolution without bias, as products of matrices."""

    def __init__(
        self, conv: nn.Conv1d, norm: nn.GroupNorm, activation: Activation, dtype: torch.dtype
    ) -> None:
        self.taps, self.stride, self.dtype = conv.kernel_size[0], conv.stride[0], dtype
        folded = fold(conv.weight.detach(), self.stride)  # [O, s·C, k/s]
        weights = [tap.T for tap in folded.unbind(2)]
        self.weights = [weight.contiguous().to(dtype) for weight in weights]  # k/s of [s·C, O]
        # y₀ = W₀x₀ + W₁x₁ and y₁ = W₀x₁ + W₁x₂ share (W₀ + W₁)x₁: three products for four
        self.both = None
        on_cpu = conv.weight.device.type == "cpu"
        if len(weights) == 2 and (dtype != torch.bfloat16 or (on_cpu and not has_matrix_units())):
            self.both = (weights[0] + weights[1]).contiguous().to(dtype)
        super().__init__(norm, activation, conv.out_channels * self.weights[0].element_size())

    def convolve(self, x: Tensor) -> Tensor:  # [≥ k, C] → [n, O]
        frames = (len(x) - self.taps) // self.stride + 1
        rows = frames - 1 + len(self.weights)
        x = x.to(self.dtype)
        missing = rows * self.stride - len(x)
        x = F.pad(x, (0, 0, 0, missing)) if missing > 0 else x[: rows * self.stride]
        x = x.reshape(rows, -1)  # [rows, s·C]
        if self.both is not None and frames > 1:
            return self._in_pairs(x, frames, self.both)
        y = x[:frames] @ self.weights[0]
        for i, weight in enumerate(self.weights[1:], 1):
            y = torch.addmm(y, x[i : i + frames], weight)
        return y

    def _in_pairs(self, x: Tensor, frames: int, both: Tensor) -> Tensor:
        pairs = frames // 2
        before, middle, after = x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2], x[2 : 2 * pairs + 1 : 2]
        shared = middle @ both  # [n / 2, O]
        y = shared.new_empty(frames, shared.size(1))
        y[0 : 2 * pairs : 2] = torch.addmm(shared, before - middle, self.weights[0])
        y[1 : 2 * pairs : 2] = torch.addmm(shared, after - middle, self.weights[1])
        if frames % 2:
            y[-1:] = torch.addmm(x[-2:-1] @ self.weights[0], x[-1:], self.weights[1])
        return y


class ClipFirst:
    """The first layer, with one channel in: sums over the samples give its norm, so outputs are made once."""

    def __init__(
        self, conv: nn.Conv1d, norm: nn.GroupNorm, activation: Activation, dtype: torch.dtype
    ) -> None:
        self.taps, self.stride, self.dtype = conv.kernel_size[0], conv.stride[0], dtype
        self.weight = conv.weight.detach().squeeze(1)  # [O, k]
        self.norm, self.activation = norm, activation

    def frames(self, samples: int) -> int:
        return (samples - self.taps) // self.stride + 1

    def normed(self, pieces: Pieces, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Convolution, norm and activation of patches [n, k], in one product: → [n, O]."""
        total = torch.zeros(self.taps, dtype=torch.float64, device=device)
        products = torch.zeros(self.taps, self.taps, dtype=torch.float64, device=device)
        count = 0
        for piece in pieces:
            patches = piece.double()  # [n, k]
            total += patches.sum(0)
            products += patches.T @ patches
            count += len(patches)
        centre = total / count  # [k]
        covariance = products / count - torch.outer(centre, centre)
        gain, shift = norm_of_patches(centre, covariance, self.weight.double(), self.norm)  # [O] each
        filters = torch.cat([self.weight * gain.float()[:, None], shift.float()[:, None]], 1)
        fill = -filters.size(1) % 16  # odd sizes of matrices are slow
        filters = F.pad(filters, (0, fill)).T.contiguous().to(self.dtype)  # [k + 1 + fill, O]

        def convolve(patches: Tensor) -> Tensor:
            """The last tap is the shift, on a constant 1."""
            x = F.pad(torch.cat([patches, patches.new_ones(len(patches), 1)], 1), (0, fill))
            return self.activation(x.to(self.dtype) @ filters)

        return convolve
