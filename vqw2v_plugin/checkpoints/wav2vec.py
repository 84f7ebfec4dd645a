"""wav → z → tokens and c, on disk: settings and weights ↔ the torch network, ours and stock fairseq's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..common.words import shortened
from ..modules.wav2vec.config import VqWav2VecConfig
from ..modules.wav2vec.network import VqWav2Vec
from ..quantizers import OWN, build_quantizer, quantizer_names
from .checks import check_settings
from .files import CheckpointError, sha256
from .format import load, mapping, num_updates, write_checkpoint
from .kinds import Audio, Header, Kind, Restored, State
from .stock_wav2vec import (
    ARCHITECTURES,
    read_stock_wav2vec,
    unknown_options,
    wav2vec_settings_of_stock,
    wav2vec_weights_of_stock,
)
from .travel import import_checkpoint

_SETTINGS = frozenset(f.name for f in dataclasses.fields(VqWav2VecConfig))


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained network in eval mode, and the audio that it expects."""

    network: VqWav2Vec
    sample_rate: int  # Hz
    normalize: bool  # each clip at zero mean and unit variance
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # where the file says so


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network that was read from elsewhere, and what fairseq wants to know beside it."""

    loaded: Loaded
    infonce: bool
    num_updates: int
    ignored: list[str]  # options of the file that neither stock nor ours knows


@dataclasses.dataclass(frozen=True)
class _Extra:
    """What a header says beside the network's settings."""

    infonce: bool = False  # the loss that it was trained with
    user_dir: str | None = None  # of a quantizer that is not ours: where it was registered


def _extra(header: Header) -> _Extra:
    return check_settings(_Extra, header.extra)


def load_network(path: str | Path) -> Loaded:
    """What fairseq's trainer wrote for `vq_wav2vec`, or `vqw2v import`, or `vqw2v export` (the folder)."""
    return loaded_of(load(Path(path), KIND))


def import_stock(path: str | Path) -> Imported:
    """Stock fairseq's wav2vec or vq-wav2vec, today's file or one of 2019."""
    restored = import_checkpoint(path)
    header = restored.header
    if header.model != KIND.model:
        raise CheckpointError(f"{path} holds the model {header.model!r}; expected stock's 'wav2vec'")
    return Imported(loaded_of(restored), _extra(header).infonce, header.num_updates, [*restored.ignored])


def save_checkpoint(imported: Imported, out: str | Path, force: bool = False) -> None:
    """For fairseq's trainer, `load_network` and `weights_only`."""
    loaded = imported.loaded
    audio, extra = Audio(loaded.sample_rate, loaded.normalize), {"infonce": imported.infonce}
    settings = KIND.settings(loaded.network)
    header = Header(KIND.model, settings, audio, extra, loaded.made_from, imported.num_updates)
    write_checkpoint(Path(out), header, loaded.network.state_dict(), force)


def loaded_of(restored: Restored[VqWav2Vec]) -> Loaded:
    """What features are made by."""
    audio = restored.header.audio or Audio()
    return Loaded(restored.network, audio.sample_rate, audio.normalize, restored.header.made_from)


def build_network(settings: Mapping[str, Any]) -> VqWav2Vec:
    """An untrained network; options that are not given have the paper's values, others' are ignored."""
    known = {name: value for name, value in settings.items() if name in _SETTINGS}
    return make_network(check_settings(VqWav2VecConfig, known))


def make_network(config: VqWav2VecConfig) -> VqWav2Vec:
    """An untrained network with the quantizer that its settings name."""
    options = dataclasses.asdict(config)
    for name in ("quantizer", "quantizer_args", "quantizer_position"):
        options.pop(name)

    return VqWav2Vec.make(
        config, lambda dim: build_quantizer(config.quantizer, dim, options, config.quantizer_args)
    )


class VqWav2VecKind(Kind[VqWav2Vec]):
    model, expected, hears_audio = "vq_wav2vec", "'vq_wav2vec'", True
    destination = "goes to `vqw2v discretize`, `vqw2v features` or `--front`"

    def header(self, state: State) -> Header:
        cfg = mapping(state.get("cfg"))
        model, criterion = mapping(cfg.get("model")), mapping(cfg.get("criterion"))
        # fairseq adds names of its own
        settings = {name: value for name, value in model.items() if name in _SETTINGS}
        audio = Audio.of(mapping(cfg.get("task")))
        extra: dict[str, Any] = {"infonce": criterion.get("infonce") is True}
        user_dir = mapping(cfg.get("common")).get("user_dir")
        if isinstance(user_dir, str) and settings.get("quantizer", "none") not in OWN:
            extra["user_dir"] = user_dir
        return Header(self.model, settings, audio, extra)

    def state(self, header: Header) -> dict[str, Any]:
        audio = dataclasses.asdict(header.audio or Audio())
        cfg = {
            "model": {"_name": self.model, **header.settings},
            "task": {"_name": "vq_audio_pretraining", "data": ".", **audio},
            "criterion": {"_name": "vq_contrastive", "infonce": _extra(header).infonce},
        }
        if user_dir := _extra(header).user_dir:
            cfg["common"] = {"user_dir": user_dir}
        return {"cfg": cfg}

    def build(self, header: Header) -> VqWav2Vec:
        extra, config = _extra(header), check_settings(VqWav2VecConfig, header.settings)
        try:
            return make_network(config)
        except ValueError as error:
            if config.quantizer in quantizer_names():
                raise
            where = f", as in training ({shortened(extra.user_dir)})" if extra.user_dir else ""
            raise CheckpointError(
                f"{error}; name the plugin that registers it with `--user-dir FOLDER`{where}"
            ) from None

    def settings(self, network: VqWav2Vec) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[VqWav2Vec]) -> str:
        config, quantizer = restored.network.config, restored.network.quantizer
        codes = ""
        if restored.network.has_codes:
            codes = f", {quantizer.num_groups} × {quantizer.num_codes} codes"
        rate = (restored.header.audio or Audio()).sample_rate
        return f"quantizer {config.quantizer}{codes}, {rate} Hz"

    def is_stock(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHITECTURES

    def from_stock(
        self, state: State, path: Path, dict_path: str | Path | None = None
    ) -> Restored[VqWav2Vec]:
        if dict_path is not None:
            raise CheckpointError(
                f"`--dict` goes with roberta or wav2vec_ctc; {path} is a wav2vec: leave it out"
            )
        stock = read_stock_wav2vec(state, path)
        made_from = {"file": path.name, "sha256": sha256(path), "kind": stock.kind}
        try:
            given = {k: v for k, v in wav2vec_settings_of_stock(stock.options).items() if k in _SETTINGS}
            given.update(quantizer_args="{}", quantizer_position="encoder", max_update=stock.max_update)
            audio = Audio.of({name: value for name, value in stock.task.items() if value is not None})
            extra = {"infonce": bool(stock.options.get("infonce") or False)}
            header = Header(self.model, given, audio, extra, made_from, num_updates(state))
            network = self.untrained(header, state["model"], "stock's model")
            weights = wav2vec_weights_of_stock(state["model"], network)
            restored = self.with_weights(header, network, weights, "stock's model")
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return dataclasses.replace(restored, ignored=unknown_options(stock, _SETTINGS))


KIND = VqWav2VecKind()
