"""The whole first half of the picture, wav → z → tokens and c, as one torch network (arXiv 1910.05453).

Shapes: B batch, S samples, T frames, C channels, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..layers.apart import Apart, counts_of
from ..layers.centred import centre, centre_layers
from ..layers.conv_spec import parse_conv_layers
from ..layers.evaluating import evaluating
from ..quantizers.base import Quantized, Quantizer
from ..quantizers.health import CodebookHealth
from ..quantizers.signs import LearningSigns
from .config import VqWav2VecConfig
from .context import ConvContext, GruContext
from .contrastive import Scores, StepPredictor, contrastive_loss, num_correct, sample_negatives, sums_apart
from .encoder import Encoder

MakeQuantizer = Callable[[int], Quantizer]  # of the size of what it quantizes


@dataclass(frozen=True)
class States:
    """Every state of one batch of audio; training predicts each `target` from an earlier `source`."""

    z: Tensor  # [B, T, C]
    c: Tensor  # [B, T, C]
    quantized: Quantized
    source: Tensor  # [B, T, C]
    target: Tensor  # [B, T, C]


@dataclass(frozen=True)
class ScoredBatch:
    """The predictions of one batch of audio with their candidates' scores."""

    scored: Scores
    states: States

    @property
    def quantized(self) -> Quantized:
        return self.states.quantized


@dataclass(frozen=True)
class Objective:
    """What one batch is trained on, summed over its predictions."""

    loss: Tensor
    contrastive: Tensor  # its first term
    quantizer: Tensor | None  # its second, weighted; None: weighs nothing
    num_predictions: int
    num_correct: Tensor
    quantized: Quantized
    apart: Apart | None = None  # what of it is each utterance's, if it was asked for


class VqWav2Vec(nn.Module):
    """z → q → c, and c predicts q: the paper's order. Without a quantizer it is wav2vec 1.0."""

    quantize_context: ClassVar[bool] = False
    quantizer: Quantizer
    context: ConvContext | GruContext

    def __init__(self, config: VqWav2VecConfig, make_quantizer: MakeQuantizer) -> None:
        super().__init__()
        if (config.quantizer_position == "context") != self.quantize_context:
            raise ValueError(f"`quantizer_position` is {config.quantizer_position!r}: build it by `make`")
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
        source_dim, target_dim = self._connect(make_quantizer)
        self.health = CodebookHealth(self.quantizer.num_groups, self.quantizer.num_codes)
        self.signs = LearningSigns()
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
            source_dim, target_dim, config.prediction_steps, offset, config.dropout, config.prediction_gain
        )
        if config.centred:
            centre_layers(self)
            centre(self.predictor.weight, 2)

    @staticmethod
    def make(config: VqWav2VecConfig, make_quantizer: MakeQuantizer) -> VqWav2Vec:
        """The network with the quantizer where `quantizer_position` says."""
        late = config.quantizer_position == "context"
        return (ContextQuantized if late else VqWav2Vec)(config, make_quantizer)

    def _connect(self, make_quantizer: MakeQuantizer) -> tuple[int, int]:
        """Makes quantizer and context network; the sizes of `source` and `target`."""
        self.quantizer = make_quantizer(self.encoder.dim)
        self.context = _make_context(self.quantizer.out_dim, self.config)
        return self.context.dim, self.quantizer.out_dim

    def _states(self, z: Tensor, changed: Tensor | None = None) -> States:  # [B, T, C] each
        """With `changed`, the z of changed audio, c is of that and the targets of what is as it was."""
        if changed is None:
            quantized = self.quantizer(z)
            heard = target = quantized.x
        else:
            quantized = self.quantizer(torch.cat([z, changed]))
            target, heard = quantized.x.chunk(2)
        c = self.context(self.dropout_features(heard))
        return States(z, c, quantized, source=c, target=target)

    def quantizer_input(self, z: Tensor) -> Tensor:  # [B, T, C] → [B, T, C]
        """What the quantizer makes codes of."""
        return z

    @property
    def has_codes(self) -> bool:
        return self.quantizer.num_groups > 0

    @property
    def coder(self) -> Quantizer:
        """What makes the codes."""
        return self.quantizer

    @property
    def chance(self) -> float:
        """How often a guess is right."""
        return 1 / (1 + self.config.num_negatives + self.config.cross_sample_negatives)

    def set_num_updates(self, num_updates: int) -> None:
        """Moves the schedules, and ends the update before; nothing in `forward` does."""
        self.quantizer.set_num_updates(num_updates)
        if num_updates > self._num_updates:  # fairseq says the same number for each batch of an update
            self.health.end_update()
            self.signs.end_update()
            self.quantizer.end_update(num_updates)
        self._num_updates = num_updates

    def discard_update(self) -> None:
        """Forgets the batches since the last update, which was skipped."""
        self.health.discard()
        self.signs.discard()
        self.quantizer.discard_update()

    def seed_codes(self, clips: Iterable[Tensor], seed: int, known: bool) -> None:  # [1, S] each
        """The quantizer's codes begin anew, from audio; `known`: this encoder is the one they had."""
        with evaluating(self):
            frames = [self.quantizer_input(self.encoder(wav)) for wav in clips]
            self.quantizer.seed_codes(frames, seed, known)

    def features(self, wav: Tensor, changed: Tensor | None = None) -> States:  # [B, S] each
        """`changed` is the same audio as the context is to hear it; evaluation is without it."""
        if changed is None or not self.training:
            states = self._states(self.encoder(wav))
        else:
            states = self._states(*self.encoder(torch.cat([wav, changed])).chunk(2))
        if self.training:
            self.health.add(states.quantized.stats.counts)
        return states

    def encode(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, G]
        """Codes alone, without what training needs beside them."""
        return self.quantizer.encode(self.quantizer_input(self.encoder(wav)))

    def contrast(
        self, wav: Tensor, negatives: Tensor | None = None, changed: Tensor | None = None
    ) -> ScoredBatch:  # [B, S]
        """Scores of a training step; `negatives` [B, T, N] are drawn when none are given."""
        states = self.features(wav, changed)
        targets = self._project(states.target)
        if negatives is None:
            negatives = self._draw(targets)
        scored = self.predictor(self.dropout_agg(states.source), targets, negatives)
        return ScoredBatch(scored, states)

    def objective(
        self,
        wav: Tensor,
        infonce: bool = False,
        quantizer_weight: float | None = None,
        changed: Tensor | None = None,
        apart: bool = False,
    ) -> Objective:  # [B, S]
        """The contrastive loss and the quantizer's own; by default that has its paper's weight."""
        batch = self.contrast(wav, changed=changed)
        scored, quantized = batch.scored, batch.quantized
        loss = contrastive = contrastive_loss(scored, infonce, self.config.balanced_classes)
        weight = self.quantizer.loss_weight if quantizer_weight is None else quantizer_weight
        own = None
        if weight and (self.has_codes or self.quantizer.loss_weight):  # the null quantizer has no loss
            own = weight * scored.num_predictions * quantized.loss
            loss = contrastive + own
        correct = num_correct(scored)
        if self.training:
            self.signs.add(correct, scored.num_predictions, batch.states.z, batch.states.c)
        told = self._apart(batch, infonce) if apart else None
        return Objective(loss, contrastive, own, scored.num_predictions, correct, quantized, told)

    def _apart(self, batch: ScoredBatch, infonce: bool) -> Apart:
        codes = batch.quantized.codes[: len(batch.states.z)]  # of what was changed there are others behind
        rows = torch.arange(len(codes), device=codes.device).repeat_interleave(codes.size(1))
        sums = sums_apart(batch.scored, infonce, self.config.balanced_classes)
        num_codes = batch.quantized.stats.counts.size(-1)
        return Apart(sums, counts_of(codes.flatten(0, 1), rows, len(codes), num_codes))

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


class ContextQuantized(VqWav2Vec):
    """z → c → q, and q predicts z: the quantizer after the context network, as in the paper's rate study."""

    quantize_context = True

    def _connect(self, make_quantizer: MakeQuantizer) -> tuple[int, int]:
        self.context = _make_context(self.encoder.dim, self.config)
        self.quantizer = make_quantizer(self.context.dim)
        return self.quantizer.out_dim, self.encoder.dim

    def _states(self, z: Tensor, changed: Tensor | None = None) -> States:
        c = self.context(self.dropout_features(z if changed is None else changed))
        quantized = self.quantizer(c)
        return States(z, c, quantized, source=quantized.x, target=z)

    def quantizer_input(self, z: Tensor) -> Tensor:
        return self.context(z)  # type: ignore[no-any-return]


def _make_context(dim_in: int, config: VqWav2VecConfig) -> ConvContext | GruContext:
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
