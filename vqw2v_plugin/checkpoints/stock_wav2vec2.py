"""Stock fairseq's wav2vec 2.0 checkpoints → our settings and our weights' names and layouts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ..modules.layers.conv_spec import parse_conv_layers
from ..modules.wav2vec2.config import Wav2Vec2Config
from .checks import shown
from .files import CheckpointError

ARCHITECTURES = ("wav2vec2",)
_SETTINGS = frozenset(f.name for f in fields(Wav2Vec2Config)) - {"quantizer", "quantizer_args"}
# what stock's model does when a file lacks the option, where ours would do another thing
_STOCK_DEFAULTS: dict[str, Any] = {
    "feature_grad_mult": 1.0,
    "encoder_layerdrop": 0.0,
    "dropout_input": 0.0,
    "dropout_features": 0.0,
    "final_dim": 0,
    "quantize_targets": False,
    "quantizer_depth": 1,
}
# options that make another network than ours, with the value that makes the same
_OTHER_NETWORKS: dict[str, tuple[Any, ...]] = {
    "layer_type": ("transformer",),
    "pos_conv_depth": (1,),
    "conv_pos_batch_norm": (False,),
    "target_glu": (False,),
}
# options of how it is trained that are not ours, or whose meaning is: nothing of the network depends on them
_OF_TRAINING = re.compile(
    r"(no_)?mask_.*|require_same_masks|cross_sample_negatives|codebook_negatives|negatives_from_everywhere|"
    r"crop_seq_to_multiple|required_seq_len_multiple|checkpoint_activations|max_positions|fp16|offload.*|"
    r"quantizer_factor|layer_type|pos_conv_depth|conv_pos_batch_norm|target_glu|depthwise_conv_kernel_size|"
    r"attn_type|pos_enc_type|adp_.*|min_params_to_wrap"
)
_STOCK_NAMES = [
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"encoder.layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.1\.", r"encoder.layers.\1.over_channels."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.", r"encoder.layers.\1.over_time."),
    (r"layer_norm\.", "norm."),
    (r"(?:post_extract_proj|project_inp)\.", "projection."),
    (r"mask_emb$", "mask"),
    (r"project_q\.", "target_projection."),
    (r"final_proj\.", "final_projection."),
    (r"(quantizer|input_quantizer)\.vars$", r"\1.codebook.entries"),
    (r"(quantizer|input_quantizer)\.weight_proj\.(weight|bias)$", r"\1.head.0.\2"),
    (
        r"encoder\.pos_conv\.0\.weight_g$",
        "transformer.positions.norm",
    ),
    (
        r"encoder\.pos_conv\.0\.weight_v$",
        "transformer.positions.direction",
    ),
    (r"encoder\.pos_conv\.0\.bias$", "transformer.positions.bias"),
    (r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"transformer.layers.\1.out."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"transformer.layers.\1.attention_norm."),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"transformer.layers.\1.ffn_norm."),
    (r"encoder\.layers\.(\d+)\.(fc1|fc2)\.", r"transformer.layers.\1.\2."),
    (r"encoder\.layer_norm\.", "transformer.norm."),
]
_QKV = re.compile(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)")
_HEAD = re.compile(r"(quantizer|input_quantizer)\.weight_proj\.(\d+)\.(?:0\.)?(weight|bias)")
_UNUSED = re.compile(r"_ema|target_proj|decoder")


def wav2vec2_settings_of_stock(options: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for stock's `wav2vec2` options."""
    given = {k: v for k, v in options.items() if not k.startswith("_") and v is not None}
    for name, same in _OTHER_NETWORKS.items():
        if name in given and given[name] not in same:
            raise CheckpointError(
                f"`{name}` is {shown(given[name])}; only a network of {shown(same[0])} can be imported"
            )
    settings = {**_STOCK_DEFAULTS, **{name: value for name, value in given.items() if name in _SETTINGS}}
    settings["extractor_mode"] = str(settings.get("extractor_mode", "default"))
    settings["latent_temp"] = _numbers("latent_temp", settings.get("latent_temp", (2, 0.5, 0.999995)))
    if not (settings.get("quantize_input") and settings.get("quantize_targets")):
        settings["same_quantizer"] = False  # stock does not mind
    settings["quantizer"], settings["quantizer_args"] = "gumbel", _head_size(settings, given)
    if not (settings.get("quantize_input") or settings["quantize_targets"]):
        settings["quantizer"], settings["quantizer_args"] = "none", "{}"
    return settings


def _head_size(settings: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Where stock's head of the quantizer has several layers, their size."""
    if settings["quantizer_depth"] == 1:
        return "{}"
    spec = settings.get("conv_feature_layers", Wav2Vec2Config.conv_feature_layers)
    size = parse_conv_layers(spec, "conv_feature_layers")[-1].dim
    return json.dumps({"head_dim": size * given.get("quantizer_factor", 3)})


def _numbers(name: str, value: Any) -> list[float]:
    """A tuple, or one spelled as a string, as the command line left it."""
    try:
        row = ast.literal_eval(value) if isinstance(value, str) else value
        return [float(number) for number in row]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise CheckpointError(
            f"`{name}` is {shown(value)}; expected numbers such as (2.0, 0.5, 0.999995)"
        ) from None


def unknown_wav2vec2_options(options: Mapping[str, Any]) -> list[str]:
    """Those that neither stock nor ours knows."""
    return sorted(
        name
        for name in options
        if not name.startswith("_") and name not in _SETTINGS and not _OF_TRAINING.fullmatch(name)
    )


def wav2vec2_weights_of_stock(state: Mapping[str, Tensor], config: Wav2Vec2Config) -> dict[str, Tensor]:
    """Stock `Wav2Vec2Model`'s weights under our names; its three projections of attention are our one."""
    ours: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in state.items():
        if found := _QKV.fullmatch(name):
            parts.setdefault((found[1], found[3]), {})[found[2]] = value
        elif not _UNUSED.match(name) and not (config.same_quantizer and name.startswith("input_quantizer.")):
            ours[_our_name(name)] = value
    for (layer, kind), held in parts.items():
        if len(held) < 3:
            raise CheckpointError(f"layer {layer} has no {kind} of all three of q_proj, k_proj and v_proj")
        ours[f"transformer.layers.{layer}.qkv.{kind}"] = torch.cat([held[part] for part in "qkv"])
    for name, value in ours.items():
        if name.endswith("codebook.entries") and value.ndim == 3 and len(value) == 1:
            ours[name] = value[0].view(config.latent_groups, -1, value.size(-1))  # [1, G·V, d] → [G, V, d]
    return {name: value.contiguous() for name, value in ours.items()}


def _our_name(stock: str) -> str:
    if head := _HEAD.fullmatch(stock):  # stock nests each linear layer with its activation, ours alternate
        return f"{head[1]}.head.{2 * int(head[2])}.{head[3]}"
    for pattern, ours in _STOCK_NAMES:
        if re.match(pattern, stock):
            return re.sub(pattern, ours, stock)
    raise CheckpointError(
        f"stock weight {shown(stock)} has no place in vq_wav2vec2; is it a pretrained `wav2vec2`?"
    )
