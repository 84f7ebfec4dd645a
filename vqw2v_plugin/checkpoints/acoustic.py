"""states ──acoustic model──▶ letters, on disk: an acoustic checkpoint tells all that decoding needs.

fairseq's trainer writes the model's state; in it, beside the weights, json says which symbols the columns
are, which features the network wants and how long a frame is: neither the data nor fairseq is asked again.
In an exported folder config.json says the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from torch import Tensor

from ..modules.acoustic.conv_stack import ARCHS
from ..modules.acoustic.losses import make_sequence_loss
from ..modules.acoustic.network import AcousticConfig, AcousticModel
from ..stores.feature_spec import FeatureSpec
from ..text.units import Units
from .about import ABOUT, About, describe, labels_of, said_of_itself
from .checks import check_settings, shown
from .files import CheckpointError
from .format import load, model_options
from .kinds import Header, Kind, Restored, State

_FRONT = "front."  # of the names of weights
_NAMES_HERE = {"conv_layers": "layers", "normalize_features": "normalize"}  # of fairseq's options


@dataclasses.dataclass(frozen=True)
class Acoustic:
    """A trained acoustic model in eval mode."""

    network: AcousticModel
    units: Units
    transitions: Tensor | None  # [V, V]: to, from; of a loss that has any
    frame_seconds: float  # from one frame of emissions to the next
    spec: FeatureSpec  # what the features are
    path: Path = Path()  # what it was read from
    front_weights: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False)  # fine-tuned


def make_network(config: AcousticConfig, units: Units) -> AcousticModel:
    """An untrained network with the loss of its units."""
    return AcousticModel(config, make_sequence_loss(units.loss.name, len(units), units.blank))


def load_acoustic(path: str | Path) -> Acoustic:
    """What `fairseq-train --arch vq_wav2letter…` or `vqw2v export` wrote, with nothing of fairseq's."""
    return acoustic_of(load(Path(path), KIND), Path(path))


def acoustic_of(restored: Restored[AcousticModel], path: Path) -> Acoustic:
    """What has been read, with what it says of itself."""
    network, extra = restored.network.requires_grad_(False), _extra(restored.header)
    transitions = None if network.transitions is None else network.transitions.detach()
    front = {name.removeprefix(_FRONT): value for name, value in restored.extra_weights.items()}
    return Acoustic(network, _units(extra), transitions, extra.frame_seconds, _spec(extra), path, front)


@dataclasses.dataclass(frozen=True)
class _Extra:
    """What a header says beside the network's settings: the rest of `describe`, and the front's options."""

    symbols: tuple[str, ...]
    kind: str
    blank: Optional[int]
    repeats: tuple[str, ...]
    frame_seconds: float
    features: Mapping[str, Any]
    loss: str = ""
    front: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _extra(header: Header) -> _Extra:
    return check_settings(_Extra, header.extra)


def _units(extra: _Extra) -> Units:
    return Units.from_json(dataclasses.asdict(extra))


def _spec(extra: _Extra) -> FeatureSpec:
    return FeatureSpec.from_json(extra.features)


class AcousticKind(Kind[AcousticModel]):
    model, expected = "vq_wav2letter", "an acoustic model, as `fairseq-train --task vq_acoustic` writes it"
    destination = "goes to `vqw2v transcribe` or `fairseq-generate --path`"
    extra_weights, no_weights = (_FRONT,), (ABOUT,)

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return ABOUT in weights or (name or "").startswith(self.model)

    def header(self, state: State) -> Header:
        about = said_of_itself(state["model"])
        network = about.pop("network", None)
        if not isinstance(network, dict):
            raise CheckpointError(f"its `network` is {shown(network)}; expected the network's settings")
        options = model_options(state)
        front = {
            name: options[name] for name in options if name.startswith("front") or name == "freeze_updates"
        }
        return Header(self.model, network, extra={**about, "front": front} if front else about)

    def state(self, header: Header) -> dict[str, Any]:
        extra = _extra(header)
        units = _units(extra)
        config = check_settings(AcousticConfig, header.settings)
        options = dataclasses.asdict(config)
        del options["in_dim"], options["num_columns"]
        stack = {"conv_layers": options.pop("layers"), "normalize_features": options.pop("normalize")}
        masks = options.pop("masks")
        about = describe(units, config, extra.frame_seconds, _spec(extra))
        return {
            "cfg": {
                "model": {"_name": self.model, **stack, **options, **masks, **extra.front},
                "task": {"_name": "vq_acoustic", "data": "."},
                "criterion": {"_name": units.loss.criterion},
            },
            "task_state": {"acoustic": labels_of(units)},
            "model": About(about).state_dict(prefix="about."),
        }

    def check_options(self, header: Header, name: str, options: Mapping[str, Any]) -> None:
        if name not in ARCHS:
            raise ValueError(f"the model is {shown(name)}; expected one of {', '.join(ARCHS)}")
        asked = {"normalize_features": "utterance", **ARCHS[name]._asdict()}
        asked |= {option: options[option] for option in asked if options.get(option) is not None}
        for option, value in asked.items():
            said = header.settings.get(_NAMES_HERE.get(option, option))
            if value != said:
                raise ValueError(
                    f"`{option}` is {shown(value)}, and the network has {shown(said)}; expected the same"
                )

    def build(self, header: Header) -> AcousticModel:
        extra, config = _extra(header), check_settings(AcousticConfig, header.settings)
        units, _ = _units(extra), _spec(extra)
        if config.num_columns != len(units):
            raise ValueError(f"`num_columns` is {config.num_columns}; expected the {len(units)} symbols")
        if extra.frame_seconds <= 0:
            raise ValueError(
                f"`frame_seconds` is {extra.frame_seconds}; expected seconds from frame to frame"
            )
        return make_network(config, units)

    def settings(self, network: AcousticModel) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[AcousticModel]) -> str:
        extra = _extra(restored.header)
        layer = extra.features.get("layer")
        return f"{extra.loss}, {len(extra.symbols)} columns of {extra.kind}, over features {layer}"


KIND = AcousticKind()
