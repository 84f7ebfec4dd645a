"""wav → z, c, quantized vectors, BERT's states or log-mels of one utterance, whichever layer is asked for.

Shapes: S samples, T frames, G groups, N tokens, D features.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .bert_checkpoints import load_bert
from .checkpoints import Loaded, load_network
from .data.audio import AudioError, read_audio
from .data.code_symbols import runs
from .data.manifest import Utterance
from .modules.bert import Bert
from .modules.bert_features import bert_features
from .modules.logmel import LogMel
from .modules.pieces import PieceEncoder
from .modules.vocabulary import UNK
from .tokenizer import DTYPES

LAYERS = ("z", "c", "q", "bert", "logmel")


@dataclass(frozen=True)
class Layer:
    """`z`, `c`, `q`, `logmel`, or `bert:N` (0 the embeddings, -1 the last layer)."""

    name: str
    number: int = -1

    @classmethod
    def parse(cls, text: str) -> Layer:
        name, colon, number = text.partition(":")
        if name not in LAYERS or (colon and (name != "bert" or not number.lstrip("-").isdecimal())):
            raise ValueError(
                f"`--layer` is {text!r}; expected z, c, q, logmel, bert, or bert:N for its N-th layer"
            )
        return cls(name, int(number) if colon else -1)


class LogMelSource:
    """Log-mels need no checkpoint."""

    def __init__(self, sample_rate: int, num_bands: int, device: str) -> None:
        self.mel = LogMel(sample_rate, num_bands, device)
        self.sample_rate, self.stride, self.receptive_field = (
            sample_rate,
            self.mel.stride,
            self.mel.receptive_field,
        )
        self.dim, self.device = num_bands, torch.device(device)

    @torch.inference_mode()
    def __call__(self, utterance: Utterance) -> Tensor:  # [T, M]
        return self.mel(_read(utterance, self.sample_rate, self.receptive_field).to(self.device)).cpu()


class NetworkSource:
    """A network's features; in bf16 its convolutions are, and BERT's products."""

    def __init__(
        self,
        loaded: Loaded,
        layer: Layer,
        device: str = "cpu",
        dtype: str = "fp32",
        bert: Bert | None = None,
        run_length: bool = False,
    ) -> None:
        self.layer, self.dtype, self.device = layer, DTYPES[dtype], torch.device(device)
        self.network = loaded.network.to(self.device).eval()
        self.bert = None if bert is None else bert.to(self.device)
        self.run_length, self.sample_rate, self.normalize = run_length, loaded.sample_rate, loaded.normalize
        geometry = self.network.encoder.geometry
        self.stride, self.receptive_field = geometry.stride, geometry.receptive_field
        skips = self.network.encoder.skip_connections
        self.pieces = None if skips else PieceEncoder(self.network.encoder, self.dtype)
        self.dim = self._dim()

    @torch.inference_mode()
    def __call__(self, utterance: Utterance) -> Tensor:  # [T, D]
        wav = _read(utterance, self.sample_rate, self.receptive_field).to(self.device)  # [S]
        wav = F.layer_norm(wav, wav.shape) if self.normalize else wav
        name = self.layer.name
        if name == "z":
            return self._z(wav).cpu()
        network = self.network
        if network.quantizer is None or network.quantize_context:
            c = self._context(self._z(wav))
            if name == "c":
                return c.cpu()
            codes = network.quantizer.encode(c[None])[0]  # type: ignore[union-attr]  # checked by _dim
        elif self.pieces is not None:
            codes = self.pieces.codes(wav, network.quantizer)
        else:
            codes = network.quantizer.encode(self._z(wav)[None])[0]  # [T, G]
        if name == "bert":
            return self._states(codes).cpu()
        x = network.quantizer.decode(codes[None])[0]  # type: ignore[union-attr]  # [T, C]
        return (x if name == "q" else self._context(x)).cpu()

    def _z(self, wav: Tensor) -> Tensor:  # [S] → [T, C]
        if self.pieces is not None:
            return self.pieces.z(wav)
        with self._autocast():
            return self.network.encoder(wav[None])[0].float()  # type: ignore[no-any-return]

    def _context(self, x: Tensor) -> Tensor:  # [T, C] → [T, D]
        with self._autocast():
            return self.network.context(x[None])[0].float()  # type: ignore[no-any-return]

    def _states(self, codes: Tensor) -> Tensor:  # [T, G] → [T, D]
        assert self.bert is not None
        lengths = torch.from_numpy(runs(codes.cpu().numpy())) if self.run_length else None
        kept = codes.cpu() if lengths is None else codes.cpu()[lengths.cumsum(0) - lengths]  # [N, G]
        known = self.bert.symbols.ids
        ids = torch.tensor([known.get("-".join(map(str, frame)), UNK) for frame in kept.tolist()])
        with self._autocast():
            states = bert_features(self.bert, [ids], self.layer.number)[0].float().cpu()  # [N, D]
        return states if lengths is None else states.repeat_interleave(lengths, 0)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _dim(self) -> int:
        network, name = self.network, self.layer.name
        if name in ("q", "bert") and network.quantizer is None:
            raise ValueError(
                f"this model has no quantizer (wav2vec 1.0), so it has no layer {name!r}; take z or c"
            )
        if name == "bert":
            if self.bert is None:
                raise ValueError(
                    "`--layer bert` needs a BERT that was trained on these codes: give `--bert BERT.pt`"
                )
            layers = len(self.bert.layers)
            if not -layers - 1 <= self.layer.number <= layers:
                raise ValueError(
                    f"`--layer bert:{self.layer.number}`: this BERT has the layers 0 (embeddings) to {layers}"
                )
            return self.bert.sizes.encoder_embed_dim
        dims = {"z": network.encoder.dim, "q": getattr(network.quantizer, "out_dim", 0)}
        return int(dims[name] if name in dims else network.context.dim)


def load_source(
    checkpoint: str, layer: Layer, device: str, dtype: str, bert: str | None, run_length: bool
) -> NetworkSource:
    """From files; a BERT's dictionary is in it, or dict.txt beside it."""
    if dtype not in DTYPES:
        raise ValueError(f"`--dtype` is {dtype!r}; expected {' or '.join(DTYPES)}")
    if bert is not None and layer.name != "bert":
        raise ValueError(f"`--bert` goes with `--layer bert`, the layer is {layer.name!r}; leave out one")
    network = load_bert(Path(bert)) if bert is not None else None
    return NetworkSource(load_network(checkpoint), layer, device, dtype, network, run_length)


def _read(utterance: Utterance, sample_rate: int, least: int) -> Tensor:  # [S]
    wav = read_audio(utterance.path, sample_rate, utterance.start, utterance.samples, rate=utterance.rate)
    if len(wav) < least:
        raise AudioError(
            f"{utterance.path}: {len(wav)} samples at {sample_rate} Hz are too short for a frame; expected "
            f"at least {least}: leave it out"
        )
    return torch.from_numpy(np.ascontiguousarray(wav))
