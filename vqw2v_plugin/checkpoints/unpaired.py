"""features ──generator──▶ phones, on disk: what learnt without labels says its phones and features.

As an acoustic one it says so in json beside its weights, and in an exported folder in config.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from torch import Tensor

from ..modules.unpaired.config import OPTIONS, UnpairedConfig
from ..modules.unpaired.network import UnpairedNetwork
from ..stores.feature_spec import FeatureSpec
from ..text.loss_kinds import LOSS_KINDS
from ..text.units import Units
from .about import ABOUT, About, describe, labels_of, said_of_itself
from .checks import check_settings, shown
from .files import CheckpointError
from .kinds import Header, Kind, Restored, State

NAME = "vq_wav2vec_u"
LOSS = LOSS_KINDS["wav2vec_u"]
ARCHS: dict[str, dict[str, Any]] = {  # what differs from the defaults, in fairseq's w2vu2.yaml
    NAME: {},
    f"{NAME}_2": {
        "generator_kernel": 9,
        "generator_stride": 3,
        "generator_batch_norm": 30.0,
        "generator_residual": True,
        "discriminator_kernel": 8,
        "gradient_penalty": 1.0,
        "code_penalty": 3.0,
        "smoothness_weight": 1.5,
    },
}


def seconds_of(spec: FeatureSpec, stride: int) -> float:
    """From one frame of scores to the next; frames that have no times are counted, one a second."""
    even = spec.has_times and spec.stride and spec.sample_rate
    return stride * spec.frame_seconds if even else float(stride)


@dataclasses.dataclass(frozen=True)
class _Extra:
    """What a header says beside the network's settings: the rest of `describe`."""

    symbols: tuple[str, ...]
    kind: str
    blank: Optional[int]
    repeats: tuple[str, ...]
    frame_seconds: float
    features: Mapping[str, Any]
    loss: str = LOSS.name


def _extra(header: Header) -> _Extra:
    return check_settings(_Extra, header.extra)


def _units(extra: _Extra) -> Units:
    units = Units.from_json(dataclasses.asdict(extra))
    if units.loss != LOSS:
        raise ValueError(f"`loss` is {shown(extra.loss)}; expected {LOSS.name}")
    return units


class UnpairedKind(Kind[UnpairedNetwork]):
    model, expected = NAME, "a wav2vec-U model, as `fairseq-train --task vq_unpaired` writes it"
    destination = "goes to `fairseq-generate --task vq_unpaired --path`"
    no_weights = (ABOUT,)

    def is_of(self, name: str | None, weights: Mapping[str, Tensor]) -> bool:
        return name in ARCHS

    def header(self, state: State) -> Header:
        about = said_of_itself(state["model"])
        network = about.pop("network", None)
        if not isinstance(network, dict):
            raise CheckpointError(f"its `network` is {shown(network)}; expected the network's settings")
        return Header(self.model, network, extra=about)

    def state(self, header: Header) -> dict[str, Any]:
        extra, config = _extra(header), check_settings(UnpairedConfig, header.settings)
        units = _units(extra)
        about = describe(units, config, extra.frame_seconds, FeatureSpec.from_json(extra.features))
        options = {name: getattr(config, name) for name in OPTIONS}
        return {
            "cfg": {
                "model": {"_name": self.model, **options},
                "task": {"_name": "vq_unpaired", "data": "."},
                "criterion": {"_name": LOSS.criterion},
            },
            "task_state": {"acoustic": labels_of(units)},
            "model": About(about).state_dict(prefix="about."),
        }

    def check_options(self, header: Header, name: str, options: Mapping[str, Any]) -> None:
        if name not in ARCHS:
            raise ValueError(f"the model is {shown(name)}; expected one of {', '.join(ARCHS)}")
        given = {option: options[option] for option in OPTIONS if options.get(option) is not None}
        plain = {f.name: f.default for f in dataclasses.fields(UnpairedConfig) if f.name in OPTIONS}
        for option, value in {**plain, **ARCHS[name], **given}.items():
            said = header.settings.get(option, plain[option])
            if _plain(value) != _plain(said):
                raise ValueError(
                    f"`{option}` is {shown(value)}, and the network has {shown(said)}; expected the same"
                )

    def build(self, header: Header) -> UnpairedNetwork:
        extra, config = _extra(header), check_settings(UnpairedConfig, header.settings)
        units, _ = _units(extra), FeatureSpec.from_json(extra.features)
        if config.num_columns != len(units):
            raise ValueError(f"`num_columns` is {config.num_columns}; expected the {len(units)} symbols")
        if extra.frame_seconds <= 0:
            raise ValueError(
                f"`frame_seconds` is {extra.frame_seconds}; expected seconds from frame to frame"
            )
        return UnpairedNetwork(config)

    def settings(self, network: UnpairedNetwork) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def summary(self, restored: Restored[UnpairedNetwork]) -> str:
        extra = _extra(restored.header)
        layer = extra.features.get("layer")
        return f"{len(extra.symbols)} phones without labels, over features {layer}"


def _plain(value: Any) -> Any:
    """Switches may be words in fairseq's options."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


KIND = UnpairedKind()
