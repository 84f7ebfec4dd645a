"""wav → features: how a layer of `stores/layers.py` is made of files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.files import CheckpointError, checkpoint_hash
from ..stores.feature_spec import FileId, check_preparation
from ..stores.layers import LAYERS, LayerKind, spectral_names
from ..stores.pieces import MODEL
from .base import FeatureOptions, Features, Layer, check_numbers, number_format, parse_layer, usable_device
from .builders import BUILDERS
from .clusters import FileParts
from .prepared import PreparedFeatures
from .principal import PrincipalFeatures, read_principal

FILES = ("checkpoint", "bert", "pieces")


@dataclass(frozen=True)
class OptionNames:
    """What the user calls the options, for messages."""

    layer: str = "--layer"
    checkpoint: str = "CHECKPOINT"
    bert: str = "--bert"
    pieces: str = "--pieces"
    pca: str = "--pca"
    dtype: str = "--dtype"
    nothing: str | None = "-"  # in place of a checkpoint
    overrides: bool = False  # fairseq-generate's `--model-overrides` says where a file is now


COMMAND = OptionNames()


def load_features(
    layer: str, checkpoint: str | None = None, device: str | torch.device = "cpu", **options: Any
) -> Features:
    """`load_features("c", "checkpoint.pt").of("speech.flac")`; `options` are those of FeatureOptions."""
    return features_on(device, FeatureOptions(layer, checkpoint, **options))


def features_on(device: str | torch.device, options: FeatureOptions) -> Features:
    """As `make_features`, on a device that can be had and has the numbers that are asked for."""
    usable = usable_device(device)
    option = f"`{COMMAND.dtype}`"
    check_numbers(number_format(options.dtype, option), usable, option)
    return make_features(options).to(usable)


def make_features(options: FeatureOptions, names: OptionNames = COMMAND, places: bool = False) -> Features:
    """Features of files, the files' names and hashes in their spec; with `places` also where they lie."""
    features = build_features(options, names)

    def told(name: str) -> FileId | None:
        path = file_of(options, name)
        place = str(path.absolute()) if places and path is not None else None
        return None if path is None else FileId(path.name, checkpoint_hash(path), place)

    features.spec = dataclasses.replace(
        features.spec,
        layer=options.layer,
        dtype=options.dtype,
        checkpoint=told("checkpoint"),
        bert=told("bert"),
        pieces=told("pieces"),
    )
    if options.pca is None:
        return features
    principal = read_principal(Path(options.pca))
    principal.check(features.spec)
    return PrincipalFeatures(features, principal, places)


def build_features(options: FeatureOptions, names: OptionNames = COMMAND) -> Features:
    """The same before components, and nothing is said of the files."""
    layer = parse_layer(options.layer, names.layer)
    number_format(options.dtype, f"`{names.dtype}`")
    _check(options, layer, names)
    check_preparation(options.deltas, options.standardize)
    features = BUILDERS[layer.name](layer, options, FileParts(options))
    if options.deltas or options.standardize != "none":
        features = PreparedFeatures(features, options.deltas, options.standardize)
    return features.eval()


def file_of(options: FeatureOptions, name: str) -> Path | None:
    """The file itself that an option names, for pieces by their folder."""
    given = getattr(options, name)
    return None if given is None else Path(given) / MODEL if name == "pieces" else Path(given)


def _check(options: FeatureOptions, layer: Layer, names: OptionNames) -> None:
    """Refuses files that do not go with the layer, or are not there."""
    kind = LAYERS[layer.name]
    for name in FILES:
        given, option = getattr(options, name), getattr(names, name)
        shown = names.nothing if given is None and name == "checkpoint" else given
        asked = f"`{names.layer}` is {str(layer)!r}"
        said = f"`{option}` is {shown!r} and {asked}"
        if given is None and name in kind.needs:
            raise ValueError(f"{said if name == 'checkpoint' else asked}; {_wanted(name, names, kind)}")
        if given is not None and name not in (*kind.needs, *kind.takes):
            raise ValueError(f"{said}; {_too_much(name, option, names)}")
    for name in (*FILES, "pca"):
        given, option = getattr(options, name), getattr(names, name)
        if names.overrides and given is not None and not Path(given).exists():
            raise CheckpointError(
                f"`{option}` is {given}, which is not there; say where it is now, to fairseq-generate by "
                f"`--model-overrides \"{{'{option}': 'FILE'}}\"`"
            )


def _wanted(name: str, names: OptionNames, kind: LayerKind) -> str:
    if name == "checkpoint":
        return f"expected a {kind.checkpoint} checkpoint; {names.nothing or 'none'} is for {spectral_names()}"
    return (
        "layer `bert` needs a BERT that was trained on these codes: give `--bert BERT.pt` (of an acoustic "
        "model: `front_bert`)"
    )


def _too_much(name: str, option: str, names: OptionNames) -> str:
    if name == "checkpoint":
        return f"expected {names.nothing or 'none'} for {spectral_names()}"
    theirs = [layer for layer, kind in LAYERS.items() if name in (*kind.needs, *kind.takes)]
    return f"`{option}` goes with `{names.layer} {'` or `'.join(theirs)}`; leave out one"
