"""wav → features inside the acoustic model, from files: the front that a model's features are made by.

A stamp says what features are, with features.json's names: `layer`, `checkpoint` and `bert` (each a name and
its sha256), `run_length`, `bands`, `sample_rate`, `stride`, `dim`. With it they can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio.reading import AudioError, read_audio
from ..checkpoints.acoustic import Acoustic
from ..checkpoints.bert import load_bert
from ..checkpoints.checks import load_weights
from ..checkpoints.files import CheckpointError, checkpoint_hash
from ..checkpoints.travel import comes_from
from ..checkpoints.wav2vec import Loaded, load_network
from ..corpora.manifest import Utterance
from ..modules.bert.network import Bert
from ..modules.wav2vec.long_clips import PieceEncoder
from ..stores.pieces import Pieces
from .base import DTYPES, LAYERS, Layer, Segment
from .front import AudioFront
from .network import NetworkFeatures
from .spectral import SpectralFeatures

DEFAULT_BANDS = 80


@dataclass(frozen=True)
class FrontOptions:
    """The model's options of the same names, without `front_`."""

    checkpoint: str | None = None
    layer: str | None = None  # default: c of a checkpoint, logmel without one
    bert: str | None = None
    run_length: bool = False
    bands: int = DEFAULT_BANDS
    sample_rate: int = 16_000  # of the audio at hand
    freeze_updates: int = -1
    dtype: str = "fp32"


def make_front(options: FrontOptions) -> tuple[AudioFront, dict[str, Any]]:
    """The front, and the stamp of its features."""
    layer = Layer.parse(options.layer or ("c" if options.checkpoint else "logmel"), "front_layer")
    _check(options, layer)
    stamp: dict[str, Any] = {"layer": str(layer)}
    if options.checkpoint is None:
        features: NetworkFeatures | SpectralFeatures = SpectralFeatures(
            layer, options.sample_rate, options.bands
        )
        stamp["bands"] = options.bands
    else:
        loaded = load_network(options.checkpoint)
        if loaded.sample_rate != options.sample_rate:
            raise ValueError(
                f"`sample_rate` is {options.sample_rate}; {options.checkpoint} expects audio of "
                f"{loaded.sample_rate} Hz: set `sample_rate` to that"
            )
        bert = load_bert(options.bert) if options.bert else None
        features = NetworkFeatures(
            loaded.network, layer, loaded.normalize, bert, options.run_length, DTYPES[options.dtype]
        )
        stamp["checkpoint"] = describe_file(options.checkpoint)
        if options.bert:
            stamp |= {"bert": describe_file(options.bert), "run_length": options.run_length}
    stamp |= {"dim": features.dim, "receptive_field": features.receptive_field, "stride": features.stride}
    stamp |= {"sample_rate": options.sample_rate, "fine_tuned": options.freeze_updates >= 0}
    return AudioFront(features, options.sample_rate, options.freeze_updates), stamp


def _check(options: FrontOptions, layer: Layer) -> None:
    """Refuses files that are not there, or do not go with the layer."""
    if layer.is_spectral != (options.checkpoint is None):
        raise ValueError(
            f"`front` is {options.checkpoint!r} and `front_layer` {str(layer)!r}; expected a vq_wav2vec "
            f"checkpoint for every layer but logmel and mfcc, and none for these"
        )
    if (layer.name == "bert") != (options.bert is not None):
        raise ValueError(
            f"`front_bert` is {options.bert!r} and `front_layer` {str(layer)!r}; expected a BERT "
            f"checkpoint for the layer bert, and none for others"
        )
    for name, path in (("front", options.checkpoint), ("front_bert", options.bert)):
        if path is not None and not Path(path).exists():
            raise CheckpointError(
                f"`{name}` is {path}, which is not there; say where it is now, to fairseq-generate by "
                f"`--model-overrides \"{{'{name}': 'FILE'}}\"`"
            )


def front_of_stamp(
    stamp: Mapping[str, Any],
    checkpoint: str | None = None,
    bert: str | None = None,
    beside: str | Path = ".",
) -> AudioFront:
    """The front of a trained model, frozen. `checkpoint` and `bert` are where its files lie now; those not
    given are looked for where they lay in training, then by their names in the folder `beside` and here."""
    layer, rate = stamp.get("layer"), stamp.get("sample_rate")
    if not isinstance(layer, str) or type(rate) is not int:
        raise CheckpointError(
            f"the acoustic model says its features are layer {layer!r} at {rate!r} Hz; expected a layer "
            f"and a rate, as features.json of `vqw2v features` has them: make its features and decode these"
        )
    if Layer.parse(layer).is_spectral:
        if checkpoint or bert:
            raise CheckpointError(
                f"the acoustic model's features are of the layer {layer}; leave out the checkpoints"
            )
        bands = stamp.get("bands", stamp.get("dim", DEFAULT_BANDS))
        return make_front(FrontOptions(None, layer, bands=bands, sample_rate=rate))[0]
    files = {"checkpoint": checkpoint, "bert": bert}
    paths = {name: _found(name, stamp.get(name), given, Path(beside)) for name, given in files.items()}
    options = FrontOptions(
        paths["checkpoint"],
        layer,
        paths["bert"],
        bool(stamp.get("run_length")),
        sample_rate=rate,
        dtype="bf16" if stamp.get("dtype") == "bf16" else "fp32",
    )
    return make_front(options)[0]


def rebuild_front(acoustic: Acoustic, checkpoint: str | None = None, bert: str | None = None) -> AudioFront:
    """Audio → the features that `acoustic` wants; the arguments say where their checkpoints lie now."""
    front = front_of_stamp(acoustic.stamp, checkpoint, bert, acoustic.folder).eval()
    if acoustic.front_weights:
        load_weights(front, acoustic.front_weights, "the acoustic model's front")
    return front


def describe_file(path: str | Path) -> dict[str, str]:
    """Name, place and hash of a checkpoint, which may be an exported folder."""
    path = Path(path)
    return {"name": path.name, "path": str(path.absolute()), "sha256": checkpoint_hash(path)}


def _found(what: str, held: Any, given: str | None, beside: Path) -> str | None:
    """Where the file lies that the stamp holds: it is known by its hash."""
    if not isinstance(held, Mapping):
        if given is not None:
            raise CheckpointError(f"the acoustic model's features need no {what}; leave out {given}")
        return None
    name, wanted = str(held.get("name")), str(held.get("sha256"))
    places = [Path(given)] if given else [Path(held.get("path") or name), beside / name, Path(name)]
    there = [path for path in places if path.exists()]
    for path in there:
        if comes_from(path, wanted):
            return str(path)
    made = f"the acoustic model's features were made with the {what} {name!r} of sha256 {wanted[:12]}…"
    if there:
        raise CheckpointError(f"{there[0]}: is another file; {made}: say where that one is")
    raise CheckpointError(f"{places[0]}: is not there; {made}: say where it is now")


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
    wav = read_audio(utterance, sample_rate)
    if len(wav) < least:
        raise AudioError(
            f"{utterance.path}: {len(wav)} samples at {sample_rate} Hz are too short for a frame; expected "
            f"at least {least}: leave it out"
        )
    return torch.from_numpy(np.ascontiguousarray(wav))
