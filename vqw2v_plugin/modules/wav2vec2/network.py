"""The whole of wav2vec 2.0, wav → z → tokens and states, as one torch network (arXiv 2006.11477).

Shapes: B batch, S samples, T frames; N frames of a batch's utterances, one after the other; K masked ones of
these; C channels of z, D model, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels.dropout import dropout
from ..layers.apart import Apart, counts_of, owners, sums_of
from ..layers.conv_spec import parse_conv_layers
from ..layers.evaluating import evaluating
from ..quantizers.base import Quantized, Quantizer
from ..quantizers.health import CodebookHealth
from ..quantizers.none import NoConfig, NoQuantizer
from ..quantizers.signs import LearningSigns, packed_power
from .config import Wav2Vec2Config
from .contrastive import contrastive_loss, losses, names_of, num_correct, right, similarities
from .draws import Draws, draw
from .encoder import ConvEncoder
from .targets import quantize
from .transformer import Transformer

MakeQuantizer = Callable[[int, int], Quantizer]  # of the sizes of what it quantizes and of what it gives
DIVERSITY, PENALTY = 0.1, 10.0  # weights of BASE; the first is for a quantizer whose own weight is 0


@dataclass(frozen=True)
class Heard:
    """What the encoder makes of a batch."""

    z: Tensor  # [N, C], normed
    frames: Sequence[int]  # of each utterance; N together
    power: Tensor  # [N], mean square of z before its norm


@dataclass(frozen=True)
class Objective:
    """What one batch is trained on, summed over its masked frames."""

    loss: Tensor
    contrastive: Tensor  # its first term
    quantizer: Tensor | None  # its second, weighted; None: weighs nothing
    penalty: Tensor | None  # its third, the same
    num_predictions: int
    num_correct: Tensor
    num_frames: int
    quantized: Quantized  # of the quantizer whose health is looked at
    apart: Apart | None = None  # what of it is each utterance's, if it was asked for


class Wav2Vec2(nn.Module):
    """Masked z → states, which tell the masked frames' targets from others."""

    def __init__(self, config: Wav2Vec2Config, make_quantizer: MakeQuantizer, compares: bool = True) -> None:
        """`compares`: it has what pretraining needs to tell targets apart."""
        super().__init__()
        self.config = config
        self._num_updates = 0
        self.encoder = ConvEncoder(
            parse_conv_layers(config.conv_feature_layers, "conv_feature_layers"),
            config.extractor_mode,
            config.conv_bias,
        )
        size, dim = self.encoder.dim, config.encoder_embed_dim
        self.norm = nn.LayerNorm(size)
        self.quantizer: Quantizer = NoQuantizer(size, NoConfig())
        if config.quantize_targets:
            self.quantizer = make_quantizer(size, config.latent_dim or config.target_dim)
        self.target_projection: nn.Module = nn.Identity()
        if compares:
            self.target_projection = nn.Linear(self.quantizer.out_dim, config.target_dim)
        self.input_quantizer: Quantizer | None = None
        if config.quantize_input and not config.same_quantizer:
            self.input_quantizer = make_quantizer(size, config.latent_dim or dim)
        width = size if self._hears is None else self._hears.out_dim
        direct = width == dim and not config.quantize_input  # as stock has it
        self.projection = None if direct else nn.Linear(width, dim)
        self.mask = nn.Parameter(torch.empty(dim).uniform_())
        self.transformer = Transformer(config)
        self.final_projection: nn.Module = nn.Linear(dim, config.target_dim) if compares else nn.Identity()
        self.health = CodebookHealth(self.coder.num_groups, self.coder.num_codes)
        self.signs = LearningSigns()

    @property
    def _hears(self) -> Quantizer | None:
        """What quantizes the input."""
        return self.quantizer if self.config.same_quantizer else self.input_quantizer

    @property
    def coder(self) -> Quantizer:
        """Whose codes are the model's: of the targets, or else of the input."""
        if self.input_quantizer is not None and not self.config.quantize_targets:
            return self.input_quantizer
        return self.quantizer

    @property
    def has_codes(self) -> bool:
        return self.coder.num_groups > 0

    @property
    def chance(self) -> float:
        """How often a guess is right."""
        return 1 / (1 + self.config.num_negatives)

    def set_num_updates(self, num_updates: int) -> None:
        """Moves the schedules, and ends the update before; nothing in `forward` does."""
        quantizers = [self.quantizer] + ([] if self.input_quantizer is None else [self.input_quantizer])
        ends = num_updates > self._num_updates  # fairseq says the same number for each batch of an update
        for quantizer in quantizers:
            quantizer.set_num_updates(num_updates)
        if ends:
            self.health.end_update()
            self.signs.end_update()
            for quantizer in quantizers:
                quantizer.end_update(num_updates)
        self.transformer.set_num_updates(num_updates)
        self._num_updates = num_updates

    def discard_update(self) -> None:
        """Forgets the batches since the last update, which was skipped."""
        self.health.discard()
        self.signs.discard()
        self.quantizer.discard_update()
        if self.input_quantizer is not None:
            self.input_quantizer.discard_update()

    def seed_codes(self, clips: Iterable[Tensor], seed: int, known: bool) -> None:  # [1, S] each
        """All quantizers' codes begin anew, from audio; `known`: this encoder is the one they had."""
        with evaluating(self):
            frames = [self.hear(wav).z[None] for wav in clips]  # [1, T, C] each
            for quantizer in (self.quantizer, self.input_quantizer):
                if quantizer is not None and quantizer.num_groups:
                    quantizer.seed_codes(frames, seed, known)

    def hear(self, wav: Tensor, lengths: Sequence[int] | None = None) -> Heard:  # [B, S]
        """`lengths`: the samples of each utterance; what is behind them changes nothing."""
        multiple = self.config.feature_grad_mult
        with torch.set_grad_enabled(torch.is_grad_enabled() and multiple > 0):
            x, frames = self.encoder(wav, lengths)  # [N, C]
        if multiple != 1:
            x = ScaledGradient.apply(x, multiple)  # type: ignore[no-untyped-call]
        wide = x if x.dtype == torch.float64 else x.float()
        return Heard(self.norm(x), frames, wide.square().mean(-1))

    def projected(self, heard: Heard) -> tuple[Tensor, Quantized | None]:
        """What the Transformer is to hear [N, D], nothing masked; and its codes, if it hears codes."""
        x, quantized = dropout(heard.z, self.config.dropout_input, self.training), None
        if self._hears is not None:
            quantized = quantize(self._hears, x, heard.frames)
            x = quantized.x[0]
        return x if self.projection is None else self.projection(x), quantized

    def covered(
        self, x: Tensor, frames: Sequence[int], masked: Tensor, channels: Tensor | None
    ) -> Tensor:  # [N, D]
        """What the Transformer hears, with frames [K] masked and channels [B, D] silent."""
        x = x.index_put((masked,), self.mask.to(x.dtype))
        if channels is None:
            return x
        rows = torch.tensor(list(frames), device="cpu").to(x.device, non_blocking=True)
        return x.masked_fill(channels.repeat_interleave(rows, 0, output_size=len(x)), 0.0)

    def states(
        self, wav: Tensor, lengths: Sequence[int] | None = None, depth: int | None = None
    ) -> tuple[list[Tensor], Sequence[int]]:
        """What the first layer hears, then each layer's output, [N, D] each; and each utterance's frames.

        With `depth` no more than so many layers are computed.
        """
        heard = self.hear(wav, lengths)
        return self.transformer.states(self.projected(heard)[0], heard.frames, depth), heard.frames

    def encode(self, wav: Tensor) -> Tensor:  # [B, S] → [B, T, G]
        """Codes of whole utterances of one length."""
        heard = self.hear(wav)
        return self.coder.encode(heard.z.view(len(wav), -1, self.encoder.dim))

    def scores(
        self, heard: Heard, draws: Draws, changed: Heard | None = None
    ) -> tuple[Tensor, Quantized, Quantized | None, Tensor]:
        """[K, 1 + distractors]; targets quantized, input quantized, and the masked frames' states.

        Where there is something `changed` that is what the Transformer hears; targets are of what is not.
        """
        config, masked = self.config, draws.masked
        x, heard_codes = self.projected(heard if changed is None else changed)
        x = self.covered(x, heard.frames, masked.index, draws.channels)
        states = self.transformer(x, heard.frames, masked)  # [K, D]
        targets = quantize(
            self.quantizer,
            heard.z,
            heard.frames,
            masked,
            lambda z: dropout(z, config.dropout_features, self.training),
        )
        vectors = targets.x[0]  # [K, ·]
        scores = similarities(
            self.final_projection(states),
            self.target_projection(vectors),
            names_of(vectors),
            draws.distractors,
            masked.counts,
            config.logit_temp,
        )
        return scores, targets, heard_codes, states

    def objective(
        self,
        wav: Tensor,  # [B, S]
        lengths: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
        weights: tuple[float | None, float] = (None, PENALTY),
        draws: Draws | None = None,
        apart: bool = False,
        changed: Tensor | None = None,  # [B, S]
    ) -> Objective:
        """The contrastive loss, the quantizer's own and the penalty of z's power, with their weights.

        Masks and distractors are those of the `seeds`, one an utterance, or are given. `changed` is the same
        audio as the Transformer is to hear it in training.
        """
        heard = self.hear(wav, lengths)
        noisy = self.hear(changed, lengths) if changed is not None and self.training else None
        if draws is None:
            draws = draw(heard.frames, range(len(wav)) if seeds is None else seeds, self.config, wav.device)
        scores, targets, heard_codes, states = self.scores(heard, draws, noisy)
        made = len(draws.masked.index)
        loss = contrastive = contrastive_loss(scores)
        own = self._own_loss(targets, heard_codes, weights[0], made)
        penalty = weights[1] * _penalty(heard, draws) if weights[1] else None
        for term in (own, penalty):
            loss = loss if term is None else loss + term
        correct = num_correct(scores)
        quantized = targets if heard_codes is None or self.config.quantize_targets else heard_codes
        if self.training:
            self.health.add(quantized.stats.counts)
            powers = packed_power(heard.z, heard.frames) + packed_power(states, draws.masked.counts)
            self.signs.add_powers(correct, made, powers)
        told = _apart(scores, draws, quantized, heard.frames) if apart else None
        return Objective(loss, contrastive, own, penalty, made, correct, len(heard.z), quantized, told)

    def _own_loss(
        self, targets: Quantized, heard: Quantized | None, weight: float | None, made: int
    ) -> Tensor | None:
        """Each quantizer's own, once: stock leaves out the input's where both are quantized."""
        total = None
        losses = [(self.quantizer, targets)]
        if heard is not None and self.input_quantizer is not None:
            losses.append((self.input_quantizer, heard))
        for quantizer, quantized in losses:
            own = (quantizer.loss_weight or DIVERSITY) if weight is None else weight
            if own and quantizer.num_groups:
                term = own * made * quantized.loss
                total = term if total is None else total + term
        return total


def _apart(scores: Tensor, draws: Draws, quantized: Quantized, frames: Sequence[int]) -> Apart:
    counts, codes = draws.masked.counts, quantized.codes.flatten(0, -2)  # [K, G], or [N, G] of the input
    rows = owners(counts, scores.device)
    sums = sums_of(losses(scores.detach()), right(scores), torch.ones_like(scores[:, 0]), rows, len(counts))
    rows = rows if len(codes) == len(rows) else owners(frames, scores.device)
    return Apart(sums, counts_of(codes, rows, len(counts), quantized.stats.counts.size(-1)))


def _penalty(heard: Heard, draws: Draws) -> Tensor:
    """Σ over utterances: masked frames × the mean power of z.

    Stock has the mean over a batch's frames with their padding, times all masked frames: the same where all
    utterances are of one length, and elsewhere another sum for each way to make batches.
    """
    sizes = torch.tensor(list(heard.frames), device="cpu")
    shares = torch.tensor(list(draws.masked.counts), device="cpu") / sizes
    weights = shares.repeat_interleave(sizes).to(heard.power, non_blocking=True)
    return (heard.power * weights).sum()


class ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None
