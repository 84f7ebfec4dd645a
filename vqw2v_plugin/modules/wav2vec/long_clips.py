"""wav ──encoder──▶ z ──quantizer──▶ tokens, for evaluation: a clip in pieces, however long, none cut off.

Group norm runs over a clip's whole time, so each layer's statistics are gathered in a pass of its own. A
layer's outputs are kept for the next pass where they fit into `memory`, and computed once more where they do
not: both give the same bits, since where pieces begin depends on the clip's length alone. Pieces stay in the
processor's cache, which is why this is also the quickest way for short clips.
Shapes: S samples, T frames, n frames of a piece, C channels in, O channels out, k taps, s stride, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.conv import fold, has_matrix_units
from ..layers.norm import ClipNorm, Moments, clip_norm
from ..quantizers.base import Quantizer
from ..quantizers.kmeans import KmeansQuantizer
from .encoder import Encoder

MEMORY = 2**30  # bytes of one layer's outputs
_SAMPLES = {"cpu": 10_240, "cuda": 2**20}  # in a piece
_FRAMES = {"cpu": 256, "cuda": 2**14}  # of a later layer's piece, at least
Pieces = Iterator[Tensor]


class PieceEncoder:
    """An encoder's weights as its pieces want them; calls share nothing else, so threads may share this."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype, memory: int = MEMORY) -> None:
        if encoder.skip_connections:
            raise ValueError("`skip_connections_feat` is on: such residuals are spaced by the whole clip")
        self.encoder, self.dtype, self.memory = encoder, dtype, memory
        self.first = _First(encoder.layers[0], dtype)
        self.stages = [_Stage.of(layer, dtype) for layer in list(encoder.layers)[1:]]

    @torch.no_grad()
    def z(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        clip = _Clip(self, wav, self.stages)
        return torch.cat([self._compress(piece) for piece in clip.states()])

    @torch.no_grad()
    def codes(self, wav: Tensor, quantizer: Quantizer) -> Tensor:  # [S] → [T, G]
        """The quantizer works in fp32, and on pieces where it looks at each frame alone, as Gumbel's does."""
        if isinstance(quantizer, KmeansQuantizer):  # its group norm runs over time too: one more layer
            clip = _Clip(self, wav, [*self.stages, _Projection(quantizer, self._compress)])
            parts = [quantizer.nearest(projected[None])[0] for projected in clip.states()]
        elif quantizer.by_frame:
            clip = _Clip(self, wav, self.stages)
            parts = [quantizer.encode(self._compress(z)[None])[0] for z in clip.states()]
        else:
            parts = [quantizer.encode(self.z(wav)[None])[0]]
        return torch.cat(parts)

    def _compress(self, z: Tensor) -> Tensor:
        if not self.encoder.log_compression:
            return z.float()
        return (z.float() if self.encoder.never_negative else z.float().abs()).add(1).log()


class _Clip:
    """One clip on its way through the layers: norms found so far, and what is kept of the layer before."""

    def __init__(self, owner: PieceEncoder, wav: Tensor, stages: list[_Stage]) -> None:
        self.wav, self.stages, self.memory = wav, stages, owner.memory
        self.kind = "cpu" if wav.device.type == "cpu" else "cuda"
        self.first = owner.first.normed(self._patches(owner.first), wav)
        self.norms: list[ClipNorm] = []
        self.kept: dict[int, list[Tensor]] = {}
        self.frames = [owner.first.frames(len(wav))]

    def states(self) -> Pieces:
        """What the last layer gives, normed and activated."""
        for i, stage in enumerate(self.stages):
            self.frames.append((self.frames[-1] - stage.taps) // stage.stride + 1)
            keep = self.frames[-1] * stage.num_bytes <= self.memory
            pieces, moments = [], Moments(stage.norm.num_groups)
            for y in self._outputs(i):
                moments.add(y)
                if keep:
                    pieces.append(y)
            if keep:
                self.kept = {i: pieces}
            self.norms.append(moments.norm(stage.norm))
        last = len(self.stages) - 1
        for y in self._outputs(last) if self.stages else self._first_outputs():
            yield self.stages[last].finish(y, self.norms[last]) if self.stages else y

    def _outputs(self, i: int) -> Pieces:  # [n, O]
        """Layer i's convolution, before its norm."""
        if i in self.kept:
            yield from self.kept[i]
            return
        stage = self.stages[i]
        below = self._first_outputs() if i == 0 else self._finished(i - 1)
        rest: list[Tensor] = []
        held = skip = 0
        wanted = (_FRAMES[self.kind] - 1) * stage.stride + stage.taps
        left = self.frames[i]
        for x in below:
            left -= len(x)
            x, skip = x[skip:], max(0, skip - len(x))
            rest.append(x)
            held += len(x)
            if held < stage.taps or (held < wanted and left):
                continue
            whole = torch.cat(rest) if len(rest) > 1 else x
            y = stage.convolve(whole)
            rest, skip = [whole[len(y) * stage.stride :]], max(0, len(y) * stage.stride - len(whole))
            held = len(rest[0])
            yield y

    def _finished(self, i: int) -> Pieces:
        for y in self._outputs(i):
            yield self.stages[i].finish(y, self.norms[i])

    def _first_outputs(self) -> Pieces:
        for patches in self._patches(self.first.first):
            yield self.first(patches)

    def _patches(self, first: _First) -> Pieces:  # [n, k]
        """What each frame of the first layer sees."""
        hop = _SAMPLES[self.kind] // first.stride
        patches = self.wav.unfold(0, first.taps, first.stride)  # [T, k]
        for start in range(0, len(patches), hop):
            yield patches[start : start + hop]


class _Stage:
    """A layer behind the first: a convolution as products of matrices, group norm, activation."""

    def __init__(
        self,
        weights: list[Tensor],
        taps: int,
        stride: int,
        norm: nn.GroupNorm,
        activation: Callable[[Tensor], Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.taps, self.stride, self.norm, self.activation, self.dtype = taps, stride, norm, activation, dtype
        self.weights = [weight.contiguous().to(dtype) for weight in weights]  # k/s of [s·C, O]
        # y₀ = W₀x₀ + W₁x₁ and y₁ = W₀x₁ + W₁x₂ share (W₀ + W₁)x₁: three products for four
        self.both = None
        on_cpu = weights[0].device.type == "cpu"
        if len(weights) == 2 and (dtype != torch.bfloat16 or (on_cpu and not has_matrix_units())):
            self.both = (weights[0] + weights[1]).contiguous().to(dtype)
        self.num_bytes = weights[0].size(1) * self.weights[0].element_size()  # of a frame

    @classmethod
    def of(cls, layer: nn.Module, dtype: torch.dtype) -> _Stage:
        conv: nn.Conv1d = layer.conv  # type: ignore[assignment]
        folded = fold(conv.weight.detach(), conv.stride[0])  # [O, s·C, k/s]
        weights = [tap.T for tap in folded.unbind(2)]
        return cls(weights, conv.kernel_size[0], conv.stride[0], layer.norm, layer.activation, dtype)  # type: ignore[arg-type]

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

    def finish(self, y: Tensor, norm: ClipNorm) -> Tensor:
        """Norm and activation, in fp32."""
        scale, shift = norm.scale.to(y.device), norm.shift.to(y.device)
        return self.activation((y.float() * scale).add_(shift))


class _Projection(_Stage):
    """The k-means quantizer's projection of z, each group's for itself, and its norm, in fp32."""

    def __init__(self, quantizer: KmeansQuantizer, compress: Callable[[Tensor], Tensor]) -> None:
        weight = quantizer.projection.weight.detach().squeeze(2)  # [O, C / G]
        groups = [part.T for part in weight.chunk(quantizer.num_groups)]
        super().__init__(groups[:1], 1, 1, quantizer.norm, nn.Identity(), torch.float32)
        self.groups, self.compress = groups, compress
        self.num_bytes = weight.size(0) * 4

    def convolve(self, x: Tensor) -> Tensor:  # [n, C] → [n, O]
        parts = self.compress(x).chunk(len(self.groups), 1)
        return torch.cat([part @ weight for part, weight in zip(parts, self.groups, strict=True)], 1)


class _First:
    """The first layer, with one channel in: sums over the samples give its norm, so it is passed but once."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        conv: nn.Conv1d = layer.conv  # type: ignore[assignment]
        self.taps, self.stride, self.dtype = conv.kernel_size[0], conv.stride[0], dtype
        self.weight = conv.weight.detach().squeeze(1)  # [O, k]
        self.norm: nn.GroupNorm = layer.norm  # type: ignore[assignment]
        self.activation: Callable[[Tensor], Tensor] = layer.activation  # type: ignore[assignment]

    def frames(self, samples: int) -> int:
        return (samples - self.taps) // self.stride + 1

    def normed(self, pieces: Pieces, wav: Tensor) -> _FirstNormed:
        total = torch.zeros(self.taps, dtype=torch.float64, device=wav.device)
        products = torch.zeros(self.taps, self.taps, dtype=torch.float64, device=wav.device)
        count = 0
        for piece in pieces:
            patches = piece.double()  # [n, k]
            total += patches.sum(0)
            products += patches.T @ patches
            count += len(patches)
        weight, mean = self.weight.double(), total / count  # [O, k], [k]
        means = weight @ mean  # [O]
        squares = ((weight @ (products / count)) * weight).sum(1)  # [O], E[y²]
        variance = squares.mean() - means.mean().square()
        norm = clip_norm(means.mean()[None].cpu(), variance.clamp_min(0)[None].cpu(), self.norm)
        scale, shift = (part.to(wav.device)[:, None] for part in (norm.scale, norm.shift))
        filters = torch.cat([self.weight * scale, shift], 1)
        return _FirstNormed(self, filters)


class _FirstNormed:
    """Norm and convolution in one: the last tap is the shift, on a constant 1."""

    def __init__(self, first: _First, filters: Tensor) -> None:  # [O, k + 1]
        self.first = first
        self.fill = -filters.size(1) % 16  # odd sizes of matrices are slow
        self.filters = F.pad(filters, (0, self.fill)).T.contiguous().to(first.dtype)  # [k + 1 + fill, O]

    def __call__(self, patches: Tensor) -> Tensor:  # [n, k] → [n, O]
        x = F.pad(torch.cat([patches, patches.new_ones(len(patches), 1)], 1), (0, self.fill))
        return self.first.activation(x.to(self.first.dtype) @ self.filters)
