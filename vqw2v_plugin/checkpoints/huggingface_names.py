"""wav2vec 2.0 as Hugging Face's transformers call and lay out its settings and weights ↔ ours."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Optional

import torch
from torch import Tensor

from ..modules.layers.conv_spec import parse_conv_layers
from ..modules.wav2vec2.config import Wav2Vec2Config
from ..modules.wav2vec2.network import Wav2Vec2
from .checks import check_settings
from .files import CheckpointError, read_json
from .kinds import Audio

PREPROCESSOR = "preprocessor_config.json"
MODEL_TYPE = "wav2vec2"
# theirs: ours
_SETTINGS = {
    "hidden_size": "encoder_embed_dim",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_embed_dim",
    "hidden_act": "activation_fn",
    "hidden_dropout": "dropout",
    "activation_dropout": "activation_dropout",
    "attention_dropout": "attention_dropout",
    "feat_proj_dropout": "dropout_input",
    "feat_quantizer_dropout": "dropout_features",
    "layerdrop": "encoder_layerdrop",
    "conv_bias": "conv_bias",
    "num_conv_pos_embeddings": "conv_pos",
    "num_conv_pos_embedding_groups": "conv_pos_groups",
    "do_stable_layer_norm": "layer_norm_first",
    "mask_time_prob": "mask_prob",
    "mask_time_length": "mask_length",
    "mask_feature_prob": "mask_channel_prob",
    "mask_feature_length": "mask_channel_length",
    "num_codevectors_per_group": "latent_vars",
    "num_codevector_groups": "latent_groups",
    "contrastive_logits_temperature": "logit_temp",
    "num_negatives": "num_negatives",
    "codevector_dim": "latent_dim",
    "proj_codevector_dim": "final_dim",
}
_NAMES = [  # ours → theirs
    (r"encoder\.layers\.(\d+)\.conv\.", r"wav2vec2.feature_extractor.conv_layers.\1.conv."),
    (r"encoder\.layers\.(\d+)\.over_\w+\.", r"wav2vec2.feature_extractor.conv_layers.\1.layer_norm."),
    (r"norm\.", "wav2vec2.feature_projection.layer_norm."),
    (r"projection\.", "wav2vec2.feature_projection.projection."),
    (r"mask$", "wav2vec2.masked_spec_embed"),
    (r"transformer\.positions\.bias$", "wav2vec2.encoder.pos_conv_embed.conv.bias"),
    (
        r"transformer\.positions\.norm$",
        "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ),
    (
        r"transformer\.positions\.direction$",
        "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    ),
    (r"transformer\.norm\.", "wav2vec2.encoder.layer_norm."),
    (r"transformer\.layers\.(\d+)\.out\.", r"wav2vec2.encoder.layers.\1.attention.out_proj."),
    (r"transformer\.layers\.(\d+)\.attention_norm\.", r"wav2vec2.encoder.layers.\1.layer_norm."),
    (r"transformer\.layers\.(\d+)\.ffn_norm\.", r"wav2vec2.encoder.layers.\1.final_layer_norm."),
    (r"transformer\.layers\.(\d+)\.fc1\.", r"wav2vec2.encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"transformer\.layers\.(\d+)\.fc2\.", r"wav2vec2.encoder.layers.\1.feed_forward.output_dense."),
    (r"quantizer\.codebook\.entries$", "quantizer.codevectors"),
    (r"quantizer\.head\.0\.", "quantizer.weight_proj."),
    (r"target_projection\.", "project_q."),
    (r"final_projection\.", "project_hid."),
]
_QKV = re.compile(r"transformer\.layers\.(\d+)\.qkv\.(weight|bias)")
_EARLIER = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


@dataclasses.dataclass(frozen=True)
class TheirConfig:
    """What is read of their config.json, with their defaults."""

    architectures: Sequence[str]
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: Literal["gelu", "relu"] = "gelu"
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    feat_quantizer_dropout: float = 0.0
    layerdrop: float = 0.1
    feat_extract_norm: Literal["group", "layer"] = "group"
    feat_extract_activation: Literal["gelu"] = "gelu"
    conv_dim: Sequence[int] = (512,) * 7
    conv_kernel: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    num_codevectors_per_group: int = 320
    num_codevector_groups: int = 2
    contrastive_logits_temperature: float = 0.1
    num_negatives: int = 100
    codevector_dim: int = 256
    proj_codevector_dim: int = 256
    final_dropout: float = 0.1
    apply_spec_augment: bool = True
    pad_token_id: Optional[int] = 0  # of one that was fine-tuned: its blank
    layer_norm_eps: float = 1e-5


def what_is_read(said: Mapping[str, Any]) -> TheirConfig:
    """Of config.json; a ValueError where it is wrong."""
    names = {field.name for field in dataclasses.fields(TheirConfig)}
    return check_settings(TheirConfig, {"architectures": [], **{k: said[k] for k in names & said.keys()}})


def their_config(config: Wav2Vec2Config, architecture: str) -> dict[str, Any]:
    layers = parse_conv_layers(config.conv_feature_layers, "conv_feature_layers")
    said = {theirs: getattr(config, ours) for theirs, ours in _SETTINGS.items()}
    said["proj_codevector_dim"] = config.target_dim
    said["codevector_dim"] = config.latent_dim or config.target_dim
    return {
        "architectures": [architecture],
        "model_type": MODEL_TYPE,
        **said,
        "feat_extract_norm": "layer" if config.extractor_mode == "layer_norm" else "group",
        "feat_extract_activation": "gelu",
        "conv_dim": [layer.dim for layer in layers],
        "conv_kernel": [layer.kernel for layer in layers],
        "conv_stride": [layer.stride for layer in layers],
        "num_feat_extract_layers": len(layers),
        "layer_norm_eps": 1e-5,
        "mask_time_min_masks": 2,
        "apply_spec_augment": True,
        "diversity_loss_weight": 0.1,
    }


def preprocessor(config: Wav2Vec2Config, audio: Audio) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": audio.sample_rate,
        "do_normalize": audio.normalize,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": config.extractor_mode == "layer_norm",
    }


def their_weights(network: Wav2Vec2) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        value = parameter.detach()
        if qkv := _QKV.fullmatch(name):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                found[f"wav2vec2.encoder.layers.{qkv[1]}.attention.{part}_proj.{qkv[2]}"] = piece
            continue
        pattern, theirs = next((p, t) for p, t in _NAMES if re.match(p, name))
        whole = value.flatten(0, 1)[None] if name.endswith("codebook.entries") else value
        found[re.sub(pattern, theirs, name)] = whole
    if network.projection is None:  # theirs has one always
        size = network.encoder.dim
        found["wav2vec2.feature_projection.projection.weight"] = torch.eye(size)
        found["wav2vec2.feature_projection.projection.bias"] = torch.zeros(size)
    return found


def their_audio(path: Path) -> Audio:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; expected what says `sampling_rate` and `do_normalize`")
    said = read_json(path)
    try:
        return Audio(said.get("sampling_rate", 16_000), said.get("do_normalize", True))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def our_settings(config: TheirConfig) -> dict[str, Any]:
    rows = (config.conv_dim, config.conv_kernel, config.conv_stride)
    if len({len(row) for row in rows}) != 1:
        raise ValueError("`conv_dim`, `conv_kernel` and `conv_stride` have different numbers of layers")
    if config.layer_norm_eps != 1e-5:
        raise ValueError(
            f"`layer_norm_eps` is {config.layer_norm_eps}; expected 1e-05, as our layers have it: "
            "others would give other numbers"
        )
    layers = list(zip(*rows, strict=True))
    settings = {ours: getattr(config, theirs) for theirs, ours in _SETTINGS.items()}
    return {
        **settings,
        "conv_feature_layers": repr(layers),
        "extractor_mode": "layer_norm" if config.feat_extract_norm == "layer" else "default",
        "feature_grad_mult": 1.0,  # which theirs has none of
        "quantizer": "gumbel",
    }


def our_weights(weights: Mapping[str, Tensor], network: Wav2Vec2, where: str) -> dict[str, Tensor]:
    """Under our names; what is missing is named."""
    try:
        return _our_weights(weights, network)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{where}: its weights do not fit: {error} is missing or misshapen") from error


def _our_weights(weights: Mapping[str, Tensor], network: Wav2Vec2) -> dict[str, Tensor]:
    """Whatever of theirs has no place here keeps its name, and is refused by that."""
    held = {}
    for name, value in weights.items():
        head, _, tail = name.rpartition(".")
        held[f"{head}.{_EARLIER.get(tail, tail)}"] = value
    if network.projection is None:
        for name in ("weight", "bias"):
            held.pop(f"wav2vec2.feature_projection.projection.{name}", None)
    found: dict[str, Tensor] = {}
    for name, own in network.named_parameters():
        if qkv := _QKV.fullmatch(name):
            stem = f"wav2vec2.encoder.layers.{qkv[1]}.attention"
            found[name] = torch.cat([held.pop(f"{stem}.{part}_proj.{qkv[2]}") for part in "qkv"])
            continue
        pattern, theirs = next((p, t) for p, t in _NAMES if re.match(p, name))
        value = held.pop(re.sub(pattern, theirs, name))
        found[name] = value.reshape(own.shape) if name.endswith("codebook.entries") else value
    return {**found, **held}
