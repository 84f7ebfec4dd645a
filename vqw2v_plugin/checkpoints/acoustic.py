"""states ──acoustic model──▶ letters, on disk: an acoustic checkpoint tells all that decoding needs.

fairseq's trainer writes the model's state; in it, beside the weights, json says which symbols the columns
are, which features the network wants and how long a frame is: neither the data nor fairseq is asked again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..modules.acoustic.asg import ASG
from ..modules.acoustic.ctc import CTC
from ..modules.acoustic.network import AcousticConfig, AcousticModel
from ..modules.layers.masks import SpecMasks
from ..stores.feature_spec import FeatureSpec, first_difference
from ..text.units import Units
from .files import CheckpointError, read_pickle

_NETWORK, _FRONT = "network.", "front."  # of the names of weights
_ABOUT = "about.version_1"  # fairseq's EMA leaves alone what is a `version`


@dataclasses.dataclass(frozen=True)
class Acoustic:
    """A trained acoustic model in eval mode."""

    network: AcousticModel
    units: Units
    transitions: Tensor | None  # [V, V]: to, from; ASG's alone
    frame_seconds: float  # from one frame of emissions to the next
    spec: FeatureSpec  # what the features are
    folder: Path = Path()  # where it was read from
    front_weights: Mapping[str, Tensor] = dataclasses.field(default_factory=dict, repr=False)  # fine-tuned


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
            _check_same(_parse(held, "the checkpoint"), self.content)


def describe(units: Units, config: AcousticConfig, frame_seconds: float, spec: FeatureSpec) -> dict[str, Any]:
    """What `About` holds."""
    return {
        "symbols": list(units.symbols),
        "kind": units.kind,
        "loss": "ctc" if units.is_ctc else "asg",
        "blank": units.blank,
        "repeats": list(units.repeats),
        "frame_seconds": frame_seconds,
        "features": spec.to_json(),
        "network": dataclasses.asdict(config),
    }


def make_network(config: AcousticConfig, units: Units) -> AcousticModel:
    """An untrained network with the loss of its units."""
    loss = ASG(len(units)) if units.blank is None else CTC(units.blank)
    return AcousticModel(config, loss)


def load_acoustic(path: str | Path) -> Acoustic:
    """What `fairseq-train --arch vq_wav2letter…` wrote, with nothing of fairseq's."""
    path = Path(path)
    state = read_pickle(path)
    held = state["model"].get(_ABOUT)
    if held is None:
        raise CheckpointError(
            f"{path} holds {_model_name(state)}; expected an acoustic model, as `fairseq-train --task "
            f"vq_acoustic` writes it"
        )
    about = _parse(held, str(path))
    try:
        units = Units(tuple(about["symbols"]), about["kind"], about["blank"], tuple(about["repeats"]))
        settings = {**about["network"], "masks": SpecMasks(**about["network"]["masks"])}
        with torch.random.fork_rng(devices=[]):
            network = make_network(AcousticConfig(**settings), units)
        frame_seconds, spec = float(about["frame_seconds"]), FeatureSpec.from_json(about["features"])
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path}: what it says of its model cannot be used: {error!r}") from error
    load_acoustic_weights(network, _part(state["model"], _NETWORK), str(path))
    network.eval().requires_grad_(False)
    transitions = None if network.transitions is None else network.transitions.detach()
    front = _part(state["model"], _FRONT)
    return Acoustic(network, units, transitions, frame_seconds, spec, path.parent, front)


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def load_acoustic_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"{where}: weight {name!r} holds NaN or infinity: take a checkpoint from before that"
            )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(f"{where}: its settings and weights do not fit: {reasons[0]}") from error


def _parse(held: Tensor, where: str) -> dict[str, Any]:
    try:
        about = json.loads(bytes(held.flatten().tolist()))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{where}: what it says of its model is no json ({error}); expected a whole checkpoint"
        ) from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{where}: what it says of its model is {about!r}; expected an object")
    return about


def _check_same(held: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuses weights for other symbols or other features than those at hand."""
    for name in ("loss", "kind", "symbols", "repeats"):
        if held.get(name) != own[name]:
            raise CheckpointError(
                f"the checkpoint's `{name}` are {held.get(name)!r}, here they are {own[name]!r}; use the "
                f"labels and the criterion that it was trained with"
            )
    specs = [FeatureSpec.from_json(about.get("features") or {}) for about in (held, own)]
    if (found := first_difference(*specs)) is not None:
        name, before, now = found
        raise CheckpointError(
            f"the checkpoint was trained on features whose `{name}` is {before!r}, here it is {now!r}; "
            f"use the features that it was trained on"
        )


def _model_name(state: Mapping[str, Any]) -> str:
    model = (state.get("cfg") or {}).get("model") or {}
    name = model.get("_name") if isinstance(model, Mapping) else None
    return f"the model {name!r}" if name else "another model"
