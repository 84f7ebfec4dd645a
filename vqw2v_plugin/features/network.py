"""wav → z, c, quantized vectors, BERT's states, log-mels or cepstra of one utterance: whichever is asked.

Shapes: S samples, T frames, G groups, N tokens, D features.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..modules.bert.network import Bert, bert_features
from ..modules.bert.vocabulary import UNK
from ..modules.wav2vec.long_clips import PieceEncoder
from ..modules.wav2vec.network import VqWav2Vec
from .base import Layer, Segment


class NetworkFeatures(nn.Module):
    """A network's features; in bf16 its convolutions are, and BERT's products.

    z is made in pieces, as everywhere, unless the encoder learns. Codes let no gradient pass.
    """

    def __init__(
        self,
        network: VqWav2Vec,
        layer: Layer,
        normalize: bool = False,
        bert: Bert | None = None,
        run_length: bool = False,
        dtype: torch.dtype = torch.float32,
        segment: Segment | None = None,
    ) -> None:
        super().__init__()
        self.network, self.bert = network, bert
        self.layer, self.normalize, self.dtype, self.segment = layer, normalize, dtype, segment
        self.run_length = run_length or segment is not None
        geometry = network.encoder.geometry
        self.stride, self.receptive_field = geometry.stride, geometry.receptive_field
        self.dim = self._dim()
        self.encoder_learns = False
        self._pieces: PieceEncoder | None = None

    def frames(self, samples: int) -> int:
        return self.network.encoder.geometry.frames(samples)

    @property
    def pieces(self) -> PieceEncoder | None:
        """Made of the encoder's weights at their first use."""
        if self._pieces is None and not self.network.encoder.skip_connections:
            self._pieces = PieceEncoder(self.network.encoder, self.dtype)
        return self._pieces

    def forget_pieces(self) -> None:
        """The encoder's weights, or their device, are others now."""
        self._pieces = None

    def learners(self) -> list[nn.Module]:
        """The networks that the features' gradient reaches."""
        name, network = self.layer.name, self.network
        if name == "bert":
            return [self.bert]  # type: ignore[list-item]  # checked by _dim
        if name == "q":
            raise ValueError("layer `q` is a table of vectors: leave `freeze_updates` at -1, or take z or c")
        below = network.quantize_context or not network.has_codes
        parts: list[nn.Module] = [network.encoder] if name == "z" or below else []
        return parts if name == "z" else [*parts, network.context]

    def forward(self, wav: Tensor) -> Tensor:  # [S] → [T, D]
        wav = F.layer_norm(wav, wav.shape) if self.normalize else wav
        network, name = self.network, self.layer.name
        if name == "z":
            return self._z(wav)
        if name == "c" and (network.quantize_context or not network.has_codes):
            return self._context(self._z(wav))
        with torch.no_grad():
            codes = self._codes(wav)
        if name == "bert":
            return self._states(codes)
        x = network.quantizer.decode(codes[None])[0]  # [T, C]
        return x if name == "q" else self._context(x)

    def _codes(self, wav: Tensor) -> Tensor:  # [S] → [T, G]
        network, quantizer = self.network, self.network.quantizer
        if network.quantize_context:
            return quantizer.encode(self._context(self._z(wav))[None])[0]
        if self.pieces is not None:
            return self.pieces.codes(wav, quantizer)
        return quantizer.encode(self._z(wav)[None])[0]

    def _z(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        if self.pieces is not None and not self.encoder_learns:
            return self.pieces.z(wav)
        with self._autocast(wav):
            return self.network.encoder(wav[None])[0].float()  # type: ignore[no-any-return]

    def _context(self, x: Tensor) -> Tensor:  # [T, C] → [T, D]
        with self._autocast(x):
            return self.network.context(x[None])[0].float()  # type: ignore[no-any-return]

    def _states(self, codes: Tensor) -> Tensor:  # [T, G] → [T, D]
        assert self.bert is not None
        kept, lengths = codes, None
        if self.run_length:
            kept, lengths = torch.unique_consecutive(codes, dim=0, return_counts=True)  # [N, G], [N]
        symbols, known = ["-".join(map(str, frame)) for frame in kept.tolist()], self.bert.symbols.ids
        if self.segment is not None and lengths is not None:
            ids, counts = self.segment(symbols)  # [M] each
            lengths = torch.stack([part.sum() for part in lengths.split(counts.tolist())])
        else:
            ids = torch.tensor([known.get(symbol, UNK) for symbol in symbols])
        with self._autocast(codes):
            states = bert_features(self.bert, [ids], self.layer.number)[0].float()  # [N, D]
        return states if lengths is None else states.repeat_interleave(lengths, 0)

    def _autocast(self, like: Tensor) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(like.device.type, self.dtype)

    def _dim(self) -> int:
        network, name = self.network, self.layer.name
        if name in ("q", "bert") and not network.has_codes:
            raise ValueError(
                f"this model has no quantizer (wav2vec 1.0), so it has no layer {name!r}; take z or c"
            )
        if name == "bert":
            if self.bert is None:
                raise ValueError(
                    "layer `bert` needs a BERT that was trained on these codes: give `--bert BERT.pt` (of an "
                    "acoustic model: `front_bert`)"
                )
            layers = len(self.bert.layers)
            if not -layers - 1 <= self.layer.number <= layers:
                raise ValueError(
                    f"layer `bert:{self.layer.number}`: this BERT has the layers 0 (embeddings) to {layers}"
                )
            return self.bert.config.encoder_embed_dim
        dims = {"z": network.encoder.dim, "q": network.quantizer.out_dim}
        return int(dims[name] if name in dims else network.context.dim)
