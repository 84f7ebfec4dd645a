"""The whole first half of the picture, wav → z → tokens and c, as one torch network (arXiv 1910.05453).

Shapes: B batch, S samples, T frames, C channels, G groups.
"""

# no `from __future__ import annotations`: fairseq and omegaconf read the config's types as objects

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, List, Optional, Union

import torch
from torch import Tensor, nn

from .context import ConvContext, GruContext
from .contrastive import Scores, StepPredictor
from .conv_spec import parse_conv_layers
from .encoder import Encoder
from .health import CodebookHealth
from .negatives import sample_negatives
from .quantizer import Quantized, Quantizer


def on_off(default: bool, text: str) -> Any:
    """An option that is on by default; on fairseq's command line a plain bool's flag would turn it off."""
    return field(
        default=str(default).lower(), metadata={"help": f"{text}: true or false", "argparse_const": "true"}
    )


def is_on(name: str, value: Union[bool, str]) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError(f"`{name}` is {value!r}; expected true or false")
    return words[str(value).lower()]


@dataclass
class VqWav2VecConfig:
    """Stock fairseq's options under stock's names and the paper's values; ours are `quantizer*`."""

    prediction_steps: int = field(default=8, metadata={"help": "future steps K that each frame predicts"})
    num_negatives: int = field(default=10, metadata={"help": "negatives from the same utterance"})
    cross_sample_negatives: int = field(default=0, metadata={"help": "negatives from the whole batch"})
    sample_distance: Optional[int] = field(
        default=None, metadata={"help": "farthest that a negative of the same utterance may lie, in frames"}
    )
    conv_feature_layers: str = field(
        default="[(512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2)] + [(512, 1, 1)] * 3",
        metadata={"help": "encoder layers [(channels, kernel, stride), …]"},
    )
    conv_aggregator_layers: str = field(
        default="[(512, 2, 1), (512, 3, 1), (512, 4, 1), (512, 5, 1), (512, 6, 1), (512, 7, 1), (512, 8, 1), "
        "(512, 9, 1), (512, 10, 1), (512, 11, 1), (512, 12, 1), (512, 13, 1)]",
        metadata={"help": "context layers [(channels, kernel, stride), …]"},
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout in context layers and predictions"})
    dropout_features: float = field(default=0.0, metadata={"help": "dropout before the context network"})
    dropout_agg: float = field(default=0.0, metadata={"help": "dropout after the context network"})
    aggregator: str = field(default="cnn", metadata={"help": "context network: cnn, or gru over time"})
    gru_dim: int = field(default=512, metadata={"help": "size of the gru"})
    no_conv_bias: bool = field(default=False, metadata={"help": "context convolutions without bias"})
    agg_zero_pad: bool = field(
        default=False, metadata={"help": "pad the past with zeros, not the first frame"}
    )
    skip_connections_feat: bool = field(default=False, metadata={"help": "residuals around encoder layers"})
    skip_connections_agg: str = on_off(True, "residuals around context layers")
    residual_scale: float = field(default=0.5, metadata={"help": "a residual sum is scaled by √ of this"})
    log_compression: str = on_off(True, "log(1 + |z|) at the encoder's end")
    balanced_classes: bool = field(default=False, metadata={"help": "weigh negatives by 1 / their number"})
    project_features: str = field(
        default="none",
        metadata={"help": "targets through a context network: none, same, or new (one of its own)"},
    )
    non_affine_group_norm: bool = field(default=False, metadata={"help": "group norm without gain and bias"})
    offset: str = field(
        default="auto", metadata={"help": "frames to the first prediction; auto: until receptive fields part"}
    )
    activation: str = field(default="relu", metadata={"help": "relu (the paper) or gelu"})
    quantizer: str = field(default="none", metadata={"help": "none, gumbel, kmeans or a registered one"})
    quantizer_position: str = field(
        default="encoder",
        metadata={"help": "quantize after the encoder (the paper) or after the context network"},
    )
    quantizer_args: str = field(
        default="{}", metadata={"help": "JSON object of options that only the chosen quantizer knows"}
    )
    vq_vars: int = field(default=320, metadata={"help": "codes V a group"})
    vq_groups: int = field(default=2, metadata={"help": "groups G"})
    vq_dim: int = field(default=0, metadata={"help": "size of the quantized vector; 0: as z"})
    vq_depth: int = field(default=2, metadata={"help": "linear layers of the gumbel head"})
    combine_groups: bool = field(default=False, metadata={"help": "one codebook shared by the groups"})
    vq_temp: List[float] = field(
        default_factory=lambda: [2.0, 0.5],
        metadata={
            "help": "gumbel temperature: (start, stop) falls linearly over 70%% of max_update (the paper); "
            "(start, stop, decay) by a factor an update as in stock"
        },
    )
    vq_gamma: float = field(default=0.25, metadata={"help": "weight of the k-means commitment term"})
    max_update: int = field(default=0, metadata={"help": "updates of the whole training, for schedules"})


@dataclass(frozen=True)
class Features:
    """Every state of one batch of audio."""

    z: Tensor  # [B, T, C]
    c: Tensor  # [B, T, C]
    quantized: Optional[Quantized]


@dataclass(frozen=True)
class Contrast:
    """What one training step needs: the scored candidates, and the quantizer's own loss and statistics."""

    scored: Scores
    balanced: bool
    quantized: Optional[Quantized]


class VqWav2Vec(nn.Module):
    """Encoder, quantizer (or none: wav2vec 1.0), context network and step predictor."""

    def __init__(self, config: VqWav2VecConfig, make_quantizer: Callable[[int], Optional[Quantizer]]) -> None:
        super().__init__()
        _validate(config)
        self.config = config
        self._num_updates = 0
        self.encoder = Encoder(
            parse_conv_layers(config.conv_feature_layers, "conv_feature_layers"),
            activation=config.activation,
            affine=not config.non_affine_group_norm,
            log_compression=is_on("log_compression", config.log_compression),
            skip_connections=config.skip_connections_feat,
            residual_scale=config.residual_scale,
        )
        self.quantize_context = config.quantizer_position == "context"
        z_dim = self.encoder.dim
        if self.quantize_context:
            self.context = _make_context(z_dim, config)
            self.quantizer = make_quantizer(self.context.dim)
            q_dim = self.quantizer.out_dim if self.quantizer else self.context.dim
            predict_from, target_dim = q_dim, z_dim
        else:
            self.quantizer = make_quantizer(z_dim)
            q_dim = self.quantizer.out_dim if self.quantizer else z_dim
            self.context = _make_context(q_dim, config)
            predict_from, target_dim = self.context.dim, q_dim
        self.health = (
            CodebookHealth(self.quantizer.num_groups, self.quantizer.num_codes) if self.quantizer else None
        )
        self.dropout_features = nn.Dropout(config.dropout_features)
        self.dropout_agg = nn.Dropout(config.dropout_agg)
        self.target_context = _make_context(target_dim, config) if config.project_features == "new" else None
        if config.project_features != "none":
            target_dim = self.context.dim
        offset = (
            self.encoder.geometry.frames_per_receptive_field
            if config.offset == "auto"
            else int(config.offset)
        )
        self.predictor = StepPredictor(
            predict_from, target_dim, config.prediction_steps, offset, config.dropout
        )

    def set_num_updates(self, num_updates: int) -> None:
        """Moves the schedules, and ends the update before; nothing in `forward` does."""
        if self.quantizer is None or self.health is None:
            return
        self.quantizer.set_num_updates(num_updates)
        if num_updates > self._num_updates:  # fairseq says the same number for each batch of an update
            self.health.end_update()
            self.quantizer.end_update(num_updates)
        self._num_updates = num_updates

    def discard_update(self) -> None:
        """Forgets the batches since the last update, which was skipped."""
        if self.quantizer is not None and self.health is not None:
            self.health.discard()
            self.quantizer.discard_update()

    def features(self, wav: Tensor) -> Features:  # [B, S]
        z = self.encoder(wav)
        if self.quantize_context or self.quantizer is None:
            c = self.context(self.dropout_features(z))
            quantized = self.quantizer(c) if self.quantizer is not None else None
        else:
            quantized = self.quantizer(z)
            c = self.context(self.dropout_features(quantized.x))
        if self.training and self.health is not None and quantized is not None:
            self.health.add(quantized.stats.counts)
        return Features(z, c, quantized)

    def encode(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, G]
        """Codes alone, without what training needs beside them."""
        if self.quantizer is None:
            raise ValueError(
                "this model has no quantizer (wav2vec 1.0), so it has no codes; use its z or c features"
            )
        z = self.encoder(wav)
        return self.quantizer.encode(self.context(z) if self.quantize_context else z)

    def contrast(self, wav: Tensor, negatives: Optional[Tensor] = None) -> Contrast:
        """Scores of a training step; `negatives` [B, T, N] are drawn when none are given."""
        states = self.features(wav)
        quantized = states.quantized
        from_context = self.quantize_context and quantized is not None
        predict_from = quantized.x if from_context and quantized else states.c
        targets = states.z if from_context or quantized is None else quantized.x
        targets = self._project(targets)
        if negatives is None:
            negatives = self._draw(targets)
        scored = self.predictor(self.dropout_agg(predict_from), targets, negatives)
        return Contrast(scored, self.config.balanced_classes, quantized)

    def _project(self, targets: Tensor) -> Tensor:
        if self.config.project_features == "same":
            return self.context(targets)  # type: ignore[no-any-return]
        return targets if self.target_context is None else self.target_context(targets)

    def _draw(self, targets: Tensor) -> Tensor:
        batch, frames, _ = targets.shape
        config = self.config
        with torch.no_grad():
            return sample_negatives(
                batch,
                frames,
                config.num_negatives,
                config.cross_sample_negatives,
                config.sample_distance,
                targets.device,
            )


def _make_context(dim_in: int, config: VqWav2VecConfig) -> Any:
    if config.aggregator == "gru":
        return GruContext(dim_in, config.gru_dim)
    return ConvContext(
        dim_in,
        parse_conv_layers(config.conv_aggregator_layers, "conv_aggregator_layers"),
        activation=config.activation,
        dropout=config.dropout,
        affine=not config.non_affine_group_norm,
        bias=not config.no_conv_bias,
        zero_pad=config.agg_zero_pad,
        skip_connections=is_on("skip_connections_agg", config.skip_connections_agg),
        residual_scale=config.residual_scale,
    )


_CHOICES = {
    "aggregator": ("cnn", "gru"),
    "activation": ("relu", "gelu"),
    "project_features": ("none", "same", "new"),
    "quantizer_position": ("encoder", "context"),
}


def _validate(config: VqWav2VecConfig) -> None:
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"`{name}` is {getattr(config, name)!r}; expected one of {', '.join(choices)}")
    for name in ("dropout", "dropout_features", "dropout_agg"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"`{name}` is {getattr(config, name)}; expected a probability in [0, 1)")
    if config.offset != "auto" and not str(config.offset).isdecimal():
        raise ValueError(f"`offset` is {config.offset!r}; expected 'auto' or a number of frames")
    if config.num_negatives < 0 or config.cross_sample_negatives < 0:
        raise ValueError("`num_negatives` and `cross_sample_negatives` must not be negative")
    if config.num_negatives + config.cross_sample_negatives == 0:
        raise ValueError(
            "`num_negatives` and `cross_sample_negatives` are both 0; expected at least one negative"
        )
