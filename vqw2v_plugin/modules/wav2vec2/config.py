"""wav → z → tokens and states: the settings of wav2vec 2.0, under stock fairseq's names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..layers.checks import check_choices, check_counts, check_probabilities, check_switches

_CHOICES = {"extractor_mode": ("default", "layer_norm"), "activation_fn": ("gelu", "relu")}
_PROBABILITIES = (
    *("dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features"),
    "encoder_layerdrop",
)
_COUNTS = {
    **dict.fromkeys(("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim"), 1),
    **dict.fromkeys(("encoder_attention_heads", "conv_pos", "conv_pos_groups"), 1),
    **dict.fromkeys(
        ("latent_vars", "latent_groups", "quantizer_depth", "mask_length", "mask_channel_length"), 1
    ),
    **dict.fromkeys(("final_dim", "latent_dim"), 0),
}
_MOST_NEGATIVES = 10_000  # of a masked frame; the paper has 100
_LONGEST = 1 << 20  # taps of the positions, or frames of a span: beyond it nothing is meant


@dataclass(frozen=True)
class Wav2Vec2Config:
    """The values are BASE's (arXiv 2006.11477); `quantizer` and `quantizer_args` are ours."""

    extractor_mode: str = "default"  # group norm in the first layer, or layer_norm in all
    conv_feature_layers: str = (  # the encoder's, (channels, kernel, stride) each
        "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
    )
    conv_bias: bool = False
    feature_grad_mult: float = 0.1  # of the encoder's gradient; 0: it does not learn
    encoder_layers: int = 12  # of the Transformer
    encoder_embed_dim: int = 768  # size of its states
    encoder_ffn_embed_dim: int = 3072  # inside feed-forward blocks
    encoder_attention_heads: int = 12
    layer_norm_first: bool = False  # layer norm before each block
    activation_fn: str = "gelu"
    dropout: float = 0.1  # of states
    attention_dropout: float = 0.1  # of attention weights
    activation_dropout: float = 0.0  # inside feed-forward blocks
    encoder_layerdrop: float = 0.05  # of a whole layer, for all utterances of an update
    dropout_input: float = 0.1  # of what the Transformer hears
    dropout_features: float = 0.1  # of what the targets are made of
    conv_pos: int = 128  # taps of the convolution that tells positions
    conv_pos_groups: int = 16
    quantizer: str = "gumbel"  # its registered name
    quantizer_args: str = "{}"  # JSON object of settings that only the chosen quantizer knows
    quantize_targets: bool = True  # what is told apart is quantized
    quantize_input: bool = False  # what the Transformer hears is quantized
    same_quantizer: bool = False  # by one quantizer, where both are
    latent_vars: int = 320  # codes V a group
    latent_groups: int = 2  # groups G
    latent_dim: int = 0  # size of the quantized vector; 0: final_dim, of quantized input encoder_embed_dim
    latent_temp: list[float] = field(default_factory=lambda: [2.0, 0.5, 0.999995])  # start, stop, decay
    quantizer_depth: int = 1  # linear layers of the gumbel head
    final_dim: int = 256  # in which frames are compared; 0: encoder_embed_dim
    logit_temp: float = 0.1  # κ, which similarities are divided by
    num_negatives: int = 100  # distractors, other masked frames of the utterance
    mask_prob: float = 0.65  # of all frames, if spans did not overlap
    mask_length: int = 10  # M, frames of a span
    mask_channel_prob: float = 0.0  # the same over channels of what the Transformer hears
    mask_channel_length: int = 10
    max_update: int = 0  # updates of the whole training, for schedules

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_switches(self)
        check_probabilities(self, _PROBABILITIES)
        check_counts(self, _COUNTS)
        dim = self.encoder_embed_dim
        for name in ("encoder_attention_heads", "conv_pos_groups"):
            if dim % (parts := getattr(self, name)):
                raise ValueError(f"`encoder_embed_dim` ({dim}) must be divisible by `{name}` ({parts})")
        for name in ("mask_prob", "mask_channel_prob"):
            least = "(0" if name == "mask_prob" else "[0"
            value = getattr(self, name)
            if not 0 <= value <= 1 or (value == 0 and name == "mask_prob"):
                raise ValueError(f"`{name}` is {value}; expected a share in {least}, 1]")
        for name in ("conv_pos", "mask_length", "mask_channel_length"):
            if getattr(self, name) > _LONGEST:
                raise ValueError(f"`{name}` is {getattr(self, name):,}; expected at most {_LONGEST:,}")
        if not 1 <= self.num_negatives <= _MOST_NEGATIVES:
            raise ValueError(f"`num_negatives` is {self.num_negatives}; expected 1 to {_MOST_NEGATIVES:,}")
        if not 0 < self.logit_temp < math.inf:
            raise ValueError(f"`logit_temp` is {self.logit_temp}; expected a positive number such as 0.1")
        if not 0 <= self.feature_grad_mult < math.inf:
            raise ValueError(f"`feature_grad_mult` is {self.feature_grad_mult}; expected 0 or more")
        if self.same_quantizer and not (self.quantize_targets and self.quantize_input):
            raise ValueError("`same_quantizer` needs both `quantize_targets` and `quantize_input`")

    @property
    def target_dim(self) -> int:
        """In which predictions and targets are compared."""
        return self.final_dim or self.encoder_embed_dim


BASE = Wav2Vec2Config()
LARGE = replace(
    BASE,
    extractor_mode="layer_norm",
    conv_bias=True,
    layer_norm_first=True,
    feature_grad_mult=1.0,
    encoder_layers=24,
    encoder_embed_dim=1024,
    encoder_ffn_embed_dim=4096,
    encoder_attention_heads=16,
    final_dim=768,
    latent_temp=[2.0, 0.1, 0.999995],
    dropout=0.0,
    attention_dropout=0.0,
    dropout_input=0.0,
    dropout_features=0.0,
    encoder_layerdrop=0.0,
)
# about 12 M parameters: what two processor cores can train
SMALL = replace(
    BASE,
    conv_feature_layers="[(256, 10, 5)] + [(256, 3, 2)] * 4 + [(256, 2, 2)] * 2",
    encoder_layers=6,
    encoder_embed_dim=384,
    encoder_ffn_embed_dim=1536,
    encoder_attention_heads=6,
)
ARCHS = {
    "vq_wav2vec2": BASE,
    "vq_wav2vec2_base": BASE,
    "vq_wav2vec2_large": LARGE,
    "vq_wav2vec2_small": SMALL,
}
