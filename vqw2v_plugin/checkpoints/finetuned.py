"""wav ──wav2vec 2.0──▶ states ──▶ letters, on disk: a fine-tuned network needs no pretrained file any more.

fairseq's trainer writes what the network is made of in three places: how it is fine-tuned is the model's
options, which wav2vec 2.0 that was, and what its labels are, is the task's state.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from torch import Tensor

from ..modules.acoustic.losses import make_sequence_loss
from ..modules.finetuned.config import FineTunedConfig, FineTuning, without_targets
from ..modules.finetuned.network import FineTuned
from ..modules.layers.conv_spec import ConvGeometry, parse_conv_layers
from ..modules.wav2vec2.config import Wav2Vec2Config
from ..modules.wav2vec2.network import Wav2Vec2
from ..stores.feature_spec import FeatureSpec
from ..text.loss_kinds import LOSS_KINDS
from ..text.units import MOST_REPEATS, Units
from .about import ABOUT, About, describe, labels_of, said_of_itself, units_of
from .checks import check_settings, load_weights, shown
from .files import CheckpointError, sha256
from .format import mapping, model_options, num_updates, read_checkpoint
from .kinds import AUDIO, Audio, Header, Kind, Restored, State
from .stock_wav2vec2 import unknown_wav2vec2_options, wav2vec2_settings_of_stock
from .stock_wav2vec_ctc import (
    ARCHITECTURES,
    fine_tuned_weights_of_stock,
    num_columns_of,
    pretrained_options,
    symbols_of_stock,
    tuning_of_stock,
)
from .wav2vec2 import KIND as WAV2VEC2
from .wav2vec2 import make_wav2vec2

NAME = "vq_wav2vec2_ctc"
ARCHS = (NAME, f"{NAME}_base", f"{NAME}_large", f"{NAME}_small")
TUNING = tuple(f.name for f in dataclasses.fields(FineTuning))
WORDS = tuple(f.name for f in dataclasses.fields(FineTuning) if f.default is True)  # in fairseq's options
STATE = "wav2vec2"  # of the task's state
_INSIDE = "wav2vec2."  # of the names of weights
_OF_TARGETS = ("quantizer.", "target_projection.", "final_projection.", "health.", "signs.")


@dataclasses.dataclass(frozen=True)
class Start:
    """What fine-tuning begins from: a wav2vec 2.0, the audio that it hears, and weights if there are any."""

    config: Wav2Vec2Config
    audio: Audio
    weights: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False)
    path: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the task's state."""
        return {"settings": dataclasses.asdict(self.config), **dataclasses.asdict(self.audio)}

    @classmethod
    def from_json(cls, said: Any) -> Start:
        held = mapping(said)
        if not isinstance(held.get("settings"), Mapping) or not set(AUDIO) <= held.keys():
            raise CheckpointError(
                f"`task_state.{STATE}` is {shown(said)}; expected the settings of a wav2vec 2.0 and its "
                f"audio: take a whole checkpoint"
            )
        return cls(check_settings(Wav2Vec2Config, held["settings"]), Audio.of(held))


def read_start(path: str | Path) -> Start:
    """Of a pretrained wav2vec 2.0, or of one that was fine-tuned before."""
    header, weights = read_checkpoint(Path(path), WAV2VEC2, KIND)
    audio = header.audio or Audio()
    try:
        if header.model == NAME:
            config = check_settings(FineTunedConfig, header.settings).wav2vec2
            inside = {k.removeprefix(_INSIDE): v for k, v in weights.items() if k.startswith(_INSIDE)}
            return Start(config, audio, inside, str(path))
        config = check_settings(Wav2Vec2Config, header.settings)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    kept = {}
    for name, value in weights.items():
        if config.same_quantizer and name.startswith("quantizer."):
            kept[f"input_{name}"] = value
        elif not name.startswith(_OF_TARGETS):
            kept[name] = value
    return Start(without_targets(config), audio, kept, str(path))


def make_fine_tuned(config: FineTunedConfig, units: Units) -> FineTuned:
    """An untrained network with the loss of its units."""
    loss = make_sequence_loss(units.loss.name, len(units), units.blank)
    return FineTuned(config, make_wav2vec2(config.network, compares=False), loss)


def begun(start: Start, tuning: FineTuning, units: Units) -> FineTuned:
    """A network with the weights that fine-tuning begins from, if there are any yet."""
    config = FineTunedConfig(len(units), start.config, tuning)
    if not start.weights:
        return make_fine_tuned(config, units)
    header = fine_tuned_header(config, start.audio, units)
    network = KIND.untrained(header, start.weights, start.path)
    load_weights(network.wav2vec2, start.weights, start.path)
    return network


def fine_tuned_header(
    config: FineTunedConfig,
    audio: Audio,
    units: Units,
    made_from: Mapping[str, Any] | None = None,
    num_updates: int = 0,
) -> Header:
    extra = {**units.to_json(), "loss": units.loss.name}
    return Header(NAME, dataclasses.asdict(config), audio, extra, made_from or {}, num_updates)


def about_of(config: FineTunedConfig, units: Units, audio: Audio) -> About:
    """What a model of fairseq's says of itself."""
    layers = parse_conv_layers(config.wav2vec2.conv_feature_layers, "conv_feature_layers")
    seconds = ConvGeometry.of(layers).stride / audio.sample_rate
    return About(describe(units, config, seconds, FeatureSpec(**dataclasses.asdict(audio))))


def heard_by(restored: Restored[Any]) -> Restored[Wav2Vec2]:
    """The wav2vec 2.0 itself, or the one in a network that was fine-tuned."""
    network = restored.network
    inner = network.wav2vec2 if isinstance(network, FineTuned) else network
    return dataclasses.replace(restored, network=inner)


@dataclasses.dataclass(frozen=True)
class _Extra:
    """The columns."""

    symbols: tuple[str, ...]
    kind: str
    blank: Optional[int]
    repeats: tuple[str, ...]
    loss: str


@dataclasses.dataclass(frozen=True)
class _Labels:
    """What the task's state says of them."""

    symbols: tuple[str, ...]
    kind: str
    loss: str
    repeats: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.repeats <= MOST_REPEATS:
            raise ValueError(f"`repeats` is {self.repeats}; expected 0 to {MOST_REPEATS}")


def columns_of(header: Header) -> Units:
    return Units.from_json(dataclasses.asdict(check_settings(_Extra, header.extra)))


class FineTunedKind(Kind[FineTuned]):
    model, expected, hears_audio = NAME, "a fine-tuned 'vq_wav2vec2_ctc'", True
    destination = "goes to `vqw2v transcribe`, `fairseq-generate --path` or `vqw2v features … --layer w2v2`"
    no_weights = (ABOUT,)

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHS

    def header(self, state: State) -> Header:
        task, options = mapping(state.get("task_state")), model_options(state)
        start = Start.from_json(task.get(STATE))
        units = units_of(dataclasses.asdict(check_settings(_Labels, mapping(task.get("acoustic")))))
        tuning = check_settings(FineTuning, {name: options[name] for name in TUNING if name in options})
        config = FineTunedConfig(len(units), start.config, tuning)
        about, network = said_of_itself(state["model"]), json.loads(json.dumps(dataclasses.asdict(config)))
        if about.get("network") != network or about.get("symbols") != list(units.symbols):
            raise ValueError(
                "what stands among its weights of its network is not what its options and its task's state "
                "say; expected the same"
            )
        return fine_tuned_header(config, start.audio, units)

    def state(self, header: Header) -> dict[str, Any]:
        config, units = check_settings(FineTunedConfig, header.settings), columns_of(header)
        audio = header.audio or Audio()
        options = dataclasses.asdict(config.tuning)
        options |= {name: str(options[name]).lower() for name in WORDS}
        return {
            "cfg": {
                "model": {"_name": self.model, **options},
                "task": {"_name": "vq_acoustic", "data": ".", "sample_rate": audio.sample_rate},
                "criterion": {"_name": units.loss.criterion},
            },
            "task_state": {"acoustic": labels_of(units), STATE: Start(config.wav2vec2, audio).to_json()},
            "model": about_of(config, units, audio).state_dict(prefix="about."),
        }

    def build(self, header: Header) -> FineTuned:
        config, units = check_settings(FineTunedConfig, header.settings), columns_of(header)
        if config.num_columns != len(units):
            raise ValueError(f"`num_columns` is {config.num_columns}; expected the {len(units)} symbols")
        return make_fine_tuned(config, units)

    def is_stock(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHITECTURES

    def from_stock(
        self, state: State, path: Path, dict_path: str | Path | None = None
    ) -> Restored[FineTuned]:
        options, cfg = model_options(state), mapping(state.get("cfg"))
        dated = bool(cfg.get("model"))
        inner, inner_task = pretrained_options(options, path)
        symbols, kind = symbols_of_stock(path, dict_path, num_columns_of(state["model"], path))
        task = {**inner_task, **(mapping(cfg.get("task")) if dated else options)}
        made = "cfg" if dated else "args of 2020"
        made_from = {"file": path.name, "sha256": sha256(path), "kind": f"stock wav2vec_ctc, {made}"}
        try:
            units = Units(tuple(symbols), kind, 0, loss=LOSS_KINDS["ctc"])
            pretrained = check_settings(Wav2Vec2Config, wav2vec2_settings_of_stock(inner))
            config = FineTunedConfig(len(units), without_targets(pretrained), tuning_of_stock(options))
            audio = Audio.of({name: value for name, value in task.items() if value is not None})
            header = fine_tuned_header(config, audio, units, made_from, num_updates(state))
            network = self.untrained(header, state["model"], "stock's model")
            weights = fine_tuned_weights_of_stock(state["model"], network.wav2vec2.config)
            restored = self.with_weights(header, network, weights, "stock's model")
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        return dataclasses.replace(restored, ignored=unknown_wav2vec2_options(inner) if dated else ())

    def settings(self, network: FineTuned) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[FineTuned]) -> str:
        config, extra = restored.network.wav2vec2.config, check_settings(_Extra, restored.header.extra)
        rate = (restored.header.audio or Audio()).sample_rate
        return (
            f"{config.encoder_layers} layers of {config.encoder_embed_dim}, {extra.loss}, "
            f"{len(extra.symbols)} columns of {extra.kind}, {rate} Hz"
        )


KIND = FineTunedKind()
