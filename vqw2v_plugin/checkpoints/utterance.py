"""states ──head──▶ class, on disk: a checkpoint says its classes, and the features that it was trained on.

As an acoustic one it says so in json beside its weights, and in an exported folder in config.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..modules.utterance.network import UtteranceConfig, UtteranceNetwork
from ..stores.feature_spec import FeatureSpec, first_difference
from ..text.classes import Classes
from .about import ABOUT, About, said_of_itself
from .checks import check_settings, shown
from .files import CheckpointError
from .format import model_options
from .kinds import Header, Kind, Restored, State

NAME = "vq_utterance"
STATE = "utterance"  # of the task's state
_FRONT = "front."  # of the names of weights
_NAMES_HERE = {"normalize_features": "normalize"}  # of fairseq's options
_OPTIONS = ("hidden_dim", "pooling", "normalize_features", "dropout")


class AboutUtterances(About):
    """What the state says of the model in words."""

    def check_same(self, held: Mapping[str, Any]) -> None:
        """Refuses weights for other classes or other features than those at hand."""
        own = self.content
        if held.get("classes") != own["classes"]:
            raise CheckpointError(
                f"the checkpoint's classes are {shown(held.get('classes'))}, here they are "
                f"{shown(own['classes'])}; use the labels that it was trained with"
            )
        theirs, ours = (_specs(about.get("features")) for about in (held, own))
        if len(theirs) != len(ours):
            raise CheckpointError(
                f"the checkpoint was trained on {len(theirs)} layers, here are {len(ours)}; use the features "
                "that it was trained on, in the same order"
            )
        for number, specs in enumerate(zip(theirs, ours, strict=True), 1):
            if (found := first_difference(*specs)) is not None:
                name, before, now = found
                which = f" {number} of {len(ours)}" if len(ours) > 1 else ""
                raise CheckpointError(
                    f"the checkpoint was trained on features{which} whose `{name}` is {shown(before)}, here "
                    f"it is {shown(now)}; use the features that it was trained on"
                )


def about_of(classes: Classes, config: UtteranceConfig, specs: Sequence[FeatureSpec]) -> AboutUtterances:
    """What a model of fairseq's says of itself."""
    features = [spec.to_json() for spec in specs]
    network = dataclasses.asdict(config)
    return AboutUtterances({"classes": list(classes.names), "features": features, "network": network})


@dataclasses.dataclass(frozen=True)
class _Extra:
    """What a header says beside the network's settings, and the front's options."""

    classes: tuple[str, ...]
    features: tuple[Mapping[str, Any], ...]
    front: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _extra(header: Header) -> _Extra:
    return check_settings(_Extra, header.extra)


def _specs(held: Any) -> list[FeatureSpec]:
    return [FeatureSpec.from_json(each) for each in held or ()]


class UtteranceKind(Kind[UtteranceNetwork]):
    model, expected = NAME, "a head for utterances, as `fairseq-train --task vq_utterance` writes it"
    destination = "goes to `fairseq-generate --task vq_utterance --path`"
    extra_weights, no_weights = (_FRONT,), (ABOUT,)

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
        extra, config = _extra(header), check_settings(UtteranceConfig, header.settings)
        options = {name: getattr(config, _NAMES_HERE.get(name, name)) for name in _OPTIONS}
        about = about_of(Classes(extra.classes), config, _specs(extra.features))
        return {
            "cfg": {
                "model": {"_name": self.model, **options, **extra.front},
                "task": {"_name": "vq_utterance", "data": "."},
                "criterion": {"_name": "vq_utterance"},
            },
            "task_state": {STATE: {"classes": list(extra.classes)}},
            "model": about.state_dict(prefix="about."),
        }

    def check_options(self, header: Header, name: str, options: Mapping[str, Any]) -> None:
        for option in _OPTIONS:
            value, said = options.get(option), header.settings.get(_NAMES_HERE.get(option, option))
            if value is not None and value != said:
                raise ValueError(
                    f"`{option}` is {shown(value)}, and the network has {shown(said)}; expected the same"
                )

    def build(self, header: Header) -> UtteranceNetwork:
        extra, config = _extra(header), check_settings(UtteranceConfig, header.settings)
        for name, expected, got in (
            ("num_classes", len(Classes(extra.classes)), config.num_classes),
            ("num_layers", len(_specs(extra.features)), config.num_layers),
        ):
            if got != expected:
                raise ValueError(f"`{name}` is {got}; expected the {expected} that it says")
        return UtteranceNetwork(config)

    def settings(self, network: UtteranceNetwork) -> dict[str, Any]:
        return dataclasses.asdict(network.config)

    def with_weights(
        self, header: Header, network: UtteranceNetwork, weights: Mapping[str, Tensor], where: str
    ) -> Restored[UtteranceNetwork]:
        restored = super().with_weights(header, network, weights, where)
        if not bool((network.scale > 0).all()):
            raise CheckpointError(f"{where}: `scale` holds numbers that are not positive; copy it anew")
        return restored

    def summary(self, restored: Restored[UtteranceNetwork]) -> str:
        extra = _extra(restored.header)
        layers = ", ".join(str(each.get("layer")) for each in extra.features)
        return f"{len(extra.classes)} classes of utterances, over features {layers}"


KIND = UtteranceKind()
