"""wav → features inside a model of states: the options of its front, and the front that they ask for."""

from dataclasses import dataclass, field, fields
from typing import Any, Mapping, Optional, Tuple

from fairseq.dataclass import FairseqDataclass

from ..features.acoustic_front import make_front
from ..features.base import DEFAULT_BANDS, FeatureOptions
from ..features.front import AudioFront
from ..stores.feature_spec import FeatureSpec
from ..stores.layers import layer_names, spectral_names


@dataclass
class FrontConfig(FairseqDataclass):
    front: Optional[str] = field(
        default=None,
        metadata={
            "help": "for audio: the checkpoint that makes features on the fly (vq_wav2vec, vq_wav2vec2 or "
            "vq_speech_bert)"
        },
    )
    front_layer: Optional[str] = field(
        default=None,
        metadata={"help": f"for audio: {layer_names()}; default: c of `front`, logmel without one"},
    )
    front_bert: Optional[str] = field(default=None, metadata={"help": "for layer bert: the BERT checkpoint"})
    front_pieces: Optional[str] = field(
        default=None, metadata={"help": "for a BERT of pieces: the token folder that it was trained on"}
    )
    front_run_length: bool = field(default=False, metadata={"help": "for a BERT of run-length tokens"})
    front_bands: int = field(
        default=DEFAULT_BANDS, metadata={"help": f"for layers {spectral_names()}: mel bands"}
    )
    front_deltas: int = field(
        default=0, metadata={"help": "for audio: put slopes over five frames beside them, once or twice"}
    )
    front_standardize: str = field(
        default="none",
        metadata={
            "help": "for audio: each feature at mean 0 and variance 1 over an utterance, over all that a "
            "speaker of the manifest says (speaker), or none"
        },
    )
    front_pca: Optional[str] = field(
        default=None,
        metadata={
            "help": "for audio: give them in these principal components, the pca.safetensors of "
            "`vqw2v features --pca D`"
        },
    )
    freeze_updates: int = field(
        default=-1,
        metadata={"help": "for audio: updates after which the front learns too; -1: it stays as it is"},
    )


FRONT = {
    f.name: f.default for f in fields(FrontConfig) if f.name.startswith("front") or f.name == "freeze_updates"
}


def front_settings(cfg: Any) -> Mapping[str, Any]:
    """As the options say; a checkpoint from before there was an option has its default."""
    return {name: getattr(cfg, name, default) for name, default in FRONT.items()}


def front_options(asked: Mapping[str, Any], sample_rate: int) -> FeatureOptions:
    return FeatureOptions(
        layer=asked["front_layer"] or ("c" if asked["front"] else "logmel"),
        checkpoint=asked["front"],
        bert=asked["front_bert"],
        pieces=asked["front_pieces"],
        run_length=asked["front_run_length"],
        bands=asked["front_bands"],
        sample_rate=sample_rate,
        deltas=asked["front_deltas"],
        standardize=asked["front_standardize"],
        pca=asked["front_pca"],
    )


def front_of(cfg: Any, dim: int, spec: FeatureSpec) -> Tuple[Optional[AudioFront], int, FeatureSpec]:
    """For audio (`dim` 0) a front, with what it answers; for features none, and it may not be asked for."""
    asked = front_settings(cfg)
    if not dim:
        front = make_front(front_options(asked, spec.sample_rate or 0), asked["freeze_updates"])
        return front, front.dim, front.spec
    if ignored := [name for name in asked if asked[name] != FRONT[name]]:
        raise ValueError(
            f"`{ignored[0]}` is {asked[ignored[0]]!r}, but `data` holds features; name a folder "
            f"of manifests to make features on the fly, or leave it out"
        )
    return None, dim, spec
