"""features ──generator──▶ phones: the settings of generator, segments, adversary and losses.

wav2vec-U (arXiv 2105.11084 §4) and 2.0 (arXiv 2204.02492 §3). Names are those of fairseq's `wav2vec_u`; the
defaults are its `w2vu.yaml`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

from ..layers.checks import check_choices, check_counts, check_probabilities, check_switches

SEGMENTS = ("none", "uniform", "join", "uniform_join")
_MOST = 1 << 20  # of anything that is counted: more has no memory


@dataclass(frozen=True)
class UnpairedConfig:
    """All that the two networks are made of, and how they are told apart from each other."""

    input_dim: int = 512  # D
    num_columns: int = 40  # V
    generator_kernel: int = 4
    generator_stride: int = 1
    generator_dilation: int = 1
    generator_pad: int = -1  # -1: half of the kernel
    generator_bias: bool = False
    generator_dropout: float = 0.1
    generator_batch_norm: float = 0.0  # what its scale begins with; 0: there is none
    generator_residual: bool = False
    segments: str = "join"
    subsample_rate: float = 0.25  # of `uniform`: segments to a frame
    mean_pool: bool = True  # of `uniform`: the mean of a segment in training, or one frame of it
    mean_pool_join: bool = False  # the same of `join`
    discriminator_dim: int = 384
    discriminator_depth: int = 2
    discriminator_kernel: int = 6
    discriminator_dilation: int = 1
    discriminator_causal: bool = True
    discriminator_linear_emb: bool = False  # its first layer sees one frame
    discriminator_act_after_linear: bool = False
    discriminator_max_pool: bool = False
    discriminator_dropout: float = 0.0
    gradient_penalty: float = 1.5
    probabilistic_grad_penalty_slicing: bool = False
    code_penalty: float = 4.0  # of phones that are not used
    smoothness_weight: float = 0.5
    smoothing: float = 0.0  # of what the adversary is to say
    smoothing_one_sided: bool = False
    mmi_weight: float = 0.0  # of naming an auxiliary cluster of each frame
    target_dim: int = 64  # clusters
    skipgram_weight: float = 0.0  # of pairs of phones that are not as often as in text
    skipgram_reach: int = 6  # places that such a pair may be apart
    skipgram_start_weight: float = 0.1  # the same of phones of the first places
    skipgram_repeats: float = 1.0  # frames that a phone is heard for, before runs are joined
    stock_padding: bool = False  # padding counts in the losses, as it does in fairseq's

    counts: ClassVar[tuple[str, ...]] = (
        *("input_dim", "num_columns", "generator_kernel", "generator_stride", "generator_dilation"),
        *("discriminator_dim", "discriminator_depth", "discriminator_kernel", "discriminator_dilation"),
        *("target_dim", "skipgram_reach"),
    )
    weights: ClassVar[tuple[str, ...]] = (
        *("gradient_penalty", "code_penalty", "smoothness_weight", "mmi_weight", "generator_batch_norm"),
        *("skipgram_weight", "skipgram_start_weight"),
    )

    def __post_init__(self) -> None:
        check_counts(self, {**dict.fromkeys(self.counts, 1), "generator_pad": -1})
        for name in (*self.counts, "generator_pad"):
            if (value := getattr(self, name)) > _MOST:
                raise ValueError(f"`{name}` is {value}; expected {_MOST:,} at most")
        check_switches(self)
        check_choices(self, {"segments": SEGMENTS})
        check_probabilities(self, ("generator_dropout", "discriminator_dropout"))
        for name in self.weights:
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"`{name}` is {value}; expected 0 or more")
        if not 0 < self.subsample_rate <= 1:
            raise ValueError(f"`subsample_rate` is {self.subsample_rate}; expected a share in (0, 1]")
        if not 1 <= self.skipgram_repeats <= 100:
            raise ValueError(f"`skipgram_repeats` is {self.skipgram_repeats}; expected 1 to 100")
        if not 0 <= self.smoothing < 0.5:
            raise ValueError(f"`smoothing` is {self.smoothing}; expected 0 or more, less than 0.5")
        if 2 * self.padding < self.reach - self.generator_stride:
            raise ValueError(
                f"`generator_pad` is {self.generator_pad}, so that the kernel of {self.reach} frames loses "
                f"more than a stride of them; expected -1, or {(self.reach - 1) // 2} at least"
            )
        if self.mmi_weight and not self.generator_residual:
            raise ValueError("`mmi_weight` needs the residual branch, which names the clusters; set it to 0, "
                             "or `generator_residual` to true")  # fmt: skip
        if self.mmi_weight and self.segments.startswith("uniform"):
            raise ValueError(
                f"`segments` is {self.segments}, and clusters are of frames; set `mmi_weight` to 0"
            )

    @property
    def reach(self) -> int:
        """Frames that the generator's kernel spans."""
        return self.generator_dilation * (self.generator_kernel - 1) + 1

    @property
    def padding(self) -> int:
        """Frames of zeros that the generator sees on each side."""
        return self.generator_kernel // 2 if self.generator_pad < 0 else self.generator_pad

    @property
    def chunk(self) -> int:
        """Frames of a segment of `uniform`."""
        return max(1, round(1 / self.subsample_rate)) if self.segments.startswith("uniform") else 1


OPTIONS = tuple(f.name for f in fields(UnpairedConfig) if f.name not in ("input_dim", "num_columns"))
