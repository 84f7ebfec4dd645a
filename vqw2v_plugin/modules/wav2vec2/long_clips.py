"""wav ──encoder──▶ z ──▶ states of one clip, for evaluation: however long it is, in bounded pieces.

z, and so the codes, are those of the whole clip: the group norm's moments are gathered first, and a piece
hears all that its frames see. The Transformer would need time and memory with the square of a clip's length,
for more than it has ever heard at once: beyond a minute it goes over windows, and of each the middle is kept,
which has heard five seconds on either side. Clips of up to a minute are heard whole.
Shapes: S samples, T frames, n frames of a piece, k taps, C channels, D model.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .encoder import ConvEncoder, EncoderBlock
from .network import Heard, Wav2Vec2

WHOLE = 3_000  # frames that are heard at once: a minute
MARGIN = 250  # of these on either side of what is kept
PIECE = 1_000  # frames of z at a time


def states_of_clip(network: Wav2Vec2, wav: Tensor, depth: int | None = None) -> Tensor:  # [S] → [T, D]
    """Of the last layer, or the `depth`-th."""
    if network.encoder.geometry.frames(len(wav)) <= WHOLE:
        return network.states(wav[None], depth=depth)[0][-1]
    x = network.projected(heard_in_pieces(network, wav))[0]  # [T, D]
    out = torch.empty_like(x)
    for begin, end, kept in windows(len(x)):
        states = network.transformer.states(x[begin:end], [end - begin], depth)[-1]
        out[kept] = states[kept.start - begin : kept.stop - begin]
    return out


def windows(frames: int) -> Iterator[tuple[int, int, slice]]:
    """What is heard, from where to where, and what is kept of it."""
    step = WHOLE - 2 * MARGIN
    for first in range(0, frames, step):
        begin = max(0, min(first - MARGIN, frames - WHOLE))
        yield begin, min(begin + WHOLE, frames), slice(first, min(first + step, frames))


@torch.no_grad()
def heard_in_pieces(network: Wav2Vec2, wav: Tensor) -> Heard:  # [S]
    """z of the whole clip, 0.1 MB a second for BASE."""
    encoder = network.encoder
    if encoder.geometry.frames(len(wav)) <= WHOLE:
        return network.hear(wav[None])
    z, powers = [], []
    for x in _pieces(encoder, wav):
        wide = x if x.dtype == torch.float64 else x.float()
        z.append(network.norm(x))
        powers.append(wide.square().mean(-1))
    return Heard(torch.cat(z), [sum(map(len, z))], torch.cat(powers))


def _pieces(encoder: ConvEncoder, wav: Tensor) -> Iterator[Tensor]:  # [n, C]
    geometry, (first, *others) = encoder.geometry, encoder.blocks
    gain = _gain(first, wav)
    frames = geometry.frames(len(wav))
    for begin in range(0, frames, PIECE):
        size = min(PIECE, frames - begin)
        samples = (size - 1) * geometry.stride + geometry.receptive_field
        start = begin * geometry.stride
        x = wav[None, None, start : start + samples]
        if gain is None:
            x = first(x, None)
        else:
            y = first.conv(x)
            x = F.gelu((y.to(gain[0].dtype) * gain[0]).add_(gain[1]).to(y.dtype))
        for block in others:
            x = block(x, None)
        yield x[0].T


def _gain(first: EncoderBlock, wav: Tensor) -> tuple[Tensor, Tensor] | None:
    """A first layer's norm over the clip's time, as a factor and a summand of each channel [C, 1]."""
    norm = first.over_time
    if norm is None:
        return None
    taps, stride = first.conv.kernel_size[0], first.conv.stride[0]
    patches = wav.unfold(0, taps, stride)  # [T, k]
    total = torch.zeros(taps, dtype=torch.float64, device=wav.device)
    products = torch.zeros(taps, taps, dtype=torch.float64, device=wav.device)
    for piece in torch.split(patches, 16 * PIECE):
        wide = piece.double()
        total += wide.sum(0)
        products += wide.T @ wide
    centre = total / len(patches)  # [k]
    covariance = products / len(patches) - torch.outer(centre, centre)
    weight = first.conv.weight.detach().squeeze(1).double()  # [C, k]
    variance = ((weight @ covariance) * weight).sum(1)
    means = weight @ centre if first.conv.bias is None else weight @ centre + first.conv.bias.double()
    scale = (variance + norm.eps).rsqrt() * norm.weight.detach().double()
    shift = norm.bias.detach().double() - means * scale
    wide_type = torch.promote_types(wav.dtype, torch.float32)
    return scale[:, None].to(wide_type), shift[:, None].to(wide_type)
