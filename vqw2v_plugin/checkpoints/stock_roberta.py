"""Stock fairseq's roberta checkpoints → our settings and our weights' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..modules.bert.vocabulary import PAD
from .checks import shown
from .files import CheckpointError

_ENCODERS = ("encoder.sentence_encoder.", "decoder.sentence_encoder.")
_STOCK_NAMES = [
    (r"sentence_encoder\.embed_tokens\.weight", "vocabulary.table.weight"),
    (r"sentence_encoder\.embed_positions\.weight", "positions.weight"),
    (r"sentence_encoder\.(?:emb_layer_norm|layernorm_embedding)\.", "embedding_norm."),
    (r"sentence_encoder\.layer_norm\.", "final_norm."),
    (r"sentence_encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"layers.\1.out."),
    (
        r"sentence_encoder\.layers\.(\d+)\.(?:self_attn_layer_norm|layer_norms\.0)\.",
        r"layers.\1.attention_norm.",
    ),
    (r"sentence_encoder\.layers\.(\d+)\.(?:final_layer_norm|layer_norms\.1)\.", r"layers.\1.ffn_norm."),
    (r"sentence_encoder\.layers\.(\d+)\.(fc1|fc2)\.", r"layers.\1.\2."),
    (r"lm_head\.dense\.", "head_dense."),
    (r"lm_head\.layer_norm\.", "head_norm."),
    (r"lm_head\.bias", "vocabulary.bias"),
    (r"lm_head\.weight", "vocabulary.output"),
]
_QKV = re.compile(r"sentence_encoder\.layers\.(\d+)\.self_attn\.(?:([qkv])_proj\.|in_proj_)(weight|bias)")
_IGNORED = re.compile(r"sentence_encoder\.(version|embed_positions\._float_tensor)$|classification_heads\.")
_DROPOUTS = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0}


def is_roberta(name: str | None, weights: Mapping[str, Tensor]) -> bool:
    return (name or "").startswith("roberta") or any(known.startswith(_ENCODERS) for known in weights)


def bert_weights_of_stock(
    state: Mapping[str, Tensor], path: str | Path = "the checkpoint"
) -> dict[str, Tensor]:
    """Stock roberta's weights under our names; its three projections, or 2019's one, are our one."""
    ours: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for full, value in state.items():
        name = re.sub(r"^(encoder|decoder)\.", "", full)
        found = _QKV.fullmatch(name)
        if found:
            parts.setdefault((found[1], found[3]), {})[found[2] or "qkv"] = value
        elif not _IGNORED.match(name):
            ours[_our_name(name, full, path)] = value
    for (layer, kind), held in parts.items():
        whole = held["qkv"] if "qkv" in held else torch.cat([held[name] for name in "qkv"])
        ours[f"layers.{layer}.qkv.{kind}"] = whole
    output = ours.get("vocabulary.output")
    if output is not None and torch.equal(output, ours["vocabulary.table.weight"]):
        del ours["vocabulary.output"]  # tied: stock saves the table twice
    return ours


def _our_name(name: str, full: str, path: str | Path) -> str:
    for pattern, ours in _STOCK_NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name)
    raise CheckpointError(
        f"{path}: stock weight {shown(full)} has no place in vq_bert; is it a `roberta` checkpoint?"
    )


def bert_settings_of_stock(options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Our settings for a stock roberta; what its weights' shapes tell is taken from them."""
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    dim = weights["vocabulary.table.weight"].size(1)
    return {
        "encoder_layers": layers,
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": weights["layers.0.fc1.weight"].size(0),
        "encoder_attention_heads": options.get("encoder_attention_heads") or 12,
        "max_positions": weights["positions.weight"].size(0) - PAD - 1,
        "layernorm_embedding": "embedding_norm.weight" in weights,
        "encoder_normalize_before": "final_norm.weight" in weights,
        "untie_weights_roberta": "vocabulary.output" in weights,
        "activation_fn": options.get("activation_fn") or "gelu",
        **{name: options.get(name, default) for name, default in _DROPOUTS.items()},
    }
