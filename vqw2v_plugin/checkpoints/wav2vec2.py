"""wav → z → tokens and states, on disk: settings and weights of a wav2vec 2.0 ↔ the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..modules.wav2vec2.config import ARCHS, Wav2Vec2Config
from ..modules.wav2vec2.network import Wav2Vec2
from ..quantizers import Quantizer, build_quantizer
from .checks import check_settings
from .files import CheckpointError, sha256
from .format import mapping, model_name, model_options, num_updates, whole
from .kinds import Audio, Header, Kind, Restored, State
from .stock_wav2vec2 import (
    ARCHITECTURES,
    unknown_wav2vec2_options,
    wav2vec2_settings_of_stock,
    wav2vec2_weights_of_stock,
)

_CALLED = {
    "vq_vars": "latent_vars",
    "vq_groups": "latent_groups",
    "vq_dim": "latent_dim",
    "vq_depth": "quantizer_depth",
    "vq_temp": "latent_temp",
}
_SETTINGS = frozenset(f.name for f in dataclasses.fields(Wav2Vec2Config))


def make_wav2vec2(config: Wav2Vec2Config, compares: bool = True) -> Wav2Vec2:
    """An untrained network with the quantizers that its settings name; `compares`: for pretraining."""

    def make(dim: int, out_dim: int) -> Quantizer:
        options = {
            "vq_vars": config.latent_vars,
            "vq_groups": config.latent_groups,
            "vq_dim": out_dim,
            "vq_depth": config.quantizer_depth,
            "vq_temp": config.latent_temp,
            "activation": "gelu",
            "max_update": config.max_update,
        }
        try:
            return build_quantizer(config.quantizer, dim, options, config.quantizer_args)
        except ValueError as error:
            raise ValueError(_in_stock_s_words(str(error))) from None

    return Wav2Vec2(config, make, compares)


def _in_stock_s_words(message: str) -> str:
    """What quantizers call by stock's names for vq-wav2vec has others in wav2vec 2.0."""
    for ours, theirs in _CALLED.items():
        message = message.replace(f"`{ours}`", f"`{theirs}`")
    return message


def _settings_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of an arch, with what is given in place of its own."""
    own = dataclasses.asdict(ARCHS[name])
    return {**own, **{k: v for k, v in given.items() if k in _SETTINGS and v is not None}}


class Wav2Vec2Kind(Kind[Wav2Vec2]):
    model, expected, hears_audio = "vq_wav2vec2", "'vq_wav2vec2'", True
    destination = "goes to `vqw2v discretize`, or `vqw2v features … --layer w2v2`"

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHS

    def header(self, state: State) -> Header:
        settings = _settings_of(str(model_name(state)), model_options(state))
        return Header(self.model, settings, Audio.of(mapping(mapping(state.get("cfg")).get("task"))))

    def state(self, header: Header) -> dict[str, Any]:
        audio = dataclasses.asdict(header.audio or Audio())
        switches = {f.name for f in dataclasses.fields(Wav2Vec2Config) if f.default is True}
        settings = {
            name: str(value).lower() if name in switches else value for name, value in header.settings.items()
        }
        cfg = {
            "model": {"_name": self.model, **settings},
            "task": {"_name": "vq_audio_pretraining", "data": ".", **audio},
            "criterion": {"_name": "vq_masked_contrastive"},
        }
        return {"cfg": cfg}

    def build(self, header: Header) -> Wav2Vec2:
        return make_wav2vec2(check_settings(Wav2Vec2Config, header.settings))

    def settings(self, network: Wav2Vec2) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[Wav2Vec2]) -> str:
        config, coder = restored.network.config, restored.network.coder
        codes = f", {coder.num_groups} × {coder.num_codes} codes" if coder.num_groups else ""
        rate = (restored.header.audio or Audio()).sample_rate
        return (
            f"{config.encoder_layers} layers of {config.encoder_embed_dim}, quantizer {config.quantizer}"
            f"{codes}, {rate} Hz"
        )

    def is_stock(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHITECTURES

    def from_stock(self, state: State, path: Path, dict_path: str | Path | None = None) -> Restored[Wav2Vec2]:
        if dict_path is not None:
            raise CheckpointError(
                f"`--dict` goes with roberta or wav2vec_ctc; {path} is a wav2vec2: leave it out"
            )
        options, cfg = model_options(state), mapping(state.get("cfg"))
        dated = bool(cfg.get("model"))
        task = mapping(cfg.get("task")) if dated else options
        training = mapping(cfg.get("optimization")) if dated else options
        kind = "stock wav2vec2, cfg" if dated else "stock wav2vec2, args of 2020"
        made_from = {"file": path.name, "sha256": sha256(path), "kind": kind}
        try:
            settings = wav2vec2_settings_of_stock(options)
            settings["max_update"] = whole(training.get("max_update"))
            audio = Audio.of({name: value for name, value in task.items() if value is not None})
            header = Header(self.model, settings, audio, {}, made_from, num_updates(state))
            network = self.untrained(header, state["model"], "stock's model")
            weights = wav2vec2_weights_of_stock(state["model"], network.config)
            restored = self.with_weights(header, network, weights, "stock's model")
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        return dataclasses.replace(restored, ignored=unknown_wav2vec2_options(options) if dated else ())


KIND = Wav2Vec2Kind()
