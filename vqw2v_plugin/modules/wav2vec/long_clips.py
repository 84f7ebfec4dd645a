"""wav ──encoder──▶ z ──quantizer──▶ tokens, for evaluation: a clip in pieces, however long, none cut off.

Group norm runs over a clip's whole time, so each layer's statistics are gathered in a pass of its own. A
layer's outputs are kept for the next pass where they fit into `memory`, and computed once more where they do
not: both give the same bits, since where pieces begin depends on the clip's length alone. Pieces stay in the
processor's cache, which is why this is also the quickest way for short clips.
Shapes: S samples, T frames, n frames of a piece, C channels in, O channels out, k taps, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..kernels.clip_layers import ClipConv, ClipFirst, ClipLayer, ClipMap, ClipNorm, Moments, Pieces
from ..kernels.rounding import exact
from ..quantizers.base import Quantizer
from .encoder import Encoder

MEMORY = 2**30  # bytes of one layer's outputs
_SAMPLES = {"cpu": 10_240, "cuda": 2**20}  # in a piece
_FRAMES = {"cpu": 256, "cuda": 2**14}  # of a later layer's piece, at least


class PieceEncoder:
    """An encoder's weights as its pieces want them; calls share nothing else, so threads may share this."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype, memory: int = MEMORY) -> None:
        if encoder.skip_connections:
            raise ValueError("`skip_connections_feat` is on: such residuals are spaced by the whole clip")
        self.encoder, self.dtype, self.memory = encoder, dtype, memory
        first, *others = encoder.blocks
        self.first = ClipFirst(first.conv, first.norm, first.activation, dtype)
        self.layers = [ClipConv(block.conv, block.norm, block.activation, dtype) for block in others]

    @torch.no_grad()
    def z(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        return torch.cat([self._compress(x) for x in _Clip(self, wav, self.layers).states()])

    @torch.no_grad()
    def codes(self, wav: Tensor, quantizer: Quantizer) -> Tensor:  # [S] → [T, G]
        """The quantizer works in fp32, and on pieces where it says how."""
        split = quantizer.split_encode()
        if split is None:
            z = self.z(wav)
            with exact(wav.device):
                return quantizer.encode(z[None])[0]

        def project(x: Tensor) -> Tensor:
            with exact(wav.device):
                return (split.project or nn.Identity())(self._compress(x))

        def choose(x: Tensor) -> Tensor:
            with exact(wav.device):
                return split.choose(x)

        if split.norm is None:
            clip = _Clip(self, wav, self.layers)
            return torch.cat([choose(project(x)) for x in clip.states()])
        clip = _Clip(self, wav, [*self.layers, ClipMap(project, split.norm)])  # one layer more
        return torch.cat([choose(projected) for projected in clip.states()])

    def _compress(self, x: Tensor) -> Tensor:
        return self.encoder.compress(x.float())


class _Clip:
    """One clip on its way through the layers: norms found so far, and what is kept of the layer before."""

    def __init__(self, owner: PieceEncoder, wav: Tensor, layers: Sequence[ClipLayer]) -> None:
        self.wav, self.layers, self.memory = wav, layers, owner.memory
        self.kind = "cpu" if wav.device.type == "cpu" else "cuda"
        self.taps, self.hop = owner.first.taps, owner.first.stride
        self.first = owner.first.normed(self._patches(), wav.device)
        self.norms: list[ClipNorm] = []
        self.kept: dict[int, list[Tensor]] = {}
        self.frames = [owner.first.frames(len(wav))]

    def states(self) -> Pieces:
        """What the last layer gives, normed and activated."""
        for i, layer in enumerate(self.layers):
            self.frames.append((self.frames[-1] - layer.taps) // layer.stride + 1)
            keep = self.frames[-1] * layer.frame_bytes <= self.memory
            pieces, moments = [], Moments(layer.norm.num_groups, self.wav.device)
            for y in self._outputs(i):
                moments.add(y)
                if keep:
                    pieces.append(y)
            if keep:
                self.kept = {i: pieces}
            self.norms.append(moments.norm(layer.norm))
        last = len(self.layers) - 1
        for y in self._outputs(last) if self.layers else self._first_outputs():
            yield self.layers[last].finish(y, self.norms[last]) if self.layers else y

    def _outputs(self, i: int) -> Pieces:  # [n, O]
        """Layer i's convolution, before its norm."""
        if i in self.kept:
            yield from self.kept[i]
            return
        layer = self.layers[i]
        below = self._first_outputs() if i == 0 else self._finished(i - 1)
        rest: list[Tensor] = []
        held = skip = 0
        wanted = (_FRAMES[self.kind] - 1) * layer.stride + layer.taps
        left = self.frames[i]
        for x in below:
            left -= len(x)
            x, skip = x[skip:], max(0, skip - len(x))
            rest.append(x)
            held += len(x)
            if held < layer.taps or (held < wanted and left):
                continue
            whole = torch.cat(rest) if len(rest) > 1 else x
            y = layer.convolve(whole)
            rest, skip = [whole[len(y) * layer.stride :]], max(0, len(y) * layer.stride - len(whole))
            held = len(rest[0])
            yield y

    def _finished(self, i: int) -> Pieces:
        for y in self._outputs(i):
            yield self.layers[i].finish(y, self.norms[i])

    def _first_outputs(self) -> Pieces:
        for patches in self._patches():
            yield self.first(patches)

    def _patches(self) -> Pieces:  # [n, k]
        """What each frame of the first layer sees."""
        patches = self.wav.unfold(0, self.taps, self.hop)  # [T, k]
        yield from torch.split(patches, _SAMPLES[self.kind] // self.hop)
