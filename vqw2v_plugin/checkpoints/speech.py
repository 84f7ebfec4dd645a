"""wav ──BERT──▶ states, on disk: settings and weights of a BERT over speech ↔ the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..modules.bert.config import SPEECH_ARCHS, SpeechBertConfig, SpeechLayersConfig
from ..modules.bert.speech import SpeechBert
from ..modules.layers.spectrum import check_bands
from .checks import check_settings, shown
from .files import CheckpointError
from .format import mapping, model_name, model_options
from .kinds import Audio, Header, Kind, Restored, State

_LAYERS = frozenset(f.name for f in dataclasses.fields(SpeechLayersConfig))  # the model's options
_HEARD = ("bands", "stack", "normalize_bands")  # the task's
_CODES = ("num_groups", "num_codes")  # what the task knows of its tokens


class SpeechBertKind(Kind[SpeechBert]):
    model, expected, hears_audio = "vq_speech_bert", "'vq_speech_bert'", True
    destination = "goes to `vqw2v features … --layer speech`, `vqw2v cluster` or `--front`"

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in SPEECH_ARCHS

    def header(self, state: State) -> Header:
        task, codes = mapping(mapping(state.get("cfg")).get("task")), _codes(state)
        sizes = dataclasses.asdict(SPEECH_ARCHS[str(model_name(state))])
        given = {name: value for name, value in model_options(state).items() if name in _LAYERS}
        layers = {**given, **{n: sizes[n] for n in _LAYERS if given.get(n) is None}}
        heard = {name: task[name] for name in _HEARD if name in task}
        return Header(self.model, {**layers, **heard, **codes}, Audio.of(task))

    def state(self, header: Header) -> dict[str, Any]:
        settings = dataclasses.asdict(check_settings(SpeechBertConfig, header.settings))
        heard = {name: settings[name] for name in _HEARD}
        heard["normalize_bands"] = str(heard["normalize_bands"]).lower()
        audio = dataclasses.asdict(header.audio or Audio())
        cfg = {
            "model": {"_name": self.model, **{name: settings[name] for name in settings if name in _LAYERS}},
            "task": {"_name": "vq_speech_pretraining", "data": ".", "tokens": ".", **audio, **heard},
            "criterion": {"_name": "vq_masked_speech"},
        }
        return {"cfg": cfg, "task_state": {"codes": {name: settings[name] for name in _CODES}}}

    def build(self, header: Header) -> SpeechBert:
        config = check_settings(SpeechBertConfig, header.settings)
        check_bands(config.bands, (header.audio or Audio()).sample_rate)
        return SpeechBert(config)

    def settings(self, network: SpeechBert) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[SpeechBert]) -> str:
        config, audio = restored.network.config, restored.header.audio or Audio()
        codes = f"{config.num_groups} × {config.num_codes} codes"
        return (
            f"{config.encoder_layers} layers of {config.encoder_embed_dim} over {config.bands} bands, "
            f"{codes}, {audio.sample_rate} Hz"
        )


KIND = SpeechBertKind()


def _codes(state: State) -> Mapping[str, Any]:
    held = mapping(state.get("task_state")).get("codes")
    if not isinstance(held, Mapping) or set(held) != set(_CODES):
        raise CheckpointError(
            f"`task_state.codes` is {shown(held)}; expected {' and '.join(_CODES)} of the codes that it "
            f"learnt: take a whole checkpoint"
        )
    return held
