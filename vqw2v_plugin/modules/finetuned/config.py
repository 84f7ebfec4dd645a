"""wav ──wav2vec 2.0──▶ states ──▶ letters: the settings of fine-tuning, under stock fairseq's names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..layers.checks import check_counts, check_probabilities, check_switches
from ..wav2vec2.config import Wav2Vec2Config

_INSIDE = ("dropout", "attention_dropout", "activation_dropout", "dropout_input", "feature_grad_mult")
_MASKS = ("mask_prob", "mask_length", "mask_channel_prob", "mask_channel_length")


@dataclass(frozen=True)
class FineTuning:
    """How a wav2vec 2.0 learns from labels; the values are stock's for ten minutes of them."""

    apply_mask: bool = True  # hide frames and channels in training
    mask_prob: float = 0.65  # of all frames, if spans did not overlap
    mask_length: int = 10  # frames of a span
    mask_channel_prob: float = 0.25  # the same over channels, in the whole utterance
    mask_channel_length: int = 64
    layerdrop: float = 0.1  # of a whole layer, for all utterances of an update
    dropout: float = 0.0  # of states
    attention_dropout: float = 0.0  # of attention weights
    activation_dropout: float = 0.1  # inside feed-forward blocks
    dropout_input: float = 0.0  # of what the Transformer hears
    final_dropout: float = 0.0  # of what letters are told from
    feature_grad_mult: float = 0.0  # of the encoder's gradient; 0: it does not learn

    def __post_init__(self) -> None:
        check_switches(self)
        check_probabilities(self, ("layerdrop", "final_dropout"))


@dataclass(frozen=True)
class FineTunedConfig:
    """All that a fine-tuned network is made of."""

    num_columns: int  # V, what it tells apart
    wav2vec2: Wav2Vec2Config = field(default_factory=Wav2Vec2Config)  # as it was pretrained
    tuning: FineTuning = field(default_factory=FineTuning)

    def __post_init__(self) -> None:
        check_counts(self, {"num_columns": 1})
        _ = self.network

    @property
    def network(self) -> Wav2Vec2Config:
        """Of the wav2vec 2.0 while it is fine-tuned."""
        names = (*_INSIDE, *_MASKS)
        tuned = {name: getattr(self.tuning, name) for name in names}
        return replace(without_targets(self.wav2vec2), encoder_layerdrop=self.tuning.layerdrop, **tuned)


def without_targets(config: Wav2Vec2Config) -> Wav2Vec2Config:
    """The same, with what its input is quantized by but nothing that targets are."""
    if not config.quantize_input:
        return replace(config, quantize_targets=False, quantizer="none", quantizer_args="{}")
    size = config.target_dim if config.same_quantizer else config.encoder_embed_dim
    latent_dim = config.latent_dim or size
    return replace(config, quantize_targets=False, same_quantizer=False, latent_dim=latent_dim)
