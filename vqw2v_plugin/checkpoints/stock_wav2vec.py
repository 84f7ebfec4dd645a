"""Stock fairseq's wav2vec and vq-wav2vec checkpoints → our settings and our weights' names and layouts."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..modules.wav2vec.network import VqWav2Vec
from .checks import shown
from .files import CheckpointError
from .format import mapping, model_options, whole

ARCHITECTURES = ("wav2vec", "audio_cpc")  # the second is what it was called before its release
# what stock's model does when a file lacks the option, where ours would do another thing
_STOCK_DEFAULTS: dict[str, Any] = {
    "prediction_steps": 12,
    "vq_depth": 1,
    "vq_temp": (2.0, 0.5, 0.999995),
}
_STOCK_ONLY = {"vq_type", "infonce", "encoder"}


@dataclass(frozen=True)
class StockWav2Vec:
    """What a stock file says, in its own words."""

    kind: str
    options: dict[str, Any]  # of the model
    task: Mapping[str, Any]
    max_update: int


def read_stock_wav2vec(state: Mapping[str, Any], path: Path) -> StockWav2Vec:
    """Today's files hold `cfg`, those of 2019 `args`, which mix the model's options with all others."""
    options, cfg = model_options(state), mapping(state.get("cfg"))
    if cfg.get("model"):
        kind, task, training = (
            "stock fairseq, cfg",
            mapping(cfg.get("task")),
            mapping(cfg.get("optimization")),
        )
    else:
        kind, task, training = "stock fairseq, args of 2019", options, options
    if options.get("aggregator") == "gru":
        raise CheckpointError(
            f"{path}: `aggregator` is 'gru', and stock's recurs over the batch where ours recurs over time, "
            f"so its weights would mean something else; only 'cnn' can be imported"
        )
    return StockWav2Vec(kind, options, task, whole(training.get("max_update")))


def unknown_options(stock: StockWav2Vec, known: Collection[str]) -> list[str]:
    """Options of a `cfg`'s model that neither stock's wav2vec nor ours has; `args` mix in the trainer's."""
    if "args" in stock.kind:
        return []
    return sorted(n for n in stock.options if not n.startswith("_") and n not in {*known, *_STOCK_ONLY})


def wav2vec_settings_of_stock(options: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for stock's `wav2vec` options; its `vq_type` is our `quantizer`."""
    given = {k: v for k, v in options.items() if not k.startswith("_") and v is not None}
    settings = {**_STOCK_DEFAULTS, **given}
    settings["quantizer"] = str(settings.pop("vq_type", "none"))
    settings["vq_temp"] = _numbers("vq_temp", settings["vq_temp"])
    if settings.get("cross_sample_negatives") is True:  # a switch in 2019: all negatives from the whole batch
        settings["cross_sample_negatives"] = settings.get("num_negatives", 1)
        settings["num_negatives"] = 0
    elif settings.get("cross_sample_negatives") is False:
        settings["cross_sample_negatives"] = 0
    if type(settings.get("offset")) is int:
        settings["offset"] = str(settings["offset"])
    return settings


def _numbers(name: str, value: Any) -> list[float]:
    """A tuple, or one spelled as a string, as the command line of 2019 left it."""
    try:
        row = ast.literal_eval(value) if isinstance(value, str) else value
        return [float(number) for number in row]
    except (ValueError, TypeError, SyntaxError, OverflowError):
        raise CheckpointError(
            f"`{name}` is {shown(value)}; expected numbers such as (2.0, 0.5, 0.999995)"
        ) from None


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


def wav2vec_weights_of_stock(state: Mapping[str, Tensor], network: VqWav2Vec) -> dict[str, Tensor]:
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
    steps = ours.get("predictor.weight")
    if steps is not None and steps.ndim == 4:
        ours["predictor.weight"] = steps.squeeze(2).permute(2, 1, 0).flip(0)
    entries = "quantizer.codebook.entries"
    expected = dict(network.named_parameters()).get(entries)
    if "vector_quantizer.vars" in state and expected is not None:
        if ours[entries].numel() == expected.numel():
            ours[entries] = ours[entries].reshape(expected.shape)  # [1, G·V, D] → [G, V, D]
    elif "vector_quantizer.embedding" in state and ours[entries].ndim == 3:  # [V, G, D] → [G, V, D]
        ours[entries] = ours[entries].transpose(0, 1)
    kept = network.state_dict()  # stock has no buffers, such as statistics: ours stay as they are
    buffers = {name: kept[name] for name, _ in network.named_buffers() if name in kept}
    return {**buffers, **{name: value.contiguous() for name, value in ours.items()}}


def _our_name(stock: str) -> str:
    head = re.fullmatch(r"vector_quantizer\.weight_proj\.(\d+)\.(?:0\.)?(weight|bias)", stock)
    if head:  # stock nests each linear layer with its activation, ours alternate
        return f"quantizer.head.{2 * int(head[1])}.{head[2]}"
    for pattern, ours in _STOCK_NAMES:
        if re.match(pattern, stock):
            return re.sub(pattern, ours, stock)
    raise CheckpointError(
        f"weight {stock!r} of stock's has no place in vq_wav2vec; is this a `wav2vec` checkpoint?"
    )
