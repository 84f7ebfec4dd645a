"""The whole first half of the picture, wav → z → tokens and c, as one torch network (arXiv 1910.05453).

Shapes: B batch, S samples, T frames, C channels, G groups.
"""

# no `from __future__ import annotations`: fairseq and omegaconf read the config's types as objects

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, nn

from ..layers.conv_spec import parse_conv_layers
from ..quantizers.base import Quantized, Quantizer
from ..quantizers.health import CodebookHealth
from .config import VqWav2VecConfig
from .context import ConvContext, GruContext
from .contrastive import Scores, StepPredictor, sample_negatives
from .encoder import Encoder


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
        self.config = config
        self._num_updates = 0
        self.encoder = Encoder(
            parse_conv_layers(config.conv_feature_layers, "conv_feature_layers"),
            activation=config.activation,
            affine=not config.non_affine_group_norm,
            log_compression=config.log_compression,
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
        skip_connections=config.skip_connections_agg,
        residual_scale=config.residual_scale,
    )
