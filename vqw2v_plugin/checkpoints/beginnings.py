"""Networks on disk: what a training begins from that is not its own, and what of it fits.

A setting is free where it changes how a network learns, told by shapes where another value makes weights of
other shapes, and else the same on both sides: a network with another activation is another network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..common.words import shortened
from ..modules.layers.conv_spec import parse_conv_layers
from .checks import load_weights
from .files import CheckpointError
from .kinds import Audio, Kind, Restored, Weights

_FREE = {
    *("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features"),
    *("dropout_agg", "encoder_layerdrop", "num_negatives", "cross_sample_negatives", "sample_distance"),
    *("balanced_classes", "vq_temp", "latent_temp", "vq_gamma", "max_update", "logit_temp"),
    *("mask_prob", "mask_length", "mask_channel_prob", "mask_channel_length", "feature_grad_mult"),
    *("centred", "prediction_gain"),
}
_SHAPED = {
    *("vq_vars", "vq_groups", "vq_dim", "vq_depth", "combine_groups", "prediction_steps", "gru_dim"),
    *("latent_vars", "latent_groups", "latent_dim", "quantizer_depth", "final_dim", "encoder_layers"),
    *("encoder_embed_dim", "encoder_ffn_embed_dim", "max_positions"),
}
_OF_CODES = ("quantizer", "quantizer_args")
_QUANTIZERS = ("quantizer.", "input_quantizer.")  # of weights
_COUNTS = ("health.",)  # of a training: the next one counts its own
_NAMED = 4


@dataclass(frozen=True)
class Part:
    """Of a network, by its name."""

    name: str
    taken: int  # parameters with the file's values
    anew: int  # and with values of their own


def take_weights(
    network: nn.Module, kind: Kind[Any], restored: Restored[Any], where: str, reseed: bool = False
) -> list[Part]:
    """Gives a network that was just built the weights of another; what does not fit is refused.

    `reseed`: codes are to begin anew, so that of a quantizer only what fits is taken.
    """
    own, theirs = kind.settings(network), restored.header.settings
    _check_settings(own, theirs, where, reseed)
    _check_symbols(network, restored.network, where)
    given = {name: value for name, value in restored.weights.items() if not name.startswith(_COUNTS)}
    kept = network.state_dict()
    if reseed:
        given = _without_strangers(given, kept, own.get("quantizer") == theirs.get("quantizer"))
    rest = {n: v for n, v in kept.items() if n not in given and n.startswith((*_COUNTS, *_QUANTIZERS))}
    if not reseed:
        rest = {name: value for name, value in rest.items() if name.startswith(_COUNTS)}
        _check_codes(given, kept, own, theirs, where)
    try:
        load_weights(network, {**rest, **given}, where)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_remedy(own, theirs)}") from None
    return _parts(network, given)


def check_audio(audio: Audio, restored: Restored[Any], where: str) -> None:
    """Refuses a network that has learnt to hear other audio."""
    heard = restored.header.audio
    for name, value in vars(heard).items() if heard is not None else ():
        if value != (here := getattr(audio, name)):
            raise CheckpointError(
                f"{where} hears audio with `{name}` {value}, and `task.{name}` is {here}; say it as there"
            )


def _check_settings(own: Mapping[str, Any], theirs: Mapping[str, Any], where: str, reseed: bool) -> None:
    skipped = {*_FREE, *_SHAPED, *(_OF_CODES if reseed else ())}
    found = _differing(own, theirs, skipped)
    if not found:
        return
    of_codes = [name for name in found if name in _OF_CODES]
    more = "; or let codes begin anew, `task.init_codebook=reseed`" if of_codes == list(found) else ""
    raise CheckpointError(f"{where} is of another network: {_named(found)}; say them as there{more}")


def _differing(
    own: Mapping[str, Any], theirs: Mapping[str, Any], skipped: set[str]
) -> dict[str, tuple[Any, Any]]:
    """Here, and there; of what both name."""
    both = {name: (value, theirs[name]) for name, value in own.items() if name in theirs}
    return {
        name: pair
        for name, pair in both.items()
        if name not in skipped and _plain(name, pair[0]) != _plain(name, pair[1])
    }


def _plain(name: str, value: Any) -> Any:
    """One spelling of what may be spelled differently."""
    if name.startswith("conv_") and name.endswith("_layers"):
        return parse_conv_layers(value, name)
    return json.loads(value) if name == "quantizer_args" else value


def _named(found: Mapping[str, tuple[Any, Any]]) -> str:
    told = [f"`{n}` is {shortened(str(a))} here and {shortened(str(b))} there" for n, (a, b) in found.items()]
    more = f", and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return ", ".join(told[:_NAMED]) + more


def _remedy(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Behind weights that do not fit: the settings that make their shapes."""
    found = _differing(own, theirs, {*_FREE, *(set(own) - _SHAPED)})
    return f"; {_named(found)}: say them as there" if found else ""


def _check_symbols(network: nn.Module, other: nn.Module, where: str) -> None:
    """A BERT's rows mean the tokens of one dictionary."""
    own, theirs = (getattr(getattr(each, "symbols", None), "lines", ()) for each in (network, other))
    if own == theirs:
        return
    shorter = min(len(own), len(theirs))
    at = next((i for i in range(shorter) if own[i] != theirs[i]), shorter)
    raise CheckpointError(
        f"{where} reads {len(theirs)} symbols, and {len(own)} are in `task.data`: they differ from line "
        f"{at + 1} of dict.txt on, and codes of another model mean something else; make tokens by the model "
        f"and with the dictionary that it learnt with (`vqw2v discretize … --dict`), or begin with nothing"
    )


def _check_codes(
    given: Weights, kept: Mapping[str, Tensor], own: Mapping[str, Any], theirs: Mapping[str, Any], where: str
) -> None:
    """Whose codes are kept has all that they are made of, moving averages too."""
    lacks = [name for name in kept if name.startswith(_QUANTIZERS) and name not in given]
    if lacks:
        raise CheckpointError(
            f"{where} lacks `{lacks[0]}` of the quantizer{_remedy(own, theirs)}; let codes begin anew: "
            f"`task.init_codebook=reseed`"
        )


def _without_strangers(given: Weights, kept: Mapping[str, Tensor], alike: bool) -> Weights:
    """Of quantizers what fits by name and shape, where both are of one kind."""
    return {
        name: value
        for name, value in given.items()
        if not name.startswith(_QUANTIZERS) or (alike and name in kept and kept[name].shape == value.shape)
    }


def _parts(network: nn.Module, given: Mapping[str, Tensor]) -> list[Part]:
    counted: dict[str, list[int]] = {}
    for name, value in network.named_parameters():
        counts = counted.setdefault(name.partition(".")[0], [0, 0])
        counts[name not in given] += value.numel()
    return [Part(name, *counts) for name, counts in counted.items()]


def table(parts: Sequence[Part]) -> list[str]:
    """A line a part."""
    rows = [("part", "parameters", ""), *((p.name, f"{p.taken + p.anew:,}", _how(p)) for p in parts)]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"  {a:<{wide[0]}}  {b:>{wide[1]}}  {c}".rstrip() for a, b, c in rows]


def _how(part: Part) -> str:
    if not part.anew:
        return "taken"
    return "anew" if not part.taken else f"{part.taken:,} taken, {part.anew:,} anew"
