"""states: a grouped convolution with many taps, by way of its spectrum, as training computes it.

The products of 128 taps are 6 million a frame of BASE; over the spectra of stretches of 256 frames they are
a thirtieth of that. Spectra are products with cosines and sines, which on so few points are quicker than a
fast transform, as nothing changes its layout. The sums are those of `F.conv1d`, rounded elsewhere; evaluation
uses that.
Shapes: B batch, T frames, G groups of d channels, k taps, n stretches of L frames, F frequencies, real parts
and then imaginary ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from . import devices
from .kept import kept

_BLOCK = 16  # frames: a ninth of the products are with zeros, where there are 128 taps
_STRETCH = 256  # frames, of which k − 1 are also the next one's
_FEWEST_FRAMES = 400  # of a batch, for which the spectrum of the weights is made no quicker than the products


def pays(x: Tensor, weight: Tensor) -> bool:
    """Where the spectra are quicker than the products, on a CPU; elsewhere nobody has measured it yet."""
    enough = x.size(0) * x.size(1) >= _FEWEST_FRAMES and 32 <= weight.size(2) <= _STRETCH // 2
    return x.device.type == "cpu" and enough


def in_blocks_pays(x: Tensor, weight: Tensor) -> bool:
    """On a GPU, whose library has no quick kernel for so many taps of few channels."""
    return devices.is_gpu(x) and weight.size(2) >= 2 * _BLOCK


def block_conv(x: Tensor, weight: Tensor, groups: int) -> Tensor:  # [B, T, C], [C, d, k] → [B, T, C]
    """The same sums as one product of matrices a group: blocks of frames, times all that a block sees."""
    batch, frames, dim = x.shape
    taps, size = weight.size(2), dim // groups
    blocks, seen, left = -(-frames // _BLOCK), _BLOCK + taps - 1, taps // 2
    padded = F.pad(x, (0, 0, left, blocks * _BLOCK + taps - 1 - frames - left))
    heard = padded.view(batch, -1, groups, size).unfold(1, seen, _BLOCK)  # [B, n, G, d, seen]
    heard = heard.permute(2, 0, 1, 3, 4).reshape(groups, batch * blocks, size * seen)
    # windows of the taps between zeros: in the first one they stand last, as a block's last frame has them
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))  # whose gradients are summed so
    filters = F.pad(wide, (_BLOCK - 1, _BLOCK - 1)).unfold(2, seen, 1)  # [C, d, block, seen]
    filters = filters.view(groups, size, size, _BLOCK, seen).permute(0, 2, 4, 3, 1)
    filters = filters.to(x.dtype).contiguous()  # [G, d, seen, block, d out]
    y = torch.bmm(heard, filters.view(groups, size * seen, _BLOCK * size))  # [G, B·n, block·d]
    y = y.view(groups, batch, blocks, _BLOCK, size).flip(3)
    return y.permute(1, 2, 3, 0, 4).reshape(batch, blocks * _BLOCK, dim)[:, :frames]


def spectral_conv(x: Tensor, weight: Tensor, groups: int) -> Tensor:  # [B, T, C], [C, d, k] → [B, T, C]
    """y[t] = Σⱼ W[j] x[t + j − ⌊k / 2⌋], zeros beyond both ends."""
    batch, frames, dim = x.shape
    taps, size = weight.size(2), dim // groups
    wide = torch.promote_types(x.dtype, torch.float32)
    hop = _STRETCH - taps + 1
    stretches = -(-frames // hop)
    left = taps // 2
    waves, back = _waves(_STRETCH, _STRETCH, wide, x.device), _waves_back(_STRETCH, hop, wide, x.device)
    with torch.autocast(x.device.type, enabled=False):
        padded = F.pad(x.to(wide), (0, 0, left, stretches * hop + taps - 1 - frames - left))
        pieces = padded.unfold(1, _STRETCH, hop).transpose(2, 3)  # [B, n, L, C]
        heard = torch.matmul(waves, pieces)  # [B, n, 2F, C]
        heard = heard.view(batch * stretches, len(waves), groups, size).permute(1, 2, 3, 0)
        real, imaginary = heard.flatten(0, 1).contiguous().chunk(2)  # [F·G, d in, B·n] each
        taken = weight.to(wide).flatten(0, 1).T  # [k, C·d]
        a, b = (torch.mm(part, taken).view(-1, size, size) for part in waves[:, :taps].chunk(2))
        # [F·G, d out, d in] each; a spectrum's product with another's conjugate slides it the other way
        found = torch.cat(
            [torch.bmm(a, real).baddbmm(b, imaginary), torch.bmm(a, imaginary) - torch.bmm(b, real)]
        )  # [2F·G, d out, B·n]
        found = found.view(len(waves), groups, size, batch * stretches).permute(3, 0, 1, 2)
        y = torch.matmul(back, found.reshape(batch * stretches, len(waves), dim))  # [B·n, hop, C]
    whole: Tensor = y.view(batch, -1, dim)[:, :frames].to(x.dtype)
    return whole


@kept(8)
def _waves(size: int, points: int, dtype: torch.dtype, device: torch.device) -> Tensor:  # [2F, L]
    """Cosines, then −sines, of each frequency: a signal's spectrum is their product with it."""
    turns = torch.outer(torch.arange(size // 2 + 1), torch.arange(points)) % size
    angles = turns.double() * (2 * math.pi / size)
    return torch.cat([angles.cos(), -angles.sin()]).to(device, dtype)


@kept(8)
def _waves_back(size: int, points: int, dtype: torch.dtype, device: torch.device) -> Tensor:  # [L, 2F]
    """From a spectrum to the signal's first points: all but the outer frequencies stand for two."""
    weights = torch.full((size // 2 + 1, 1), 2 / size, dtype=torch.float64)
    weights[0] = weights[-1] = 1 / size
    waves = _waves(size, points, torch.float64, torch.device("cpu")) * weights.repeat(2, 1)
    return waves.T.contiguous().to(device, dtype)
