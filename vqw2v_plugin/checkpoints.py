"""wav → z → tokens and c, on disk: settings and weights ↔ the torch network, ours and stock fairseq's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .modules.vq_wav2vec import VqWav2Vec, VqWav2VecConfig
from .quantizers import build_quantizer


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


def build_network(settings: Mapping[str, Any]) -> VqWav2Vec:
    """An untrained network; options that are not given have the paper's values, others' are ignored."""
    known = {f.name for f in dataclasses.fields(VqWav2VecConfig)}
    config = VqWav2VecConfig(**{name: value for name, value in settings.items() if name in known})
    config.vq_temp = list(config.vq_temp)
    options = dataclasses.asdict(config)
    for name in ("quantizer", "quantizer_args", "quantizer_position"):
        options.pop(name)

    return VqWav2Vec(
        config, lambda dim: build_quantizer(config.quantizer, dim, options, config.quantizer_args)
    )


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained network in eval mode, and the audio that it expects."""

    network: VqWav2Vec
    sample_rate: int  # Hz
    normalize: bool  # each clip at zero mean and unit variance


def load_network(path: str | Path) -> Loaded:
    """What fairseq's trainer wrote for `vq_wav2vec`."""
    state = _read(Path(path))
    model = (state.get("cfg") or {}).get("model") or {}
    if not isinstance(model, Mapping) or model.get("_name") != "vq_wav2vec":
        name = model.get("_name") if isinstance(model, Mapping) else type(model).__name__
        raise CheckpointError(f"{path} holds the model {name!r}; expected 'vq_wav2vec'")
    network = build_network(model)
    prefix = "network."
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)}
    )
    task = state["cfg"].get("task") or {}
    return Loaded(network.eval(), int(task.get("sample_rate", 16_000)), bool(task.get("normalize", False)))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"{path} is no file; expected a checkpoint such as checkpoints/checkpoint_best.pt"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint of weights alone: {reason}") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise CheckpointError(f"{path} holds no model; expected a checkpoint that fairseq's trainer wrote")
    return state


def stock_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for stock's `wav2vec` options; its `vq_type` is our `quantizer`."""
    settings = {k: v for k, v in options.items() if not k.startswith("_")}
    settings["quantizer"] = str(settings.pop("vq_type", None) or "none")
    return settings


_STOCK_NAMES = [
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"encoder.layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.", r"encoder.layers.\1.norm."),
    (r"feature_aggregator\.conv_layers\.(\d+)\.1\.", r"context.layers.\1.conv."),
    (r"feature_aggregator\.conv_layers\.(\d+)\.3\.", r"context.layers.\1.norm."),
    (r"feature_aggregator\.residual_proj\.(\d+)\.", r"context.layers.\1.residual."),
    (r"vector_quantizer\.projection\.0\.", r"quantizer.projection."),
    (r"vector_quantizer\.projection\.1\.", r"quantizer.norm."),
    (r"vector_quantizer\.(?:vars|embedding)$", r"quantizer.codebook.entries"),
    (r"vector_quantizer\.weight_proj\.(weight|bias)$", r"quantizer.head.0.\1"),
    (r"wav2vec_predictions\.project_to_steps\.", r"predictor."),
]


def stock_weights(state: Mapping[str, Tensor], network: VqWav2Vec) -> dict[str, Tensor]:
    """Stock `Wav2VecModel`'s weights under our names and in our layouts, for `network.load_state_dict`."""
    ours = {}
    for name, value in state.items():
        if name.startswith("project_features."):
            if network.target_context is None:  # 'same': the aggregator's own weights a second time
                continue
            aggregator = name.replace("project_features.", "feature_aggregator.", 1)
            ours[_our_name(aggregator).replace("context.", "target_context.", 1)] = value
        else:
            ours[_our_name(name)] = value
    # [C_in, C, 1, K] of a transposed convolution → [K, C, C_in], furthest step first
    ours["predictor.weight"] = ours["predictor.weight"].squeeze(2).permute(2, 1, 0).flip(0)
    entries = "quantizer.codebook.entries"
    if "vector_quantizer.vars" in state:  # [1, G·V, D] → [G, V, D]
        ours[entries] = ours[entries].view_as(network.get_parameter(entries))
    elif "vector_quantizer.embedding" in state:  # [V, G, D] → [G, V, D]
        ours[entries] = ours[entries].transpose(0, 1)
    return {name: value.contiguous() for name, value in ours.items()}


def _our_name(stock: str) -> str:
    head = re.fullmatch(r"vector_quantizer\.weight_proj\.(\d+)\.(?:0\.)?(weight|bias)", stock)
    if head:  # stock nests each linear layer with its activation, ours alternate
        return f"quantizer.head.{2 * int(head[1])}.{head[2]}"
    for pattern, ours in _STOCK_NAMES:
        if re.match(pattern, stock):
            return re.sub(pattern, ours, stock)
    raise CheckpointError(
        f"stock weight {stock!r} has no place in vq_wav2vec; is this a `wav2vec` checkpoint?"
    )
