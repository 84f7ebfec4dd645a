"""wav ──encoder──▶ z ──quantizer──▶ tokens of clips: the one path for tokenizer, features and fronts.

Shapes: S samples, T frames, C channels, G groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.wav2vec import Loaded
from ..modules.kernels import devices
from ..modules.kernels.rounding import exact, tf32
from ..modules.quantizers.base import Quantizer
from ..modules.wav2vec.context import ConvContext, GruContext
from ..modules.wav2vec.long_clips import MEMORY, PieceEncoder
from ..modules.wav2vec.many_clips import RowEncoder
from ..modules.wav2vec.many_contexts import RowContext, parts_before
from ..modules.wav2vec.network import VqWav2Vec
from .base import DTYPES, number_format


class NoCodesError(ValueError):
    """A model without a quantizer, asked for codes or what is made of them."""


def quantizer_of(network: VqWav2Vec, wanted: str = "codes", remedy: str = "") -> Quantizer:
    """The network's; NoCodesError says that it has none, and therefore not what is `wanted`."""
    if not network.has_codes:
        raise NoCodesError(f"this model has no quantizer (wav2vec 1.0), so it has no {wanted}{remedy}")
    return network.quantizer


def vectors_of(codes: Sequence[Tensor], decode: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """[T, G] → [T, C] each, in one call of what takes [B, T, G]."""
    return list(torch.split(decode(torch.cat(list(codes))[None])[0], [len(each) for each in codes]))


class ClipEncoder:
    """A trained network over one clip, or on a GPU over many; the network itself is left as it is.

    The encoder goes in pieces, however long the clip, unless the network has skip connections over the whole
    clip, a quantizer behind the context network, or an encoder that learns. fp32 means fp32, on a GPU too. In
    bf16 or TF32 only convolutions are: the logarithm and the quantizer work in fp32, where close codes are no
    ties.
    """

    def __init__(self, loaded: Loaded, dtype: str | torch.dtype = "fp32", memory: int = MEMORY) -> None:
        self.network, self.normalize = loaded.network, loaded.normalize
        self.numbers, self.memory = number_format(dtype), memory
        self.learning: tuple[nn.Module, ...] = ()  # parts whose gradients the caller wants
        self._pieces: PieceEncoder | None = None
        self._rows: RowEncoder | None = None
        self._row_context: RowContext | None = None

    def fits(self, samples: Sequence[int], context: bool = False) -> bool:
        """Whether clips of so many samples go through at once: where that is quicker, without gradients.

        `context`: through the context network, too.
        """
        rows = self._in_rows()
        if rows is None:
            return False
        before = self._before() * rows.part if context or self.network.quantize_context else 0
        return sum(rows.takes(n) + before for n in samples if n) <= rows.room

    @torch.no_grad()
    def z_of(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, C] each
        """Of clips that fit, and nothing waits for the device."""
        rows = self._in_rows()
        assert rows is not None
        with products(rows.device, self.numbers):
            return rows.z([self._normalized(clip) for clip in clips])

    @torch.no_grad()
    def codes_of(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, G] each
        """The same."""
        rows, quantizer = self._in_rows(), quantizer_of(self.network)
        assert rows is not None
        split, late = quantizer.split_encode(), self.network.quantize_context
        if split is not None and not late:
            with products(rows.device, self.numbers):
                return rows.codes([self._normalized(clip) for clip in clips], split)
        found = self.z_of(clips)
        contexts = self._contexts() if late else None
        if split is not None and contexts is not None:
            with products(rows.device, self.numbers):
                return contexts.codes(found, split)
        found = self.contexts_of(found) if late else found
        with exact(rows.device):
            return [quantizer.encode(x[None])[0] for x in found]

    @torch.no_grad()
    def contexts_of(self, found: Sequence[Tensor]) -> list[Tensor]:  # [T, C] → [T, D] each
        """c of what `z_of` or `quantized_of` gave, of clips that fit with their context."""
        context, contexts = self.network.context, self._contexts()
        if contexts is not None:
            with products(found[0].device, self.numbers):
                return contexts.c(found)
        with self.precision(found[0]):
            assert isinstance(context, GruContext)
            return [c.float() for c in context.of_many(found)]

    @torch.no_grad()
    def quantized_of(self, clips: Sequence[Tensor]) -> list[Tensor]:  # [S] → [T, C] each
        """The vectors that their codes stand for."""
        return vectors_of(self.codes_of(clips), quantizer_of(self.network).decode)

    def z(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        wav = self._normalized(wav)
        encoder = None if self.network.encoder in self.learning else self._piecewise()
        if encoder is None:
            return self._whole_z(wav)[0]
        with products(wav.device, self.numbers):
            return encoder.z(wav)

    def context(self, x: Tensor) -> Tensor:  # [T, C] → [T, D]
        return self._whole_context(x[None])[0]

    @torch.no_grad()
    def codes(self, wav: Tensor) -> Tensor:  # [S] → [T, G]
        wav, quantizer = self._normalized(wav), quantizer_of(self.network)
        encoder = None if self.network.quantize_context else self._piecewise()
        if encoder is not None:
            with products(wav.device, self.numbers):
                return encoder.codes(wav, quantizer)
        x = self._whole_z(wav)  # [1, T, C]
        x = self._whole_context(x) if self.network.quantize_context else x
        with exact(x.device):
            return quantizer.encode(x)[0]

    @torch.no_grad()
    def quantized(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        """The vectors that the codes stand for."""
        return quantizer_of(self.network).decode(self.codes(wav)[None])[0]

    def precision(self, like: Tensor) -> contextlib.AbstractContextManager[object]:
        return precision(like.device, self.numbers, bool(self.learning))

    def refresh(self) -> None:
        """The encoder's weights, or their device, are others now."""
        self._pieces = self._rows = self._row_context = None

    def _in_rows(self) -> RowEncoder | None:
        """None: clips go one at a time, as on a processor, whose cache holds a piece of one."""
        encoder = self.network.encoder
        if encoder.skip_connections or self.learning or not devices.is_gpu(encoder.blocks[0].conv.weight):
            return None
        rows = self._rows
        if rows is None or rows.memory != self.memory:
            rows = self._rows = RowEncoder(encoder, DTYPES[self.numbers], self.memory)
        return rows

    def _contexts(self) -> RowContext | None:
        """As many parts as the encoder's rows have; a GRU wants none."""
        context, rows = self.network.context, self._in_rows()
        if rows is None or not isinstance(context, ConvContext):
            return None
        held = self._row_context
        if held is None or held.parts != rows.parts:
            held = self._row_context = RowContext(context, DTYPES[self.numbers], rows.parts)
        return held

    def _before(self) -> int:
        """Parts of a row that stand before each clip, for the context network's padding."""
        contexts = self._contexts()
        return 0 if contexts is None else parts_before(contexts.left)

    def _normalized(self, wav: Tensor) -> Tensor:
        return F.layer_norm(wav, wav.shape) if self.normalize else wav

    def _piecewise(self) -> PieceEncoder | None:
        """Made of the encoder's weights at their first use."""
        if self.network.encoder.skip_connections:
            return None
        pieces = self._pieces
        if pieces is None:  # two threads may both make one: they are equal
            pieces = self._pieces = PieceEncoder(self.network.encoder, DTYPES[self.numbers])
        pieces.memory = self.memory
        return pieces

    def _whole_z(self, wav: Tensor) -> Tensor:  # [S] → [1, T, C]
        encoder = self.network.encoder
        with self.precision(wav):
            x = encoder.convolve(wav[None])
        return encoder.compress(x.float())

    def _whole_context(self, x: Tensor) -> Tensor:  # [1, T, C] → [1, T, D]
        with self.precision(x):
            return self.network.context(x).float()  # type: ignore[no-any-return]


def products(device: torch.device, numbers: str) -> contextlib.AbstractContextManager[None]:
    """For products of fp32: exact, unless TF32 was asked for."""
    return tf32(device) if numbers == "tf32" else exact(device)


def precision(device: torch.device, numbers: str, learns: bool) -> contextlib.AbstractContextManager[object]:
    """In bf16 products are; fp32 is exact, but in a training that the user may have otherwise."""
    if numbers == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext() if learns and torch.is_grad_enabled() else products(device, numbers)
