"""features ──generator──▶ phones, and the adversary that tells them from text: a step of each.

Shapes: B batch, T frames, R phones generated, N phones of text, D features, V columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..layers.padding import padding
from ..layers.ranks import is_one_of_many
from . import losses, skipgrams
from .config import UnpairedConfig
from .discriminator import Discriminator
from .generator import Generator
from .losses import GENERATED, TEXT
from .segments import chunks, join
from .skipgrams import Skipgrams


@dataclass(frozen=True)
class UnpairedOutput:
    """Unnormalized scores of phones, one frame a segment; as acoustic models answer."""

    emissions: Tensor  # [B, R, V]
    lengths: Tensor  # [B]
    inter: Tensor | None = None  # [B, T, D] of the residual branch
    transitions: None = None


@dataclass(frozen=True)
class Step:
    """What one of the two is told by: terms, each weighted and summed over the batch, and figures of them."""

    terms: Mapping[str, Tensor]
    figures: Mapping[str, Tensor]

    @property
    def loss(self) -> Tensor:
        return torch.stack(list(self.terms.values())).sum()


class UnpairedNetwork(nn.Module):
    """Generator and adversary; only one of them learns in a step, and nothing of the other has a gradient.

    Draws come from the `draws` given, or torch's own on the CPU, which fairseq seeds at every update.
    """

    transitions = None
    text_pairs: Tensor  # [N, V, V] and
    text_starts: Tensor  # [N, V], once there is a text to compare with

    def __init__(self, config: UnpairedConfig, draws: torch.Generator | None = None) -> None:
        super().__init__()
        self.config, self.draws = config, draws
        self.generator, self.discriminator = Generator(config), Discriminator(config)
        self.decoder = nn.Linear(config.input_dim, config.target_dim) if config.mmi_weight else None

    @property
    def stride(self) -> int:
        """Frames of features to a frame of scores, before runs are joined."""
        return self.config.chunk * self.generator.stride

    def frames(self, frames: int) -> int:
        """Frames of scores that so many frames of features give, before runs are joined."""
        return self.generator.frames(-(-frames // self.config.chunk))

    def forward(
        self, features: Tensor, lengths: Tensor, joined: bool = True
    ) -> UnpairedOutput:  # [B, T, D], [B]
        """Not `joined`: runs stay as long as they are, where the settings would join them."""
        config = self.config
        if features.dim() != 3 or features.size(2) != config.input_dim or not features.size(1):
            raise ValueError(
                f"`features` are {list(features.shape)}; expected [batch, frames, {config.input_dim}], the "
                "features that the model was made for"
            )
        x, lengths = features.to(self.generator.conv.weight.dtype), lengths.to(features.device)
        if config.segments.startswith("uniform"):
            at_random = self.training and not config.mean_pool
            x, lengths = chunks(x, lengths, config.chunk, at_random, self.draws)
        made = self.generator(x, lengths)
        out = UnpairedOutput(made.logits, made.lengths, made.inter)
        return self._joined(out) if joined else out

    def _joined(self, out: UnpairedOutput) -> UnpairedOutput:
        config = self.config
        if not config.segments.endswith("join"):
            return out
        at_random = self.training and not config.mean_pool_join
        logits, lengths = join(out.emissions, out.lengths, at_random, self.draws, config.stock_padding)
        return UnpairedOutput(logits, lengths, out.inter)

    def compare_with(self, text: Skipgrams) -> None:
        """What `skipgram_weight` asks for from here on; no checkpoint holds it."""
        for name, shares in (("text_pairs", text.pairs), ("text_starts", text.starts)):
            self.register_buffer(name, shares.to(self.generator.conv.weight.device), persistent=False)

    @torch.no_grad()
    def begin_near(self, text: Skipgrams) -> None:
        """The generator begins near the text's frequencies, whatever it hears: from there pairs are found."""
        conv = self.generator.conv
        conv.weight.mul_(0.1)
        if conv.bias is not None:
            conv.bias.copy_(text.frequencies.clamp_min(1e-4).log())

    def discriminator_step(
        self, features: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor
    ) -> Step:  # [B, T, D], [B], [B, N] columns, [B]
        """The adversary learns: what is generated from what is text."""
        config = self.config
        with torch.no_grad():
            out = self(features, lengths)
            generated = out.emissions.softmax(-1)
        real = one_hot(text, text_lengths, config.num_columns, generated.dtype)
        of_generated = self.discriminator(generated, out.lengths)  # [B]
        of_text = self.discriminator(real, text_lengths)
        both, one_side = config.smoothing, config.smoothing_one_sided
        terms = {
            "dense_d": losses.taken_for(of_generated, GENERATED - (0.0 if one_side else both)),
            "token_d": losses.taken_for(of_text, TEXT + both),
        }
        if config.gradient_penalty and self.training:
            slices = config.probabilistic_grad_penalty_slicing
            part, other, held = losses.common_part(
                real, text_lengths, generated, out.lengths, slices, self.draws
            )
            share = torch.rand(len(part), generator=self.draws).to(part)
            held_or_all = None if config.stock_padding else held
            penalty = losses.gradient_penalty(self.discriminator, part, other, share, held_or_all)
            terms["grad_pen"] = penalty * config.gradient_penalty
        figures = {
            "accuracy_dense": (of_generated > 0).float().mean(),
            "accuracy_token": (of_text < 0).float().mean(),
        }
        return Step({**terms, **self._idle(self.generator, self.decoder)}, figures)

    def generator_step(self, features: Tensor, lengths: Tensor, targets: Tensor | None = None) -> Step:
        """The generator learns: to be taken for text, to use all phones, and to change them smoothly.

        `targets` [B, T]: an auxiliary cluster of each frame, −1 where there is none.
        """
        config, size = self.config, len(features)
        frames = self(features, lengths, joined=False)
        out = self._joined(frames)
        probabilities = out.emissions.softmax(-1)
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        scores = functional_call(self.discriminator, frozen, (probabilities, out.lengths))
        wanted = 0.0 if config.smoothing_one_sided else config.smoothing
        terms = {"dense_g": losses.taken_for(scores, TEXT + wanted)}
        used = probabilities.flatten(0, 1)
        if not config.stock_padding:
            used = probabilities[~padding(out.lengths, probabilities.size(1))]  # [frames, V]
        if config.code_penalty:
            terms["code_pen"] = losses.diversity(used) * size * config.code_penalty
        if config.smoothness_weight:
            steps = losses.smoothness(out.emissions, out.lengths, config.stock_padding)
            terms["smoothness"] = steps * size * config.smoothness_weight
        if config.skipgram_weight:
            terms |= self._skipgrams(frames)
        if self.decoder is not None and targets is not None and out.inter is not None:
            named = losses.clusters(self.decoder(out.inter), targets, config.stock_padding)
            terms["mmi"] = named * size * config.mmi_weight
        hard = F.one_hot(used.detach().argmax(-1), config.num_columns)
        figures = {"code_ppl": losses.usage(hard), "prob_ppl": losses.usage(used.detach())}
        idle = [self.discriminator, *([] if "mmi" in terms else [self.decoder])]
        return Step({**terms, **self._idle(*idle)}, figures)

    def _skipgrams(self, frames: UnpairedOutput) -> dict[str, Tensor]:
        """Of frames as they are: a run that is joined wrongly would hide the pairs that it should be."""
        if not hasattr(self, "text_pairs"):
            raise ValueError(
                "`skipgram_weight` compares with a text; give one to `compare_with`, or set it to 0"
            )
        config, size = self.config, len(frames.lengths)
        heard = skipgrams.of_output(frames.emissions.softmax(-1), frames.lengths, config.skipgram_reach)
        weight = size * config.skipgram_weight
        pairs = skipgrams.lost(self.text_pairs, heard.pairs) * weight
        starts = skipgrams.lost(self.text_starts, heard.starts) * weight * config.skipgram_start_weight
        return {"pairs": pairs, "starts": starts}

    def _idle(self, *parts: nn.Module | None) -> dict[str, Tensor]:
        """On several ranks every parameter is waited for, and those of these parts have no gradient."""
        if not is_one_of_many():
            return {}
        held = [p.sum() for part in parts if part is not None for p in part.parameters()]
        return {"idle": torch.stack(held).sum() * 0.0}


def one_hot(text: Tensor, lengths: Tensor, num_columns: int, dtype: torch.dtype) -> Tensor:
    """Columns [B, N] → [B, N, V]; zeros behind the ends."""
    behind = padding(lengths, text.size(1))
    hot = F.one_hot(text.long().masked_fill(behind, 0), num_columns).to(dtype)
    return hot.masked_fill(behind.unsqueeze(2), 0.0)
