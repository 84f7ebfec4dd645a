"""states ──acoustic model──▶ letters, on disk: what a checkpoint says of its symbols, beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..common.inputs import parse_json
from ..stores.feature_spec import FeatureSpec, first_difference
from ..text.loss_kinds import loss_kind
from ..text.units import Units, make_units
from .checks import shown
from .files import CheckpointError

ABOUT = "about.version_1"  # fairseq's EMA leaves alone what is a `version`


class About(nn.Module):
    """What the state says of the model in words; as whole numbers, which averaged checkpoints keep."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__()
        self.content = dict(content)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        text = json.dumps(self.content, sort_keys=True).encode()
        destination[prefix + "version_1"] = torch.tensor(list(text), dtype=torch.int32)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing_keys: list[str], *others: Any
    ) -> None:
        held = state_dict.get(prefix + "version_1")
        if held is None:
            missing_keys.append(prefix + "version_1")
        else:
            self.check_same(_parse(held))

    def check_same(self, held: Mapping[str, Any]) -> None:
        """Refuses weights for other symbols or other features than those at hand."""
        _check_same(held, self.content)


def describe(units: Units, config: Any, frame_seconds: float, spec: FeatureSpec) -> dict[str, Any]:
    """What `About` holds; `config` is the network's."""
    return {
        "symbols": list(units.symbols),
        "kind": units.kind,
        "loss": units.loss.name,
        "blank": units.blank,
        "repeats": list(units.repeats),
        "frame_seconds": frame_seconds,
        "features": spec.to_json(),
        "network": dataclasses.asdict(config),
    }


def labels_of(units: Units) -> dict[str, Any]:
    """What the task says of its labels, and of the columns that the loss makes of them."""
    labels = [s for i, s in enumerate(units.symbols) if i != units.blank and s not in units.repeats]
    return {
        "symbols": labels,
        "kind": units.kind,
        "loss": units.loss.name,
        "repeats": len(units.repeats),
    }


def units_of(labels: Mapping[str, Any]) -> Units:
    """The model's columns, for what `labels_of` answered."""
    return make_units(loss_kind(labels["loss"]), labels["symbols"], labels["kind"], labels["repeats"])


def said_of_itself(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `About` wrote among the weights."""
    if ABOUT not in weights:
        raise CheckpointError(f"lacks `{ABOUT}`, what it says of its model; expected a whole checkpoint")
    return _parse(weights[ABOUT])


def _parse(held: Tensor) -> dict[str, Any]:
    try:
        about = parse_json(bytes(held.flatten().tolist()).decode())
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"what the checkpoint says of its model is no json ({error}); expected a whole one"
        ) from error
    if not isinstance(about, dict):
        raise CheckpointError(f"what the checkpoint says of its model is {shown(about)}; expected an object")
    return about


def _check_same(held: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuses weights for other symbols or other features than those at hand."""
    for name in ("loss", "kind", "symbols", "repeats"):
        if held.get(name) != own[name]:
            raise CheckpointError(
                f"the checkpoint's `{name}` are {shown(held.get(name))}, here they are "
                f"{shown(own[name])}; use the labels and the criterion that it was trained with"
            )
    specs = [FeatureSpec.from_json(about.get("features") or {}) for about in (held, own)]
    if (found := first_difference(*specs)) is not None:
        name, before, now = found
        raise CheckpointError(
            f"the checkpoint was trained on features whose `{name}` is {shown(before)}, here it is "
            f"{shown(now)}; use the features that it was trained on"
        )
