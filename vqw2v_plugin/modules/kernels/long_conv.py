"""states: a grouped convolution with many taps, by way of its spectrum, as training computes it.

The products of 128 taps are 6 million a frame of BASE; over the spectra of stretches of 256 frames they are
a thirtieth of that. The sums are those of `F.conv1d`, rounded elsewhere; evaluation uses that.
Shapes: B batch, T frames, G groups of d channels, k taps, n stretches, F frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import devices

_BLOCK = 16  # frames: a ninth of the products are with zeros, where there are 128 taps
_STRETCH = 256  # frames, of which k − 1 are also the next one's
_FEWEST_FRAMES = 600  # of a batch, for which the spectrum of the weights is made no quicker than the products


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
    with torch.autocast(x.device.type, enabled=False):
        padded = F.pad(x.to(wide), (0, 0, left, stretches * hop + taps - 1 - frames - left))
        heard = torch.fft.rfft(padded.unfold(1, _STRETCH, hop))  # [B, n, C, F]
        filters = torch.fft.rfft(weight.to(wide), _STRETCH).conj()  # [C, d, F]
        columns = heard.size(-1) * groups
        heard = heard.view(batch * stretches, groups, size, -1).permute(3, 1, 0, 2)  # [F, G, B·n, d]
        filters = filters.view(groups, size, size, -1).permute(3, 0, 2, 1)  # [F, G, d in, d out]
        found = torch.bmm(
            heard.reshape(columns, -1, size), filters.reshape(columns, size, size)
        )  # [F·G, B·n, d]
        found = found.view(-1, groups, batch * stretches, size).permute(2, 1, 3, 0)  # [B·n, G, d, F]
        y = torch.fft.irfft(found, _STRETCH)[..., :hop]  # [B·n, G, d, hop]: those without a wrap
    y = y.reshape(batch, stretches, dim, hop).transpose(2, 3).reshape(batch, -1, dim)  # [B, n·hop, C]
    whole: Tensor = y[:, :frames].to(x.dtype)
    return whole
