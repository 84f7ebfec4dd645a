"""wav → features: what builds each layer of `stores/layers.py`."""

from __future__ import annotations

from collections.abc import Callable

from .base import FeatureOptions, Features, Layer
from .bert import bert_layer_features
from .coder import Parts, quantized_features
from .network import context_features, encoder_features
from .spectral import spectral_features
from .speech import speech_features
from .wav2vec2 import wav2vec2_features

BUILDERS: dict[str, Callable[[Layer, FeatureOptions, Parts], Features]] = {
    "z": encoder_features,
    "c": context_features,
    "q": quantized_features,
    "logmel": spectral_features,
    "mfcc": spectral_features,
    "bert": bert_layer_features,
    "speech": speech_features,
    "w2v2": wav2vec2_features,
}
