"""wav → z, c, quantized vectors, BERT's states, log-mels or cepstra of a manifest's utterances.

Shapes: S samples, T frames, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .audio.reading import AudioError, read_audio
from .bert_checkpoints import load_bert
from .checkpoints import Loaded, load_network
from .corpora.manifest import Utterance
from .modules.bert.network import Bert
from .modules.layer_features import LAYERS, Layer, NetworkFeatures, Segment, SpectralFeatures
from .modules.wav2vec.long_clips import PieceEncoder
from .stores.pieces import Pieces
from .tokenizer import DTYPES

__all__ = ["LAYERS", "Layer", "NetworkSource", "SpectralSource", "load_source"]


class SpectralSource:
    """Log-mels and cepstra need no checkpoint."""

    def __init__(self, layer: Layer, sample_rate: int, num_bands: int, device: str) -> None:
        self.features = SpectralFeatures(layer, sample_rate, num_bands)
        self.sample_rate, self.stride, self.receptive_field = (
            sample_rate,
            self.features.stride,
            self.features.receptive_field,
        )
        self.dim, self.device = self.features.dim, torch.device(device)

    @torch.inference_mode()
    def __call__(self, utterance: Utterance) -> Tensor:  # [T, D]
        wav = _read(utterance, self.sample_rate, self.receptive_field).to(self.device)
        return self.features(wav).cpu()  # type: ignore[no-any-return]


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
        segment: Segment | None = None,
    ) -> None:
        self.layer, self.sample_rate, self.device = layer, loaded.sample_rate, torch.device(device)
        features = NetworkFeatures(
            loaded.network, layer, loaded.normalize, bert, run_length, DTYPES[dtype], segment
        )
        self.features = features.to(self.device).eval()
        self.stride, self.receptive_field, self.dim = features.stride, features.receptive_field, features.dim
        self.pieces: PieceEncoder | None = self.features.pieces

    @torch.inference_mode()
    def __call__(self, utterance: Utterance) -> Tensor:  # [T, D]
        wav = _read(utterance, self.sample_rate, self.receptive_field).to(self.device)  # [S]
        return self.features(wav).cpu()  # type: ignore[no-any-return]


def load_source(
    checkpoint: str,
    layer: Layer,
    device: str,
    dtype: str,
    bert: str | None,
    run_length: bool,
    pieces: str | None = None,
) -> NetworkSource:
    """From files; a BERT's dictionary is in it, or dict.txt beside it; `pieces`: what it learnt from."""
    if dtype not in DTYPES:
        raise ValueError(f"`--dtype` is {dtype!r}; expected {' or '.join(DTYPES)}")
    if bert is not None and layer.name != "bert":
        raise ValueError(f"`--bert` goes with `--layer bert`, the layer is {layer.name!r}; leave out one")
    network = load_bert(Path(bert)) if bert is not None else None
    segment = _segment(pieces, network) if pieces is not None else None
    return NetworkSource(load_network(checkpoint), layer, device, dtype, network, run_length, segment)


def _segment(folder: str, bert: Bert | None) -> Segment:
    made = Pieces.load(folder)
    if bert is None or list(bert.symbols.lines) != made.symbols:
        raise ValueError(
            f"`--pieces` {folder}: expected the token folder that the BERT of `--bert` was trained on"
        )

    def segment(symbols: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids, counts = made(symbols)
        return torch.from_numpy(ids), torch.from_numpy(counts)

    return segment


def _read(utterance: Utterance, sample_rate: int, least: int) -> Tensor:  # [S]
    wav = read_audio(utterance.path, sample_rate, utterance.start, utterance.samples, rate=utterance.rate)
    if len(wav) < least:
        raise AudioError(
            f"{utterance.path}: {len(wav)} samples at {sample_rate} Hz are too short for a frame; expected "
            f"at least {least}: leave it out"
        )
    return torch.from_numpy(np.ascontiguousarray(wav))
