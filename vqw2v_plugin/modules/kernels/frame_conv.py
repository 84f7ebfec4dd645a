"""wav → z in training: one strided convolution over an utterance's frames, as products of matrices.

Taps are as wide as the stride, the last one narrower: x lies in memory as rows of s frames, and y[t] is the
sum of each tap's product with row t + j. Where there are two taps, three outputs share four narrow products,
which one by one are six (Toom and Cook, at 0, ∞, 1 and −1):

    y₀ = W₀x₀ + W₁x₁        p = (W₀ + W₁)/2 · (x₁ + x₂)        y₀ = W₀(x₀ − x₂) + p + q
    y₁ = W₀x₁ + W₁x₂        q = (W₀ − W₁)/2 · (x₂ − x₁)        y₁ = p − q
    y₂ = W₀x₂ + W₁x₃                                           y₂ = W₁(x₃ − x₁) + p + q

Shapes: n frames out, C channels in, O out, k taps, s stride; R = s·C, of a row, c of these in the last tap.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .conv import fold, unfold_grad

_FEWEST = 48  # frames out, for which three of them are made together


class FrameConv:
    """A weight as its products want it, and the gradient that it has had so far."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int) -> None:
        self.weight, self.bias, self.stride = weight, bias, stride
        self.taps, dim = weight.size(2), weight.size(1)
        self.row = stride * dim  # R
        folded = fold(weight, stride)  # [O, R, l]
        sizes = [min(self.row, (self.taps - j * stride) * dim) for j in range(folded.size(2))]
        self.parts = [folded[:, :size, j].contiguous() for j, size in enumerate(sizes)]  # [O, R or c]
        self.to_parts: list[Tensor] | None = None
        self._rooms: dict[str, Tensor] = {}
        self.shared = None
        if len(sizes) == 2 and sizes[1] < self.row:
            first, second = self.parts[0][:, : sizes[1]], self.parts[1]
            self.shared = ((first + second) / 2, (first - second) / 2)

    def rows(self, frames: int) -> int:
        """Frames of x that so many of y are made of."""
        return (frames - 1) * self.stride + self.taps

    def forward(self, x: Tensor, y: Tensor) -> None:  # [rows(n), C], into [n, O]
        done = self._threes(y)
        if done:
            self._forward_in_threes(x, y[:done])
        if done < len(y):
            self._forward_one_by_one(x[done * self.stride :], y[done:])

    def backward(self, x: Tensor, grad: Tensor) -> Tensor:  # [rows(n), C], [n, O] → [rows(n), C]
        """The gradient of x, which is to be used before the next call."""
        to_x = self.room("to_x", x).zero_()
        if self.to_parts is None:
            wide = torch.promote_types(x.dtype, torch.float32)
            self.to_parts = [torch.zeros_like(part, dtype=wide) for part in self.parts]
        done = self._threes(grad)
        if done:
            self._backward_in_threes(x, grad[:done], to_x)
        if done < len(grad):
            start = done * self.stride
            self._backward_one_by_one(x[start:], grad[done:], to_x[start:])
        return to_x

    def weight_grad(self) -> Tensor:  # [O, C, k]
        if self.to_parts is None:
            return torch.zeros_like(self.weight)
        whole = self.to_parts[0].new_zeros(self.weight.size(0), self.row, len(self.parts))
        for j, part in enumerate(self.to_parts):
            whole[:, : part.size(1), j] = part
        return unfold_grad(whole, self.weight, self.stride).to(self.weight)

    def room(self, name: str, like: Tensor) -> Tensor:
        """Of memory that is used again: what is new has to be asked of the system, page by page."""
        flat = self._rooms.get(name)
        if flat is None or flat.numel() < like.numel():
            flat = self._rooms[name] = like.new_empty(like.numel())
        return flat[: like.numel()].view(like.shape)

    def _threes(self, y: Tensor) -> int:
        return len(y) // 3 * 3 if self.shared is not None and len(y) >= _FEWEST else 0

    def _tap(self, x: Tensor, j: int, frames: int) -> Tensor:  # [n, R or c]
        size = self.parts[j].size(1)
        return x.as_strided((frames, size), (self.row, 1), x.storage_offset() + j * self.row)

    def _forward_one_by_one(self, x: Tensor, y: Tensor) -> None:
        _product(self.bias, self._tap(x, 0, len(y)), self.parts[0].T, y)
        for j, part in enumerate(self.parts[1:], 1):
            y.addmm_(self._tap(x, j, len(y)), part.T)

    def _backward_one_by_one(self, x: Tensor, grad: Tensor, to_x: Tensor) -> None:
        for j, part in enumerate(self.parts):
            self._tap(to_x, j, len(grad)).addmm_(grad, part)
            self._add(j, slice(None), grad, self._tap(x, j, len(grad)))

    def _rows_of_threes(self, x: Tensor, frames: int) -> list[Tensor]:
        """The first c numbers of rows 0, 1, 2 and 3 of each three: [n / 3, c]."""
        size, start = (frames // 3, self.parts[1].size(1)), x.storage_offset()
        return [x.as_strided(size, (3 * self.row, 1), start + i * self.row) for i in range(4)]

    def _forward_in_threes(self, x: Tensor, y: Tensor) -> None:
        assert self.shared is not None
        c = self.parts[1].size(1)
        _product(self.bias, self._tap(x, 0, len(y))[:, c:], self.parts[0][:, c:].T, y)
        x0, x1, x2, x3 = self._rows_of_threes(x, len(y))
        y0, y1, y2 = y.view(len(y) // 3, 3, -1).unbind(1)
        seen, p, q = self.room("seen", x0), self.room("p", y0), self.room("q", y0)
        torch.mm(torch.add(x1, x2, out=seen), self.shared[0].T, out=p)
        torch.mm(torch.sub(x2, x1, out=seen), self.shared[1].T, out=q)
        y1.add_(p).sub_(q)
        p.add_(q)
        y0.add_(torch.addmm(p, torch.sub(x0, x2, out=seen), self.parts[0][:, :c].T, out=q))
        y2.add_(p.addmm_(torch.sub(x3, x1, out=seen), self.parts[1].T))

    def _backward_in_threes(self, x: Tensor, grad: Tensor, to_x: Tensor) -> None:
        assert self.shared is not None and self.to_parts is not None
        c = self.parts[1].size(1)
        rest = self._tap(x, 0, len(grad))[:, c:]
        torch.mm(grad, self.parts[0][:, c:], out=self._tap(to_x, 0, len(grad))[:, c:])
        self._add(0, slice(c, None), grad, rest)
        x0, x1, x2, x3 = self._rows_of_threes(x, len(grad))
        g0, g1, g2 = grad.view(len(grad) // 3, 3, -1).unbind(1)
        seen, p, q = self.room("seen", x0), self.room("p", g0), self.room("q", g0)
        made, more = self.room("made", x0), self.room("more", x0)
        of_0, of_1, of_2, of_3 = self._rows_of_threes(to_x, len(grad))
        of_0.add_(torch.mm(g0, self.parts[0][:, :c], out=made))
        of_2.sub_(made)
        of_3.add_(torch.mm(g2, self.parts[1], out=made))  # the next three's row 0
        of_1.sub_(made)
        torch.add(g0, g2, out=p)
        torch.sub(p, g1, out=q)
        p.add_(g1)
        torch.mm(p, self.shared[0], out=made)
        torch.mm(q, self.shared[1], out=more)
        of_1.add_(made).sub_(more)
        of_2.add_(made).add_(more)
        self._add(0, slice(c), g0, torch.sub(x0, x2, out=seen))
        self._add(1, slice(c), g2, torch.sub(x3, x1, out=seen))
        above, below = torch.add(x1, x2, out=seen), torch.sub(x2, x1, out=made)
        half_sum, half_difference = torch.mm(p.T, above).div_(2), torch.mm(q.T, below).div_(2)
        self.to_parts[0][:, :c].add_(half_sum).add_(half_difference)
        self.to_parts[1].add_(half_sum).sub_(half_difference)

    def _add(self, j: int, columns: slice, grad: Tensor, x: Tensor) -> None:
        assert self.to_parts is not None
        total = self.to_parts[j][:, columns]
        if total.dtype == grad.dtype:
            total.addmm_(grad.T, x)
        else:
            total.add_(torch.mm(grad.T, x))


def _product(bias: Tensor | None, x: Tensor, weight: Tensor, y: Tensor) -> None:
    if bias is None:
        torch.mm(x, weight, out=y)
    else:
        torch.addmm(bias, x, weight, out=y)
