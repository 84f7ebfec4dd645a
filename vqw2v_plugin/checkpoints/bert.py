"""tokens ──BERT──▶ states, on disk: settings, symbols and weights ↔ the network, ours and stock's roberta."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.on_off import is_on
from ..modules.bert.config import ARCHS, BertConfig, config_of
from ..modules.bert.network import Bert
from ..modules.bert.vocabulary import PAD, Symbols
from ..stores.symbols import DICT, read_dict
from .files import CheckpointError, read_pickle, write_pickle

_PREFIX = "network."  # of the weights in a file of fairseq's: the model's one submodule


def build_bert(settings: Mapping[str, Any], symbols: Symbols) -> Bert:
    """An untrained network; `_name` is the arch, whose sizes hold where none is given."""
    known = {f.name: f for f in dataclasses.fields(BertConfig)}
    given = {name: value for name, value in settings.items() if name in known}
    for name, value in given.items():
        if type(known[name].default) is bool:  # fairseq's options write words
            given[name] = is_on(name, value)
    return Bert(config_of(settings.get("_name") or "vq_bert", given), symbols)


def load_bert(path: str | Path, dict_path: str | Path | None = None) -> Bert:
    """A trained network in eval mode: `vq_bert` as fairseq's trainer wrote it, or a stock roberta.

    Stock keeps its dictionary beside the checkpoint: dict.txt in its folder, or `dict_path`.
    """
    path = Path(path)
    state = read_pickle(path, [argparse.Namespace])  # what 2019's files keep their options in
    model = _model_settings(state)
    name = str(model.get("_name") or model.get("arch"))
    if name in ARCHS:
        symbols = _own_symbols(state, path, dict_path)
        network = build_bert(model, symbols)
        weights = {k.removeprefix(_PREFIX): v for k, v in state["model"].items() if k.startswith(_PREFIX)}
    elif name.startswith("roberta") or any(k.startswith(_STOCK_ENCODERS) for k in state["model"]):
        symbols = Symbols(read_dict(dict_path or path.parent / DICT))
        weights = stock_weights(state["model"], path)
        network = build_bert(stock_settings(model, weights), symbols)
    else:
        raise CheckpointError(f"{path} holds the model {name!r}; expected vq_bert, or stock's roberta")
    _check_size(weights, symbols, dict_path or path.parent / DICT)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(f"{path}: its settings and weights do not fit: {reasons[0]}") from error
    return network.eval()


def save_bert(path: str | Path, network: Bert, force: bool = False) -> None:
    """Writes what `load_bert` reads, and what `fairseq-train --finetune-from-model` starts from."""
    config = {**dataclasses.asdict(network.config), "_name": "vq_bert"}
    state = {
        "cfg": {"model": config, "task": {"_name": "vq_token_pretraining"}},
        "model": {_PREFIX + name: value for name, value in network.state_dict().items()},
        "task_state": {"symbols": list(network.symbols.lines)},
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"epoch": 0},
    }
    write_pickle(Path(path), state, force)


def _own_symbols(state: Mapping[str, Any], path: Path, dict_path: str | Path | None) -> Symbols:
    if dict_path is not None:
        return Symbols(read_dict(dict_path))
    held = (state.get("task_state") or {}).get("symbols")
    if not isinstance(held, list):
        raise CheckpointError(f"{path} names no symbols; give the dict.txt that it was trained with")
    return Symbols(tuple(held))


def _model_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """The model's options, of today's `cfg` or 2019's `args`."""
    model = (state.get("cfg") or {}).get("model")
    if model is None:
        model = state.get("args")
    return dict(vars(model) if isinstance(model, argparse.Namespace) else model or {})


_STOCK_ENCODERS = ("encoder.sentence_encoder.", "decoder.sentence_encoder.")
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


def stock_weights(state: Mapping[str, Tensor], path: str | Path = "the checkpoint") -> dict[str, Tensor]:
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
        f"{path}: stock weight {full!r} has no place in vq_bert; is it a `roberta` checkpoint?"
    )


def stock_settings(options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Our settings for a stock roberta; what its weights' shapes tell is taken from them."""
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    dim = weights["vocabulary.table.weight"].size(1)
    return {
        "_name": "vq_bert",
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


_DROPOUTS = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0}


def _check_size(weights: Mapping[str, Tensor], symbols: Symbols, path: str | Path) -> None:
    table = weights.get("vocabulary.table.weight")  # where each group has its own, a wrong one shows in use
    rows = len(symbols) if table is None else len(table)
    if rows != len(symbols):
        raise CheckpointError(
            f"{path}: names {len(symbols)} symbols with the five special ones, the checkpoint has {rows}; "
            f"give the dict.txt that it was trained with"
        )
