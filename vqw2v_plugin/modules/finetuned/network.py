"""wav ──wav2vec 2.0──▶ states ──▶ letters: the network that is fine-tuned (arXiv 2006.11477 §3.3).

Shapes: B batch, S samples, T frames of the longest, N frames of all utterances, D model, V columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..acoustic.alignment import SequenceLoss
from ..acoustic.network import AcousticOutput
from ..kernels.dropout import dropout
from ..layers.packed import unpack
from ..layers.ranks import is_one_of_many
from ..wav2vec2.draws import Masks, draw_masks
from ..wav2vec2.long_clips import states_of_clip
from ..wav2vec2.network import Wav2Vec2
from .config import FineTunedConfig


class FineTuned(nn.Module):
    """A wav2vec 2.0, a linear layer, and the loss of its units, whose transitions decoding may need."""

    def __init__(self, config: FineTunedConfig, wav2vec2: Wav2Vec2, sequence_loss: SequenceLoss) -> None:
        super().__init__()
        self.config, self.wav2vec2, self.sequence_loss = config, wav2vec2, sequence_loss
        self.projection = nn.Linear(wav2vec2.config.encoder_embed_dim, config.num_columns)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        if not config.tuning.feature_grad_mult:
            wav2vec2.encoder.requires_grad_(False)
        self.is_held = False  # the linear layer alone learns

    @property
    def transitions(self) -> Tensor | None:  # [V, V]: to, from
        return self.sequence_loss.transitions

    @property
    def stride(self) -> int:
        """Samples from one frame of emissions to the next."""
        return self.wav2vec2.encoder.geometry.stride

    def frames(self, samples: int) -> int:
        """Frames of emissions that so many samples give."""
        return self.wav2vec2.encoder.geometry.frames(samples)

    def set_num_updates(self, num_updates: int) -> None:
        self.wav2vec2.set_num_updates(num_updates)

    def forward(
        self, wav: Tensor, lengths: Tensor, seeds: Sequence[int] | None = None, masks: Masks | None = None
    ) -> AcousticOutput:  # [B, S], [B]
        """In training masks are those of the `seeds`, one an utterance, or are given."""
        sizes = lengths.tolist()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_held):
            states, frames = self._states(wav.to(self.projection.weight.dtype), sizes, seeds, masks)
        states = dropout(states, self.config.tuning.final_dropout, self.training)
        scores = unpack(self.projection(states), frames)  # [B, T, V]
        if self.training and torch.is_grad_enabled() and (self.is_held or is_one_of_many()):
            scores = scores + self._nothing()
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # a view: DDP looks for parameters from a result's place in the graph, and a parameter itself has none
        seen = None if self.transitions is None else self.transitions.view_as(self.transitions)
        return AcousticOutput(scores, torch.tensor(list(frames), device=lengths.device), seen)

    @torch.no_grad()
    def of_clip(self, wav: Tensor) -> AcousticOutput:  # [S]
        """Of one clip, however long; nothing is masked."""
        scores = self.projection(states_of_clip(self.wav2vec2, wav.to(self.projection.weight.dtype)))
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return AcousticOutput(scores[None], torch.tensor([len(scores)], device=wav.device), self.transitions)

    def _states(
        self, wav: Tensor, sizes: Sequence[int], seeds: Sequence[int] | None, masks: Masks | None
    ) -> tuple[Tensor, Sequence[int]]:
        """[N, D], and each utterance's frames."""
        network = self.wav2vec2
        heard = network.hear(wav, sizes)
        x = network.projected(heard)[0]
        if self.training and self.config.tuning.apply_mask:
            if masks is None:
                seeds = range(len(sizes)) if seeds is None else seeds
                masks = draw_masks(heard.frames, seeds, network.config, x.device)
            x = network.covered(x, heard.frames, masks.frames, masks.channels)
        return network.transformer(x, heard.frames), heard.frames

    def _nothing(self) -> Tensor:
        """0, and no gradient but 0: DDP waits for every parameter, also for those that do not learn yet.

        Optimizers count updates from a parameter's first gradient on: on one rank as on several.
        """
        return sum(p.flatten()[0] * 0 for p in self.parameters() if p.requires_grad)  # type: ignore[return-value]


def unit_clips(wav: Tensor, lengths: Tensor) -> Tensor:  # [B, S], [B]
    """Each clip at mean 0 and variance 1, as some networks were pretrained; 0 behind its end."""
    rows = [F.layer_norm(row[:n].float(), (n,)) for row, n in zip(wav, lengths.tolist(), strict=True)]
    return torch.stack([F.pad(row, (0, wav.size(1) - len(row))) for row in rows])
